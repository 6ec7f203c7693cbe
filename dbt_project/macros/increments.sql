{#
    How incremental models find their work. Every row of a published table carries `_batch`, the commit that last
    changed it; a model remembers the highest batch that it has seen of each table it reads, so that a change that
    arrives late is found as surely as one that arrives in time. Tombstones count: what a removal touches is new work.
#}

{# The CTE `changed`: keys to compute again. `cursors` maps source tables to the column of this model that holds the
   highest batch seen of each. Empty text in a full build. #}
{% macro changed_keys(key, cursors) -%}
    {%- if is_incremental() -%}
changed as (
    {%- for table, cursor in cursors.items() %}
    select {{ key }}
    from {{ source('catalog', table) }}
    where _batch > (select coalesce(max({{ cursor }}), -1) from {{ this }})
    {{- '\n    union distinct' if not loop.last }}
    {%- endfor %}
),
    {%- endif -%}
{%- endmacro %}

{# The condition that keeps the changed keys in an increment, and everything in a full build. #}
{% macro is_changed(key) -%}
    {%- if is_incremental() -%}
        {{ key }} in (select {{ key }} from changed)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{# Statement that takes the rows of removed items out of an incremental model, which a merge never does. #}
{% macro delete_removed(table, key) -%}
    delete from {{ this }}
    where {{ key }} in (select {{ key }} from {{ source('catalog', table) }} where _deleted)
{%- endmacro %}
