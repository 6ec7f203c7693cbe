{%- set first_day = modules.datetime.date.fromisoformat(calendar_start()) -%}
{%- set days = (modules.datetime.date.fromisoformat(calendar_end()) - first_day).days + 1 -%}

with

numbers as (
    {{ dbt.generate_series(days) }}
),

dates as (
    select
        cast(
            {{ dbt.dateadd('day', 'cast(generated_number as integer) - 1', "cast('" ~ first_day ~ "' as date)") }} as date
        ) as date_day
    from numbers
)

select
    date_day,
    'calendar' as part,
    cast(extract(year from date_day) as integer) as year_number,
    cast(extract(quarter from date_day) as integer) as quarter_of_year,
    cast(extract(month from date_day) as integer) as month_of_year,
    cast(extract(day from date_day) as integer) as day_of_month,
    {{ iso_day_of_week('date_day') }} as day_of_week,
    cast(date_trunc('month', date_day) as date) as month_start,
    cast(date_trunc('quarter', date_day) as date) as quarter_start,
    {{ iso_day_of_week('date_day') }} > 5 as is_weekend
from dates

{%- for part, member in {'before': before_calendar(), 'after': after_calendar()}.items() %}

union all

select
    {{ member }} as date_day,
    '{{ part }}' as part,
    cast(null as integer) as year_number,
    cast(null as integer) as quarter_of_year,
    cast(null as integer) as month_of_year,
    cast(null as integer) as day_of_month,
    cast(null as integer) as day_of_week,
    cast(null as date) as month_start,
    cast(null as date) as quarter_start,
    cast(null as boolean) as is_weekend
{%- endfor %}
