{# All rows of a key have one `_batch`. Where all of them have passed, rows that a later commit should have replaced are
   those of a key with news that have an earlier one. What no commit changed is counted: each key has one first row and one
   that is open, so there are as many of either. #}
{% test one_open_row(model, key) %}
with rows_in_order as (
    select
        {{ key }},
        valid_from,
        valid_to,
        is_current,
        lead(valid_from) over (partition by {{ key }} order by _version, _seq) as next_valid_from
    from {{ to_test(model) }}
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
{%- if passed(commits_of(model)) %}

union all

select replaced.{{ key }}
from {{ model }} as replaced
inner join (select distinct {{ key }} from {{ to_test(model) }} as tested) as news on replaced.{{ key }} = news.{{ key }}
where replaced._batch <= {{ passed(commits_of(model))[0] }}

union all

select 'of batch ' || cast(_batch as {{ dbt.type_string() }}) as {{ key }}
from {{ model }}
group by _batch
having sum(case when is_first then 1 else 0 end) <> sum(case when is_current then 1 else 0 end)
{%- endif %}
{% endtest %}
