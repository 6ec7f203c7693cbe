{#
    Care of the incremental tables on Athena, nightly: `dbt run-operation maintain_tables`. Merges leave many small files
    and files of deletes behind, and old snapshots keep the files that they replaced. Locally there is nothing to do.
    No build may run meanwhile: both write the same tables.
#}
{% macro maintain_tables() %}
    {%- if execute and target.type == 'athena' -%}
        {%- for node in graph.nodes.values() if node.config.materialized == 'incremental' -%}
            {%- set table = adapter.get_relation(node.database, node.schema, node.alias) -%}
            {%- if table is not none -%}
                {%- set name = table.schema ~ '.' ~ table.identifier -%}
                {%- do log('Maintaining ' ~ name, info=true) -%}
                {%- do adapter.run_operation_with_potential_multiple_runs(
                    'optimize ' ~ name ~ ' rewrite data using bin_pack', 'optimize') -%}
                {%- do adapter.run_operation_with_potential_multiple_runs('vacuum ' ~ name, 'vacuum') -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}
