{#
    Care of the incremental tables on Athena, nightly (`assets/marts_maintenance.py`): merges leave many small files and
    files of deletes behind, which `optimize` joins; `vacuum` removes old snapshots, and the files that they alone keep.
    What readers have is moved after each of the two: `vacuum` of a table in which they are at an old snapshot would take
    away its files. Locally there is nothing to do. No build may run meanwhile: both write the same tables.
#}
{% macro maintain_tables(step) %}
    {%- if execute and target.type == 'athena' -%}
        {%- for node in graph.nodes.values() if node.config.materialized == 'incremental' -%}
            {%- set table = adapter.get_relation(node.database, node.schema, node.alias) -%}
            {%- if table is not none -%}
                {%- set name = table.schema ~ '.' ~ table.identifier -%}
                {%- do log('Maintaining ' ~ name ~ ': ' ~ step, info=true) -%}
                {%- if step == 'optimize' -%}
                    {%- do adapter.run_operation_with_potential_multiple_runs(
                        'optimize ' ~ name ~ ' rewrite data using bin_pack', 'optimize') -%}
                {%- elif step == 'vacuum' -%}
                    {%- do adapter.run_operation_with_potential_multiple_runs('vacuum ' ~ name, 'vacuum') -%}
                {%- else -%}
                    {{ exceptions.raise_compiler_error("step: expected 'optimize' or 'vacuum', found '" ~ step ~ "'") }}
                {%- endif -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}
