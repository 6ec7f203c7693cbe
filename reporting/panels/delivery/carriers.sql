/*
subtitle: Which carriers are late?
title: Late deliveries by carrier
source: rpt_order_to_delivery_by_month_and_carrier
define:
  promised: rows.delivered_with_promise.sum()
  late: rows.delivered_late.sum()
  overdue: rows.overdue.sum()
  worst: rows | top('late_share')
number: (late / promised if promised else none) | percent
label: of the deliveries with a promised time came after it
summary: >-
  {% if late and worst %}{{ worst.carrier }} is late most: {{ worst.late_share | percent }}.{% endif %}
  {{ overdue | count('shipment') }} on the way {{ overdue | plural('is', 'are') }} overdue.
columns:
  Carrier: carrier
  Sent: shipments | number
  Late: late_share | percent
  Overdue: overdue | number
  Returned: returned | number
  Lost: lost | number
chart: {kind: table, share: shipments}
*/
select
    carrier,
    cast(sum(shipments) as bigint) as shipments,
    cast(sum(delivered_with_promise) as bigint) as delivered_with_promise,
    cast(sum(delivered_late) as bigint) as delivered_late,
    cast(sum(delivered_late) as double) / nullif(sum(delivered_with_promise), 0) as late_share,
    cast(sum(overdue) as bigint) as overdue,
    cast(sum(returned) as bigint) as returned,
    cast(sum(lost) as bigint) as lost
from {{ ref('rpt_order_to_delivery_by_month_and_carrier') }}
group by carrier
order by shipments desc, carrier asc
