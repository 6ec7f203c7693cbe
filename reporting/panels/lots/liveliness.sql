/*
subtitle: How many bids does a lot get?
title: Bids per lot
source: rpt_bidding_by_category_and_month
periods: {column: closing_month, grain: month, news: bids}
define:
  best: highest('bids_per_lot')
shown_if: drawn | length > 1
number: now.bids_per_lot | number(1)
label: bids per lot that closed {{ now.closing_month | within }}
change: {of: bids_per_lot}
summary: Most were {{ best.bids_per_lot | number(1) }} {{ best.closing_month | within }}{{ best.among }}.
columns:
  Closing month: closing_month | period
  Lots: lots | number
  Bids: bids | number
  Per lot: bids_per_lot | number(1)
chart: {kind: timeline, lines: {Bids per lot: bids_per_lot}}
*/
select
    closing_month,
    cast(sum(lots) as bigint) as lots,
    cast(sum(bids) as bigint) as bids,
    cast(sum(bids) as double) / sum(lots) as bids_per_lot
from {{ ref('rpt_bidding_by_category_and_month') }}
where currency = {{ currency }}
group by closing_month
order by closing_month
