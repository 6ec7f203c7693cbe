/*
subtitle: What sells?
title: What sells
source: rpt_sales_by_category_country_and_month
define:
  total: rows.net_sales.sum()
number: (first.net_sales / total if total > 0 else none) | percent
label: of net sales come from {{ first.category }}
summary: >-
  {{ first.net_sales | money }} in {{ first.sales | count('sale') }}, of {{ total | money }} in all categories.
columns:
  Category: category
  Sales: sales | number
  Hammer price: sales_amount | money
  Net sales: net_sales | money
  House earnings: house_earnings | money
chart:
  kind: ranking
  name: category
  bars: {Net sales: net_sales, House earnings: house_earnings}
  optional: [Net sales, House earnings]
  axis: money
  row_height: 46
*/
select
    {{ category() }} as category,
    cast(sum(sales) as bigint) as sales,
    sum(sales_amount) as sales_amount,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from {{ ref('rpt_sales_by_category_country_and_month') }}
where currency = {{ currency }}
group by {{ category() }}
order by net_sales desc, category asc
