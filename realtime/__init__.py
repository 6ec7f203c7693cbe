"""The real-time path: the Lambda functions, their template, and how their bundles are built.

`api` answers HTTP requests over the single table; `relay` hands the table's changes to the lake. A function holds only
the standard library, botocore (which the runtime brings), orjson and the contracts.
"""
