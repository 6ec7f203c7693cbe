{#
    How reports measure time: between two columns, or columns and the data time, never up to the clock.
#}

{# Whole seconds from one time to another, as double. Null where one of them is not known. Without `date_trunc` one
   engine counts the seconds that begin, the other those that pass. #}
{% macro seconds_between(first_time, second_time) -%}
    cast(
        date_diff('second', date_trunc('second', {{ first_time }}), date_trunc('second', {{ second_time }})) as double
    )
{%- endmacro %}

{# Days from one time to another as a number with fractions; whole seconds count. Null where one of them is not known. #}
{% macro days_between(first_time, second_time) -%}
    {{ seconds_between(first_time, second_time) }} / 86400
{%- endmacro %}

{# Days from the day of one time to the day of another (UTC). #}
{% macro calendar_days_between(first_time, second_time) -%}
    date_diff('day', cast({{ first_time }} as date), cast({{ second_time }} as date))
{%- endmacro %}

{# First day of the month, or of the quarter, in which a day or time lies. #}
{% macro first_day_of(period, time) -%}
    cast(date_trunc('{{ period }}', {{ time }}) as date)
{%- endmacro %}
