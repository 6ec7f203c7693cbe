/*
source: rpt_bidding_by_category_and_month
figures:
  - label: Bids
    value: now.bids | number
    note: >-
      {{ now.bidders | count('bidder') }} on {{ now.lots | count('lot') }}
      {{- ', ' ~ (now.bids / now.lots) | number(1) ~ ' per lot' if now.lots }}
*/
select
    count(*) as bids,
    count(distinct bidder_id) as bidders,
    count(distinct lot_id) as lots,
    min(placed_at) as first_at,
    max(placed_at) as last_at
from {{ ref('fct_bids') }}
where is_accepted and currency = {{ currency }}
