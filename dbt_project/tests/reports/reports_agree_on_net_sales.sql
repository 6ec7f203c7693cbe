{#- Each report that divides all sales, as what of it makes them up. -#}
{%- set reports = {
    'sales_by_category_country_and_month': 'true',
    'sales_growth_by_quarter': 'true',
    'party_groups as buyers': "role = 'buyer'",
    'party_groups as sellers': "role = 'seller'",
} -%}

with

sums as (
    {%- for report, condition in reports.items() %}
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
