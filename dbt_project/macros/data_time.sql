{# The data time of a model: the moment up to which all that arrived is in every table that it reads. Tables that were
   never published hold nothing that could be late. #}
{% macro data_time(entities) -%}
    (
        select min(watermark)
        from {{ ref('stg_watermarks') }}
        where entity in ('{{ entities | join("', '") }}')
    )
{%- endmacro %}
