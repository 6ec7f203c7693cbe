"""The look for drift that needs the account: stacks of CloudFormation, and policies as IAM and the services have them.

It is made from outside of the network of the pipeline, with the rights to read of the policy
`gavel-<environment>-drift`. What differs in Glue and Dagster is compared in `lakehouse.drift` and `warehouse.drift`.
"""
