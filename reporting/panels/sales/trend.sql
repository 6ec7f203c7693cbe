/*
subtitle: How much is sold and earned, and is it more than before?
title: Sales and earnings by {{ grain }}
source: rpt_sales_by_category_country_and_month
periods:
  column: period
  grain: fitting
  news: net_sales
  later: is_later
  fill: [sales, net_sales, house_earnings, same_part]
define:
  best: highest('net_sales')
number: now.net_sales | money
label: net sales {{ now.period | within }}
change: {of: net_sales}
summary: >-
  Net sales were highest {{ best.period | within }}{{ best.among }}: {{ best.net_sales | money }} in
  {{ best.sales | count('sale') }}.{{ so_far('net_sales', 'money') }}
columns:
  "{{ grain | capital }}": period | period
  Sales: sales | number
  Net sales: net_sales | money
  House earnings: house_earnings | money
chart:
  kind: timeline
  bars: {Net sales: net_sales}
  lines: {House earnings: house_earnings}
  optional: [House earnings]
  axis: money
  leads_to: {question: orders_placed}
wide: true
*/
select
    date_trunc({{ grain }}, placed_at) as period,
    placed_at > {{ until }} as is_later,
    count(*) filter (where is_sale) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings,
    coalesce(sum(net_sales) filter (
        where placed_at - date_trunc({{ grain }}, placed_at) <= {{ until }} - date_trunc({{ grain }}, {{ until }})
    ), 0) as same_part
from {{ ref('fct_orders') }}
where currency = {{ currency }}
group by 1, 2
order by 1, 2
