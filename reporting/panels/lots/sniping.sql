/*
subtitle: How many bids come in the last minutes, and are reserves met?
title: Sniping, and reserves met
source: rpt_bidding_by_category_and_month
periods: {column: closing_month, grain: month, news: bids}
shown_if: drawn | length > 1
number: now.sniping_share | percent
label: of bids came in the last minutes {{ now.closing_month | within }}
summary: >-
  {% if now.reserve_met_share is none %}
  No lot that closed {{ now.closing_month | within }} had a reserve.
  {% else %}
  {{ now.reserve_met_share | percent }} of the lots with a reserve reached it.
  {% endif %}
columns:
  Closing month: closing_month | period
  Sniping: sniping_share | percent
  Reserve met: reserve_met_share | percent
chart:
  kind: timeline
  lines: {Sniping: sniping_share, Reserve met: reserve_met_share}
  colours: [brass, navy]
  axis: share
*/
select
    closing_month,
    cast(sum(bids) as bigint) as bids,
    cast(sum(snipes) as double) / nullif(sum(bids), 0) as sniping_share,
    cast(sum(lots_reserve_met) as double) / nullif(sum(lots_with_reserve), 0) as reserve_met_share
from {{ ref('rpt_bidding_by_category_and_month') }}
where currency = {{ currency }}
group by closing_month
order by closing_month
