{# The schema of a model: the folder's own name in the local file. On Athena it is a Glue database for each environment,
   in which readers do not look: see `work.sql`. The rows that tests found wrong are seen at once. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%}
        {{ target.schema }}
    {%- elif target.type == 'athena' -%}
        gavel_{{ 'work_' if not node or node.resource_type != 'test' }}{{ custom_schema_name }}_{{ target.name }}
    {%- else -%}
        {{ custom_schema_name }}
    {%- endif -%}
{%- endmacro %}
