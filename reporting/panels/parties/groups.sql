/*
subtitle: How many {{ role }}s are large, returning, new or lapsed, month by month?
title: "{{ role | capital }}s by group"
source: rpt_party_group_trends
variants:
  - {role: buyer, verb: bought}
  - {role: seller, verb: sold}
periods:
  column: report_month
  grain: month
  fill: [active, large_parties, returning_parties, new_parties, lapsed_parties, sales, net_sales, large_net_sales]
number: now.active | number
label: >-
  {{ now.active | plural(role) }} who {{ verb }} in
  {{ '' if first.window_months == 1 else 'the ' ~ first.window_months | count('month') ~ ' to ' -}}
  {{ now.report_month | period }}
change: {of: active}
summary: >-
  Of all {{ role }}s so far, {{ now.large_parties | number }} large, {{ now.returning_parties | number }} returning,
  {{ now.new_parties | number }} new and {{ now.lapsed_parties | number }} lapsed.
  {% if now.net_sales and now.large_net_sales %}
  Large ones brought {{ (now.large_net_sales / now.net_sales) | percent }} of net sales.
  {% endif %}
columns:
  Month: report_month | period
  Large: large_parties | number
  Returning: returning_parties | number
  New: new_parties | number
  Lapsed: lapsed_parties | number
  Sales: sales | number
  Net sales: net_sales | money
chart:
  kind: timeline
  bars: {Large: large_parties, Returning: returning_parties, New: new_parties, Lapsed: lapsed_parties}
  colours: [navy, blue, brass, pale]
  axis: count
  stacked: true
*/
select
    report_month,
    min(window_months) as window_months,
    {% for group in ['large', 'returning', 'new', 'lapsed'] %}
    coalesce(cast(sum(parties) filter (where party_group = {{ group }}) as bigint), 0) as {{ column(group ~ '_parties') }},
    {% endfor %}
    coalesce(cast(sum(parties) filter (where party_group <> 'lapsed') as bigint), 0) as active,
    cast(sum(sales) as bigint) as sales,
    sum(net_sales) as net_sales,
    coalesce(sum(net_sales) filter (where party_group = 'large'), 0) as large_net_sales
from {{ ref('rpt_party_group_trends') }}
where currency = {{ currency }} and role = {{ role }}
group by report_month
order by report_month
