"""The Dagster assets, one module per layer, made from the contracts by factories.

An asset here calls `lakehouse` or dbt and says in the UI what happened. It decides nothing about data, and nothing
about when it runs: rules belong to `lakehouse` and `dbt_project`, timing to `orchestration`.
"""
