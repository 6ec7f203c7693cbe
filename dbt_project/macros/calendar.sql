{#
    The calendar: the days of dim_date, from the variable `dates_from` to the end of a year so far ahead as
    `years_ahead` says, so that it grows by itself. A day outside is valid, too: all before have one member, all after
    have another, and every fact finds exactly one row of dim_date by its day key.
#}

{% macro calendar_start() -%}
    {{ return(var('dates_from')) }}
{%- endmacro %}

{% macro calendar_end() -%}
    {{ return('%04d-12-31' % (run_started_at.year + var('years_ahead') | int)) }}
{%- endmacro %}

{# The member for all days before the calendar, and for all after it. #}
{% macro before_calendar() -%}
    cast('0001-01-01' as date)
{%- endmacro %}

{% macro after_calendar() -%}
    cast('9999-12-31' as date)
{%- endmacro %}

{# Key of the row of dim_date that a time belongs to. #}
{% macro day_key(time) -%}
    case
        when cast({{ time }} as date) < cast('{{ calendar_start() }}' as date) then {{ before_calendar() }}
        when cast({{ time }} as date) > cast('{{ calendar_end() }}' as date) then {{ after_calendar() }}
        else cast({{ time }} as date)
    end
{%- endmacro %}

{# Keys of this model whose day lay after the calendar when they were computed, and is in it by now. #}
{% macro days_grown_into(key, day, points) -%}
    select {{ key }}
    from {{ this }}
    where {{ points }} = {{ after_calendar() }} and {{ day }} <= cast('{{ calendar_end() }}' as date)
{%- endmacro %}
