{#
    Reconciliation: what a fact holds is what the published table holds, counted and summed to the cent, each currency
    by itself. Keys with news that the fact has not seen yet are left out on both sides, so that a publication during
    or after a build is no difference.
#}

{# The currencies whose rows or amounts differ, with fact less published; no rows when all agree.
   `amounts` lists columns that are called the same on both sides. `published` is a query with the key, the currency and
   those columns instead of the published table itself, for facts that have other rows than an entity has items; what
   else it reads is in `also`: entity -> column of the fact with the highest batch seen of it. #}
{% macro reconciled(fact, entity, key, amounts, published=none, also={}) -%}
with

news as (
    {%- for table, cursor in dict({entity: '_batch'}, **also).items() %}
    select {{ key }}
    from {{ source('catalog', table) }}
    where _batch > (select coalesce(max({{ cursor }}), -1) from {{ fact }})
    {{- '\n    union distinct' if not loop.last }}
    {%- endfor %}
),

both_sides as (
    select
        currency,
        1 as row_count
        {%- for column in amounts %},
        cast(coalesce({{ column }}, 0) as decimal(38, 2)) as {{ column }}
        {%- endfor %}
    from {{ fact }}
    where {{ key }} not in (select {{ key }} from news)

    union all

    select
        currency,
        -1 as row_count
        {%- for column in amounts %},
        -cast(coalesce({{ column }}, 0) as decimal(38, 2)) as {{ column }}
        {%- endfor %}
    from {{ '(' ~ published ~ ') as published' if published else source('catalog', entity) }}
    where
        {{ key }} not in (select {{ key }} from news)
        {%- if not published %}
        and not coalesce(_deleted, false)
        {%- endif %}
)

select
    currency,
    sum(row_count) as rows_too_many
    {%- for column in amounts %},
    sum({{ column }}) as {{ column }}_too_much
    {%- endfor %}
from both_sides
group by currency
having
    sum(row_count) <> 0
    {%- for column in amounts %}
    or sum({{ column }}) <> 0
    {%- endfor %}
{%- endmacro %}
