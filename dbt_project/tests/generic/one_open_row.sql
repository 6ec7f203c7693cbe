{% test one_open_row(model, key) %}
with rows_in_order as (
    select
        {{ key }},
        valid_from,
        valid_to,
        is_current,
        lead(valid_from) over (partition by {{ key }} order by _version, _seq) as next_valid_from
    from {{ model }}
)

select {{ key }}
from rows_in_order
group by {{ key }}
having
    sum(case when valid_to is null then 1 else 0 end) <> 1
    or sum(case when is_current then 1 else 0 end) <> 1
    or sum(case when is_current and valid_to is not null then 1 else 0 end) > 0
    or sum(case when valid_to < valid_from then 1 else 0 end) > 0
    or sum(case when next_valid_from <> valid_to then 1 else 0 end) > 0
{% endtest %}
