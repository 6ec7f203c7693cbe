/*
subtitle: How lively is bidding, and is it more than before?
title: Bids by {{ grain }}
source: rpt_bidding_by_category_and_month
periods:
  column: period
  grain: fitting
  news: bids
  later: is_later
  fill: [bids, bidders, same_part]
define:
  best: highest('bids')
number: now.bids | number
label: "{{ now.bids | plural('bid') }} {{ now.period | within }}"
change: {of: bids}
summary: >-
  Bidding was liveliest {{ best.period | within }}{{ best.among }}: {{ best.bids | count('bid') }} by
  {{ best.bidders | count('bidder') }}.{{ so_far('bids', 'number') }}
columns:
  "{{ grain | capital }}": period | period
  Bids: bids | number
  Bidders: bidders | number
chart: {kind: timeline, bars: {Bids: bids}, axis: count}
wide: true
*/
select
    date_trunc({{ grain }}, placed_at) as period,
    placed_at > {{ until }} as is_later,
    count(*) as bids,
    count(distinct bidder_id) as bidders,
    count(*) filter (
        where placed_at - date_trunc({{ grain }}, placed_at) <= {{ until }} - date_trunc({{ grain }}, {{ until }})
    ) as same_part
from {{ ref('fct_bids') }}
where is_accepted and currency = {{ currency }}
group by 1, 2
order by 1, 2
