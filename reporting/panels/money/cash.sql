/*
subtitle: How long until the money is there?
title: From order to cash
source: rpt_order_to_cash_by_month
periods: {column: sales_month, grain: month, news: sales_paid}
define:
  month: now.sales_month | within
shown_if: rows.sales_paid.any()
number: now.median_days | days
label: >-
  {% if now.sales_paid == now.sales %}
  until {{ now.sales | plural('the one sale', 'half of the sales') }} {{ month }}
  {{ now.sales | plural('was', 'were') }} paid
  {% else %}
  is the median of the sales {{ month }} that are paid so far, {{ now.sales_paid }} of {{ now.sales }}
  {%- if now.sales_paid_undated %}, and {{ now.sales_paid_undated }} more on days that are not known{% endif %}
  {% endif %}
change:
  of: median_days
  good: falling
  when: 10 * now.sales_paid >= 9 * now.sales and 10 * before.sales_paid >= 9 * before.sales
summary: >-
  Nine of ten of those paid took {{ now.percentile_90_days | days }} or less.
  {% if now.late_share is not none %}{{ now.late_share | percent }} were late.{% endif %}
  {{ rows.sales_open.sum() | count('sale') }} of all months open now.
columns:
  Month: sales_month | period
  Sales: sales | number
  Paid: sales_paid | number
  Open: sales_open | number
  Late: late_share | percent
  Median days: median_days | number(1)
  90th percentile: percentile_90_days | number(1)
chart:
  kind: timeline
  lines: {Nine of ten: percentile_90_days, Median: median_days}
  colours: [brass, navy]
  axis: days
*/
select *
from {{ ref('rpt_order_to_cash_by_month') }}
where currency = {{ currency }} and sales > 0
order by sales_month
