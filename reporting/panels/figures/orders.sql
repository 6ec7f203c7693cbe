/*
source: rpt_sales_by_category_country_and_month
define:
  cancelled: now.orders_placed - now.sales
recent_if: now.days > 2
figures:
  - label: Net sales
    value: now.net_sales | money
    note: >-
      {{ now.sales_amount | money }} hammer price, {{ (now.sales_amount - now.net_sales) | money }} of it refunded
    recent: net_sales
    recent_as: money
  - label: House earnings
    value: now.house_earnings | money
    note: Premium, commission and fees less refunds and costs
    recent: house_earnings
    recent_as: money
  - label: Sales
    value: now.sales | number
    note: "{{ cancelled | count('order') if cancelled else 'No order' }} cancelled"
    recent: sales
  - label: Average hammer price
    value: (now.sales_amount / now.sales if now.sales else none) | money
    note: "{{ now.buyers | count('buyer') }}, {{ now.sellers | count('seller') }}"
*/
with orders as (
    select
        *,
        placed_at > {{ until }} - interval '30' day and placed_at <= {{ until }} as is_recent,
        placed_at > {{ until }} - interval '60' day and placed_at <= {{ until }} - interval '30' day as is_earlier
    from {{ ref('fct_orders') }}
    where currency = {{ currency }}
)

select
    count(*) as orders_placed,
    count(*) filter (where is_sale) as sales,
    coalesce(sum(hammer_price) filter (where is_sale), 0) as sales_amount,
    coalesce(sum(net_sales), 0) as net_sales,
    coalesce(sum(house_earnings), 0) as house_earnings,
    count(distinct buyer_id) filter (where is_sale) as buyers,
    count(distinct seller_id) filter (where is_sale) as sellers,
    min(placed_at) as first_at,
    max(placed_at) as last_at,
    count(distinct date_trunc('day', placed_at)) as days,
    count(*) filter (where is_sale and is_recent) as sales_recent,
    count(*) filter (where is_sale and is_earlier) as sales_earlier,
    coalesce(sum(net_sales) filter (where is_recent), 0) as net_sales_recent,
    coalesce(sum(net_sales) filter (where is_earlier), 0) as net_sales_earlier,
    coalesce(sum(house_earnings) filter (where is_recent), 0) as house_earnings_recent,
    coalesce(sum(house_earnings) filter (where is_earlier), 0) as house_earnings_earlier
from orders
