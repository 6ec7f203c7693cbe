{#
    On Athena, dbt builds in work databases; what readers have is moved when all tests of a build have passed
    (`warehouse/moving.py`). So a table that dbt replaces may be one that readers still read: it is taken out of the
    catalog, and its files stay until nothing needs them (`warehouse/cleaning.py`).
#}
{% macro athena__drop_relation(relation) -%}
    {%- set temporary = modules.re.search('__(dbt_tmp|ha|changed|tmp_not_partitioned)$', relation.identifier) -%}
    {%- if not relation.schema.startswith('gavel_work_') or temporary -%}
        {%- do adapter.clean_up_table(relation) -%}
    {%- endif -%}
    {%- do adapter.delete_from_glue_catalog(relation) -%}
{%- endmacro %}
