{#
    Reconciliation: what a fact holds is what the published table holds, counted and summed to the cent, each currency
    by itself. Keys with news that the fact has not seen yet are left out on both sides, so that a publication during
    or after a build is no difference.

    That reads both sides whole. Where all of it has passed before, the rows of each commit are counted, whichever
    they are, and what came by later commits is summed: `news_reconciled`.
#}

{# What differs, with fact less published; no rows when all agree.
   `amounts` lists columns that are called the same on both sides. `published` is a query with the key, the currency and
   those columns instead of the published table itself, for facts that have other columns than an entity; what
   else it reads is in `also`: entity -> column of the fact with the highest batch seen of it. `row` lists the columns
   that a row of the fact and its item are known by; it is none where an item has several rows, or none. #}
{% macro reconciled(fact, entity, key, amounts, published=none, also={}, row=none) -%}
    {%- set commits = passed(entity) -%}
    {%- if not commits -%}
        {{ all_reconciled(fact, entity, key, amounts, published, also) }}
    {%- elif published and not row -%}
        {{ news_of_members_reconciled(fact, entity, key, amounts, published, commits) }}
    {%- else -%}
        {{ news_reconciled(fact, entity, row or [key], amounts, not published, commits) }}
    {%- endif -%}
{%- endmacro %}

{# The currencies whose rows or amounts differ. #}
{% macro all_reconciled(fact, entity, key, amounts, published, also) -%}
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

{{ currencies_that_differ(amounts) }}
{%- endmacro %}

{# Where everything has passed before: the commits whose rows are not as many, which shows a row that was missed, kept
   after its removal or there twice, and is so of all rows; and the currencies whose amounts differ among the rows of
   later commits. What was published since the build began is left out, on both sides, by `row`. Without `published` of
   its own, the fact has the published table's currency. #}
{% macro news_reconciled(fact, entity, row, amounts, by_currency, commits) -%}
with

published as (
    select *
    from {{ source('catalog', entity) }}
    where _batch <= {{ commits[1] }} and not coalesce(_deleted, false)
),

published_later as (
    select {{ row | join(', ') }}
    from {{ source('catalog', entity) }}
    where _batch > {{ commits[1] }}
),

rows_by_commit as (
    select
        _batch,
        1 as row_count
    from {{ fact }}

    union all

    select
        fact._batch,
        -1 as row_count
    from {{ fact }} as fact
    inner join published_later as later
        on {% for column in row %}fact.{{ column }} = later.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}

    union all

    select
        _batch,
        -1 as row_count
    from published
),

amounts as (
    select
        {{ 'fact.currency' if by_currency else "cast(null as " ~ dbt.type_string() ~ ")" }} as currency
        {%- for column in amounts %},
        cast(coalesce(fact.{{ column }}, 0) as decimal(38, 2)) as {{ column }}
        {%- endfor %}
    from {{ fact }} as fact
    left join published_later as later
        on {% for column in row %}fact.{{ column }} = later.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
    where fact._batch > {{ commits[0] }} and later.{{ row[0] }} is null

    union all

    select
        {{ 'currency' if by_currency else "cast(null as " ~ dbt.type_string() ~ ")" }} as currency
        {%- for column in amounts %},
        -cast(coalesce({{ column }}, 0) as decimal(38, 2)) as {{ column }}
        {%- endfor %}
    from published
    where _batch > {{ commits[0] }}
)

select
    _batch,
    cast(null as {{ dbt.type_string() }}) as currency,
    sum(row_count) as rows_too_many
    {%- for column in amounts %},
    cast(null as decimal(38, 2)) as {{ column }}_too_much
    {%- endfor %}
from rows_by_commit
group by _batch
having sum(row_count) <> 0

union all

select
    cast(null as bigint) as _batch,
    currency,
    cast(null as bigint) as rows_too_many
    {%- for column in amounts %},
    sum({{ column }}) as {{ column }}_too_much
    {%- endfor %}
from amounts
group by currency
having
    {%- for column in amounts %}
    {{ 'or ' if not loop.first }}sum({{ column }}) <> 0
    {%- endfor %}
{%- endmacro %}

{# The same for the members of a list, of which no commit says how many there are: the currencies that differ among the
   members of items that later commits brought, which are all that `published` gives then, and members that such an item
   had before. #}
{% macro news_of_members_reconciled(fact, entity, key, amounts, published, commits) -%}
with

news as (
    select
        items.{{ key }},
        items._batch <= {{ commits[1] }} as is_built
    from {{ source('catalog', entity) }} as items
    where items._batch > {{ commits[0] }}
),

both_sides as (
    select
        members.currency,
        1 as row_count
        {%- for column in amounts %},
        cast(coalesce(members.{{ column }}, 0) as decimal(38, 2)) as {{ column }}
        {%- endfor %}
    from {{ fact }} as members
    left join news on members.{{ key }} = news.{{ key }} and not news.is_built
    where members._batch > {{ commits[0] }} and news.{{ key }} is null

    union all

    select
        'of before' as currency,
        1 as row_count
        {%- for column in amounts %},
        cast(0 as decimal(38, 2)) as {{ column }}
        {%- endfor %}
    from {{ fact }} as members
    inner join news on members.{{ key }} = news.{{ key }} and news.is_built
    where members._batch <= {{ commits[0] }}

    union all

    select
        members.currency,
        -1 as row_count
        {%- for column in amounts %},
        -cast(coalesce(members.{{ column }}, 0) as decimal(38, 2)) as {{ column }}
        {%- endfor %}
    from ({{ published }}) as members
    inner join news on members.{{ key }} = news.{{ key }} and news.is_built
)

{{ currencies_that_differ(amounts) }}
{%- endmacro %}

{# The currencies in which `both_sides`, where one side counts against the other, do not add up to nothing. #}
{% macro currencies_that_differ(amounts) -%}
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
