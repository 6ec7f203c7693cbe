{# One query for all columns of an entity; `broken` names the first column that is wrong. #}
{% test as_contracted(model, required, values) %}
{%- set rules = {} -%}
{%- for column in required -%}
    {%- do rules.update({column ~ ' is missing': column ~ ' is null'}) -%}
{%- endfor -%}
{%- for column, accepted in values.items() -%}
    {%- do rules.update({column ~ ' is unknown': column ~ " not in ('" ~ accepted | join("', '") ~ "')"}) -%}
{%- endfor -%}
{%- if not rules -%}
select * from {{ model }} where false
{%- else -%}
with judged as (
    select
        *,
        case
            {%- for reason, condition in rules.items() %}
            when {{ condition }} then '{{ reason }}'
            {%- endfor %}
        end as broken
    from {{ model }}
)

select *
from judged
where broken is not null
{%- endif -%}
{% endtest %}
