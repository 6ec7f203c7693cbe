/*
subtitle: Does each quarter sell more than the same quarter a year before?
title: Quarters against the year before
source: rpt_sales_growth_by_quarter
periods:
  column: sales_quarter
  grain: quarter
  news: net_sales
  complete: is_complete
  fill: [net_sales, year_before]
define:
  best: drawn | top('net_sales')
shown_if: rows.year_before.any()
number: now.net_sales | money
label: net sales {{ now.sales_quarter | within }}
change: {of: net_sales, against: year_before, than: the year before}
summary: >-
  {% if running %}
  {{ running.sales_quarter | period }} so far: {{ running.net_sales | money }}
  {{- running.net_sales | against(running.year_before, 'the same part of that quarter a year before') }}.
  {% else %}
  Net sales were highest {{ best.sales_quarter | within }}: {{ best.net_sales | money }}.
  {% endif %}
columns:
  Quarter: sales_quarter | period
  Net sales: net_sales | money
  Year before: year_before | money
  Growth: net_sales | growth(year_before)
chart:
  kind: timeline
  bars: {Year before: year_before, Net sales: net_sales}
  colours: [pale, navy]
  axis: money
  leads_to: {question: orders_placed, without: [Year before]}
wide: true
*/
select
    sales_quarter,
    is_complete,
    sum(net_sales) as net_sales,
    sum(net_sales_year_before) as year_before
from {{ ref('rpt_sales_growth_by_quarter') }}
where currency = {{ currency }}
group by sales_quarter, is_complete
order by sales_quarter
