"""The engine of the lake: from landed objects to audited, published Iceberg tables.

A plain, typed library over data contracts. It knows nothing of Dagster and reads no environment: everything it needs
to find is in a `lakehouse.storage.lake.Lake`. Start with `api.compact` and `publication.publish`.
"""
