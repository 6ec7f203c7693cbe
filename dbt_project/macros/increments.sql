{#
    How incremental models find their work. Every row of a published table carries `_batch`, the commit that last
    changed it; a model remembers the highest batch that it has seen of each table it reads, so that a change that
    arrives late is found as surely as one that arrives in time. Tombstones count: what a removal touches is new work.
#}

{# Whether the model computes changed keys only. Where the table is from before the model gained a column, everything is
   computed once more: the column is added, and every row gets its value.
   An intermediate model asks this `of` the mart that it is part of. #}
{% macro is_increment(of=none) -%}
    {%- if not execute or (of and flags.FULL_REFRESH) -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set mart = mart_named(of) if of else model -%}
    {%- set table = adapter.get_relation(mart.database, mart.schema, mart.alias) -%}
    {%- set knows = namespace(all=(table is not none and table.type == 'table') if of else is_incremental()) -%}
    {%- if knows.all -%}
        {%- set present = adapter.get_columns_in_relation(table) | map(attribute='name') | map('lower') | list -%}
        {%- for column in mart.columns if column not in present -%}
            {%- set knows.all = false -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(knows.all) }}
{%- endmacro %}

{# What dbt knows of a mart, by its name. #}
{% macro mart_named(name) -%}
    {{ return(graph.nodes['model.' ~ project_name ~ '.' ~ name]) }}
{%- endmacro %}

{# The CTE `changed`: keys to compute again; empty text in a full build.
   `cursors` lists staging models that have the key, each with the column of this model that holds the highest batch
   seen of it. `also` lists further queries for keys, such as `keys_before_a_move`, `keys_of_parent`, `stale_keys`. #}
{% macro changed_keys(key, cursors, also=[]) -%}
    {%- if is_increment() -%}
    {%- set keys_with_news -%}
    {%- for rows, cursor in cursors %}
    {{ with_news(key, rows, cursor) }}
    {{- '\n    union distinct' if not loop.last }}
    {%- endfor %}
    {%- for keys in also %}
    union distinct
    {{ keys }}
    {%- endfor %}
    {%- endset -%}
changed as (
    {{- kept_aside(keys_with_news, key) }}
),
    {%- endif -%}
{%- endmacro %}

{# Keys of `rows` that this model has not seen as they are now. #}
{% macro with_news(key, rows, cursor) -%}
    select {{ key }}
    from {{ rows }}
    where {{ is_a_key(key) }} and _batch > {{ last_seen(cursor) }}
{%- endmacro %}

{# True of any key, which is text and never null. Where what a scan is joined to has a condition of its own, and is joined
   by one column alone, DuckDB passes over the rows of the scan that it does not have, without reading their other columns. #}
{% macro is_a_key(key) -%}
    {{ key }} >= ''
{%- endmacro %}

{# The highest batch that this model has seen of a table; it remembers it in the column `cursor`. #}
{% macro last_seen(cursor) -%}
    (select coalesce(max({{ cursor }}), -1) from {{ this }})
{%- endmacro %}

{# Keys that rows with news belonged to before, where a row may pass from one key to another. `rows` and `changes` are
   the staging models of the rows' keys and of their changes, `member` is the key of such a row. #}
{% macro keys_before_a_move(key, rows, changes, member, cursor) -%}
    select {{ key }}
    from {{ changes }}
    where {{ member }} in ({{ with_news(member, rows, cursor) }})
{%- endmacro %}

{# Keys of `rows` that belong to a row of `parents` with news. #}
{% macro keys_of_parent(key, rows, parents, parent_key, cursor) -%}
    select {{ key }}
    from {{ rows }}
    where {{ parent_key }} in ({{ with_news(parent_key, parents, cursor) }})
{%- endmacro %}

{# Keys of this model whose row points to another state of a dimension than the one that was valid, because a change of
   the dimension came later than the row. Looks at items of the dimension with news only, by the newest of the states
   that rows point to (`cursor`), and gives wrong rows only: a change does not rewrite all facts of its item.
   `refers` is the column of this model that holds the dimension's key, `points` the one that holds the state's. #}
{% macro stale_keys(key, dimension, dimension_key, surrogate, cursor, refers, points, at) -%}
    select facts.{{ key }}
    from (
        select *
        from {{ this }}
        where {{ refers }} in ({{ with_news(dimension_key, ref(dimension), cursor) }})
    ) as facts
    inner join {{ states_of(dimension, dimension_key, surrogate) }} as states
        on facts.{{ refers }} = states.{{ dimension_key }} and {{ was_valid('states', 'facts.' ~ at) }}
    where
        states._batch > {{ last_seen(cursor) }}
        and coalesce(facts.{{ points }}, '') <> states.{{ surrogate }}
{%- endmacro %}

{# The newest of several states' batches; null-safe, -1 where no state is known. #}
{% macro newest_state(states) -%}
    {%- if states | length == 1 -%}
        coalesce({{ states[0] }}._state_batch, -1)
    {%- else -%}
        greatest(
            {%- for state in states %}coalesce({{ state }}._state_batch, -1){{ ', ' if not loop.last }}{% endfor -%}
        )
    {%- endif -%}
{%- endmacro %}

{# The condition that keeps the changed keys in an increment, and everything in a full build. An intermediate model,
   which becomes part of a mart's statement, names the mart: its keys are `kept_aside` before the statement runs. #}
{% macro is_changed(key, of=none) -%}
    {%- if is_increment(of) -%}
        {{ key }} in (select {{ key }} from {{ kept_aside_of(of) if of else 'changed' }} where {{ is_a_key(key) }})
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# Statement that takes the rows of removed items out of an incremental model, which a merge never does. `rows` is the
   staging model of the items' keys. #}
{% macro delete_removed(rows, key) -%}
    delete from {{ this }}
    where {{ key }} in (select {{ key }} from {{ rows }} where _deleted)
{%- endmacro %}

{# The same for a key of two columns, text and number. The first condition spares putting all keys together. #}
{% macro delete_removed_members(rows, key, number) -%}
    delete from {{ this }}
    where
        {{ key }} in (select {{ key }} from {{ rows }} where _deleted)
        and {{ member_key(key, number) }} in (
            select {{ member_key(key, number) }} from {{ rows }} where _deleted
        )
{%- endmacro %}

{# Statement that takes out members of a list that got shorter, or whose owner was removed: a list is always computed
   as a whole, so what is left from before has an older batch than its owner. Where this increment saw each owner for the
   first time, that is what had been seen before it. #}
{% macro delete_outdated_members(owners, key, number) -%}
    {%- set seen = load_result('seen_before') -%}
    {%- if seen and heals_at_once() -%}
    {{ delete_seen_before(key, owners, seen) }}
    {%- elif seen -%}
    delete from {{ this }}
    where {{ member_key(key, number) }} in (
        select {{ member_key('members.' ~ key, 'members.' ~ number) }}
        from {{ this }} as members
        inner join {{ owners }} as owners on members.{{ key }} = owners.{{ key }}
        where members._batch < owners._batch
    )
    {%- endif -%}
{%- endmacro %}

{# Statement that takes out what this model had, before its increment, of the keys that `rows` have news of; `seen` is
   what `remember_seen` kept. #}
{% macro delete_seen_before(key, rows, seen) -%}
    {%- set batch = seen['data'][0][0] -%}
    delete from {{ this }}
    where
        _batch <= {{ batch }}
        and {{ key }} in (select {{ key }} from {{ rows }} where _batch > {{ batch }})
{%- endmacro %}

{# Before an increment: keeps the highest batch that the model had seen, for what is deleted after it. #}
{% macro remember_seen() -%}
    {%- if execute and is_incremental() -%}
        {%- call statement('seen_before', fetch_result=True, auto_begin=False) -%}
            select coalesce(max(_batch), -1) from {{ this }}
        {%- endcall -%}
    {%- endif -%}
{%- endmacro %}

{# Whether merge and deletion are one transaction, so that a deletion has to look at what this increment saw for the first
   time only. Where they are not, it looks at everything, and deletes what a build that broke off between them left. #}
{% macro heals_at_once() -%}
    {{ return(target.type == 'duckdb') }}
{%- endmacro %}

{% macro member_key(key, number) -%}
    {{ key }} || '/' || cast({{ number }} as {{ dbt.type_string() }})
{%- endmacro %}
