{# The schema of a model: the folder's own name in the local file, a Glue database for each environment on Athena. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%}
        {{ target.schema }}
    {%- elif target.type == 'athena' -%}
        gavel_{{ custom_schema_name }}_{{ target.name }}
    {%- else -%}
        {{ custom_schema_name }}
    {%- endif -%}
{%- endmacro %}
