/*
subtitle: Which share of the offered lots is sold?
title: Sell-through by category
source: rpt_sell_through_by_category_and_grade
define:
  sold: rows.lots_sold.sum()
  offered: rows.lots_offered.sum()
number: (sold / offered) | percent
label: of the lots that were offered are sold
summary: >-
  {{ sold | number }} of {{ offered | count('lot') }}
  {%- if first.rate > last.rate %}; best {{ first.category }} with {{ first.rate | percent }},
  last {{ last.category }} with {{ last.rate | percent }}
  {%- elif rows | length > 1 %}, in every category the same{% endif %}.
columns:
  Category: category
  Open: lots_open | number
  Offered: lots_offered | number
  Sold: lots_sold | number
  Sell-through: rate | percent
  Hammer price: hammer_price | money
chart:
  kind: ranking
  name: category
  bars: {Sell-through: rate}
  axis: share
  top: 100
  row_height: 30
*/
select
    {{ category() }} as category,
    cast(sum(lots_open) as bigint) as lots_open,
    cast(sum(lots_offered) as bigint) as lots_offered,
    cast(sum(lots_sold) as bigint) as lots_sold,
    cast(sum(lots_sold) as double) / sum(lots_offered) as rate,
    sum(hammer_price) as hammer_price
from {{ ref('rpt_sell_through_by_category_and_grade') }}
where currency = {{ currency }}
group by {{ category() }}
having sum(lots_offered) > 0
order by rate desc, lots_offered desc, category asc
