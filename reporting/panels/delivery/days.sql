/*
subtitle: How long until the lot is there?
title: From order to delivery
source: rpt_order_to_delivery_by_month_and_carrier
periods: {column: order_month, grain: month, news: median_days, headline: place}
define:
  of_carrier: now.carrier ~ "'s " ~ now.shipments | plural('shipment') ~ ' of ' ~ now.order_month | period
shown_if: rows.median_days.any()
number: now.median_days | days
label: >-
  {% if now.delivered == now.shipments %}
  until {{ 'half of ' if now.shipments > 1 }}{{ of_carrier }} arrived
  {% else %}
  is the median of {{ of_carrier }} that arrived so far, {{ now.delivered }} of {{ now.shipments }}
  {% endif %}
change:
  of: median_days
  good: falling
  when: 10 * now.delivered >= 9 * now.shipments and 10 * before.delivered >= 9 * before.shipments
summary: >-
  {{ now.carrier }} carries most. Nine of ten of those that arrived took {{ now.percentile_90_days | days }} or less.
columns:
  Month: order_month | period
  Carrier: carrier
  Shipments: shipments | number
  Delivered: delivered | number
  Median days: median_days | number(1)
  90th percentile: percentile_90_days | number(1)
chart:
  kind: timeline
  series: {by: carrier, value: median_days, place: place, top: 5, mark: lines}
  colours: [navy, brass, blue, green, plum]
  axis: days
*/
with months as (
    select *, sum(shipments) over (partition by carrier) as of_carrier
    from {{ ref('rpt_order_to_delivery_by_month_and_carrier') }}
)

select *, dense_rank() over (order by of_carrier desc, carrier asc) as place
from months
order by order_month, carrier
