"""The report in BI tools: its panels as the visuals of a first dashboard, in the files that each tool imports.

What a tool reads is an exposure of the dbt project (`warehouse.readers`); what it draws of that are panels (`visuals`).
"""
