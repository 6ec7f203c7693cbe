{%- set bands = [
    ('not due', none),
    ('1-30 days', 30),
    ('31-60 days', 60),
    ('61-90 days', 90),
    ('over 90 days', none),
] -%}

with

clock as (
    select {{ data_time(['invoices', 'payments']) }} as data_time
),

open_invoices as (
    select
        invoices.role,
        invoices.currency,
        invoices.open_amount,
        -- An invoice without a due date is due when it is issued.
        {{ calendar_days_between('coalesce(invoices.due_at, invoices.issued_at)', 'clock.data_time') }} as days_overdue
    from {{ ref('fct_invoices') }} as invoices
    cross join clock
    where invoices.is_open
),

banded as (
    select
        open_invoices.*,
        case
            when days_overdue <= 0 then 1
            {%- for _, last_day in bands if last_day %}
            when days_overdue <= {{ last_day }} then {{ loop.index + 1 }}
            {%- endfor %}
            else {{ bands | length }}
        end as band_number
    from open_invoices
),

-- A band without invoices is a row, too, so that the bands of each role and currency are complete.
bands as (
    {%- for name, _ in bands %}
    select {{ loop.index }} as band_number, '{{ name }}' as age_band
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

grid as (
    select distinct
        banded.role,
        banded.currency,
        bands.band_number,
        bands.age_band
    from banded
    cross join bands
)

select
    grid.role,
    grid.currency,
    grid.age_band,
    cast(grid.band_number as integer) as band_number,
    cast(count(banded.open_amount) as bigint) as invoices,
    cast(coalesce(sum(banded.open_amount), 0) as decimal(38, 2)) as open_amount,
    clock.data_time
from grid
cross join clock
left join banded
    on
        grid.role = banded.role
        and grid.currency = banded.currency
        and grid.band_number = banded.band_number
group by grid.role, grid.currency, grid.age_band, grid.band_number, clock.data_time
