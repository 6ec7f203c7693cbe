/*
subtitle: In which categories is bidding liveliest?
title: Bidding by category
source: rpt_bidding_by_category_and_month
define:
  closed: rows.bids.sum()
number: (closed / rows.lots.sum()) | number(1)
label: bids per lot that closed, in all categories
summary: >-
  Liveliest in {{ first.category }}: {{ first.bids_per_lot | number(1) }} bids per lot in
  {{ first.lots | count('lot') }}.
  {% if closed != first.bids_of_all %}
  {{ closed | number }} of {{ first.bids_of_all | count('bid') }} {{ closed | is_or_are(first.bids_of_all) }} on lots
  that closed.
  {% endif %}
columns:
  Category: category
  Lots closed: lots | number
  Bids per lot: bids_per_lot | number(1)
  Sniping: sniping_share | percent
  Reserve met: reserve_met_share | percent
chart: {kind: table, share: bids_per_lot}
*/
select
    {{ category() }} as category,
    cast(sum(lots) as bigint) as lots,
    cast(sum(bids) as bigint) as bids,
    cast(sum(bids) as double) / sum(lots) as bids_per_lot,
    cast(sum(snipes) as double) / nullif(sum(bids), 0) as sniping_share,
    cast(sum(lots_reserve_met) as double) / nullif(sum(lots_with_reserve), 0) as reserve_met_share,
    (select count(*) from {{ ref('fct_bids') }} where is_accepted and currency = {{ currency }}) as bids_of_all
from {{ ref('rpt_bidding_by_category_and_month') }}
where currency = {{ currency }}
group by {{ category() }}
order by bids_per_lot desc, category asc
