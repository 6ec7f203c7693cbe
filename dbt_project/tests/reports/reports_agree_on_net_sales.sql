{#- Each report that divides all sales, as what of it makes them up, and of which sales: all, or those up to its data
    time, which is that of these tables while it has no row. -#}
{%- set parties = ['orders', 'payments', 'shipments'] -%}
{%- set reports = {
    'rpt_sales_by_category_country_and_month': ('true', none),
    'rpt_sales_growth_by_quarter': ('true', ['orders', 'lots', 'customers', 'countries', 'payments', 'shipments']),
    'rpt_party_groups as buyers': ("role = 'buyer'", parties),
    'rpt_party_groups as sellers': ("role = 'seller'", parties),
} -%}

with

sums as (
    {%- for report, (condition, entities) in reports.items() %}
    select
        '{{ report }}' as report,
        currency,
        net_sales as too_much
    from {{ ref(report.split(' ')[0]) }}
    where {{ condition }}

    union all

    select
        '{{ report }}' as report,
        currency,
        -net_sales as too_much
    from {{ ref('fct_orders') }}
    {%- if entities %}
    where
        placed_at
        <= coalesce((select min(data_time) from {{ ref(report.split(' ')[0]) }}), {{ data_time(entities) }})
    {%- endif %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    report,
    currency,
    sum(too_much) as net_sales_too_much
from sums
group by report, currency
having sum(too_much) <> 0
