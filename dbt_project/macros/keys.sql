{# A key of one text column for a row that several columns identify: the same in every rebuild and on both engines. What
   stands between the columns is marked where it is part of a value, so that no two rows have the same text. #}
{% macro surrogate_key(columns) -%}
    {#- Written as the adapter's own hash writes it. -#}
    {%- set text = dbt.type_string() | lower if target.type == "athena" else dbt.type_string() -%}
    {%- set parts = [] -%}
    {%- for column in columns -%}
        {%- do parts.append(
            "coalesce(replace(replace(cast(" ~ column ~ " as " ~ text ~ "), '~', '~~'), '|', '~|'), '')"
        ) -%}
    {%- endfor -%}
    {{ dbt.hash(parts | join(" || '|' || ")) }}
{%- endmacro %}
