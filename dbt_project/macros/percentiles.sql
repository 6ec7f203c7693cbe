{#
    Percentiles that are the same on both engines, and true of some row: the smallest value that at least the given
    share of the group's rows does not exceed (nearest rank). Neither engine's own function is exact on the other.
#}

{# Share of the group's rows that do not exceed the row's value. Rows without a value are none of them. #}
{% macro share_up_to(value, group) -%}
    case
        when {{ value }} is not null
            then cume_dist() over (
                partition by {{ group | join(', ') }}, case when {{ value }} is null then 1 else 0 end
                order by {{ value }}
            )
    end
{%- endmacro %}

{# Percentile of a group: `share_column` holds what `share_up_to` gave. #}
{% macro percentile(value, share_column, share) -%}
    min(case when {{ share_column }} >= {{ share }} then {{ value }} end)
{%- endmacro %}
