{#
    History of an entity: one row for each state that an item was in, from all changes ever published.

    Order. Changes of one key are ordered by (_version, _seq), never by arrival or clock, so late and repeated changes
    fall into place. A state begins no later than any state after it: `valid_from` is the earliest time among the change
    and those that follow. States that last no measurable time (changes within one second) keep their row, with
    valid_from = valid_to.

    What says nothing new is left out: the same change delivered again, an export's copy of what the stream reported, and the
    physical removal of an item that was already removed. An export knows no order but the version of the item, which
    may be behind that of the change: its row (`_seq` is zeros) is a copy, too, where the stream reported the same before the
    export, and the row comes before that change or directly after it. A removed item keeps an open row with
    `is_removed`, so that every key that was ever seen has exactly one open row.

    An increment recomputes every key that has new changes, from all its changes. All rows of a key carry the same
    `_batch`; rows that a late change made obsolete keep their old one, and `delete_outdated_history` takes them out.
#}

{# `changes` is the staging model of all changes of the entity. #}
{% macro history_of(changes, key, surrogate, attributes) -%}
{%- set same_content = ([key, "_op in ('remove', 'expire')"] + attributes) | join(', ') -%}
with

{{ changed_keys(key, [(changes, '_batch')]) }}

changes as (
    select
        *,
        max(_batch) over (partition by {{ key }}) as key_batch,
        row_number() over (partition by {{ key }}, _version, _seq order by _batch, _event_id) as delivery,
        row_number() over (partition by {{ key }}, _version order by _changed_at, _seq, _event_id) as copy_of_version,
        max(case when _op = 'snapshot' then 0 else 1 end) over (partition by {{ key }}, _version) as reported_by_stream,
        replace(_seq, '0', '') = '' as is_exported
    from {{ changes }}
    where {{ is_changed(key) }}
),

compared_changes as (
    select
        *,
        min(case when not is_exported then _changed_at end) over (
            partition by {{ same_content }}
            order by _version, _seq
            rows between 1 following and unbounded following
        ) as reported_again_at,
        lag(_event_id) over (partition by {{ key }} order by _version, _seq) as previous_event,
        lag(_event_id) over (partition by {{ same_content }} order by _version, _seq) as previous_same
    from changes
    where delivery = 1
),

distinct_changes as (
    select
        *,
        min(_changed_at) over (
            partition by {{ key }}
            order by _version, _seq
            rows between current row and unbounded following
        ) as valid_from,
        lag(_op) over (partition by {{ key }} order by _version, _seq) as previous_op
    from compared_changes
    where
        (_op <> 'snapshot' or (reported_by_stream = 0 and copy_of_version = 1))
        and not (
            is_exported
            and (coalesce(reported_again_at <= _changed_at, false) or coalesce(previous_event = previous_same, false))
        )
),

states as (
    select
        *,
        lead(valid_from) over (partition by {{ key }} order by _version, _seq) as valid_to
    from distinct_changes
    where not (_op = 'remove' and coalesce(previous_op, '') = 'remove')
)

select
    {{ surrogate_key([key, '_version', '_seq']) }} as {{ surrogate }},
    {{ key }},
    {%- for attribute in attributes %}
    {{ attribute }},
    {%- endfor %}
    valid_from,
    valid_to,
    previous_op is null as is_first,
    valid_to is null as is_current,
    _op = 'remove' as is_removed,
    _op = 'expire' as is_expired,
    _version,
    _seq,
    _batch as _state_batch,
    key_batch as _batch
from states
{%- endmacro %}

{# Statement that takes out the rows of a key that its newest computation did not give any more: all that it gave have a
   newer batch. #}
{% macro delete_outdated_history(key, surrogate) -%}
    {%- set seen = load_result('seen_before') -%}
    {%- if seen and heals_at_once() -%}
    {{ delete_seen_before(key, this, seen) }}
    {%- elif seen -%}
    delete from {{ this }}
    where {{ surrogate }} in (
        select outdated.{{ surrogate }}
        from {{ this }} as outdated
        inner join (
            select {{ key }}, max(_batch) as _batch
            from {{ this }}
            group by {{ key }}
        ) as newest on outdated.{{ key }} = newest.{{ key }}
        where outdated._batch < newest._batch
    )
    {%- endif -%}
{%- endmacro %}

{# Statement that takes out the items of whom neither a row nor a change is left: an erasure deletes both, and leaves no
   tombstone. `items` and `changes` are the staging models of the entity. Which items are not in `items` is looked up
   first, as that is the smaller table; few are left then to look for in all changes. #}
{% macro delete_erased(key, items, changes) -%}
    delete from {{ this }}
    where {{ key }} in (
        select absent.{{ key }}
        from (
            select distinct known.{{ key }}
            from {{ this }} as known
            left join {{ items }} as items on known.{{ key }} = items.{{ key }}
            where items.{{ key }} is null
        ) as absent
        left join {{ changes }} as changes on absent.{{ key }} = changes.{{ key }}
        where changes.{{ key }} is null
    )
{%- endmacro %}

{#
    A fact points to the state that a dimension was in when the fact happened: join `states_of` the dimension on its key
    and on `was_valid` at the time of the fact. Exactly one state of a known key is valid at any time: the first one
    before anything is known, too, and the one that is left of several within one second.
#}
{% macro states_of(dimension, key, surrogate, attributes=[]) -%}
    (
        select
            {{ key }},
            {{ surrogate }},
            {%- for attribute in attributes %}
            {{ attribute }},
            {%- endfor %}
            case when is_first then timestamp '0001-01-01 00:00:00' else valid_from end as since,
            coalesce(valid_to, {{ end_of_time() }}) as until,
            _state_batch,
            _batch
        from {{ ref(dimension) }}
    )
{%- endmacro %}

{# Comparisons alone, so that engines find a key to join by. #}
{% macro was_valid(state, at) -%}
    {{ state }}.since <= {{ before_the_end(at) }} and {{ before_the_end(at) }} < {{ state }}.until
{%- endmacro %}

{# The last moment that a timestamp can have. Nothing comes after it, so what happens then counts for the one before. #}
{% macro end_of_time() -%}
    timestamp '9999-12-31 23:59:59.999999'
{%- endmacro %}

{% macro before_the_end(at) -%}
    case when {{ at }} < {{ end_of_time() }} then {{ at }} else timestamp '9999-12-31 23:59:59.999998' end
{%- endmacro %}
