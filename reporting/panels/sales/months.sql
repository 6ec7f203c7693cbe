/*
subtitle: Which categories carry the sales, month by month?
title: Categories by month
source: rpt_sales_by_category_country_and_month
periods:
  column: sales_month
  grain: month
  news: of_month
  headline: place
  fill: [net_sales, of_month]
shown_if: drawn | length > 1
number: now.net_sales | money
label: "{{ now.category }}, the most sold {{ now.sales_month | within }}"
change: {of: net_sales, against: before, than: the month before}
summary: >-
  All categories together brought {{ now.of_month | money }} net sales {{ now.sales_month | within }}.
  {% if running %}{{ running.sales_month | period }} still runs.{% endif %}
columns:
  Month: sales_month | period
  each series: value | money
chart:
  kind: timeline
  series: {by: category, value: net_sales, top: 6, rest: All others}
  axis: money
  stacked: true
  leads_to: {question: orders_placed}
*/
with months as (
    select
        sales_month,
        {{ category() }} as category,
        sum(net_sales_so_far) as net_sales
    from {{ ref('rpt_sales_by_category_country_and_month') }}
    where currency = {{ currency }}
    group by sales_month, {{ category() }}
)

select
    months.sales_month,
    months.category,
    months.net_sales,
    earlier.net_sales as before,
    sum(months.net_sales) over (partition by months.sales_month) as of_month,
    row_number() over (
        partition by months.sales_month order by months.net_sales desc, months.category asc
    ) as place
from months
left join months as earlier
    on months.category = earlier.category and months.sales_month = earlier.sales_month + interval '1' month
order by months.sales_month, months.category
