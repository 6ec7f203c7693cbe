/*
subtitle: Do lots sell below, within or above their valuation?
title: Price against valuation
source: rpt_sell_through_by_category_and_grade
define:
  compared: rows.lots_compared.sum()
number: (rows.price.sum() / rows.valuation.sum() if rows.valuation.sum() else none) | percent
label: of the middle of their valuation, all sold lots together
summary: >-
  Of {{ compared | count('lot') }} with a valuation, {{ (rows.lots_above.sum() / compared) | percent }} sold above it
  and {{ (rows.lots_below.sum() / compared) | percent }} below it.
columns:
  Category: category
  Grade: grade
  Lots: lots_compared | number
  Below: lots_below | number
  Above: lots_above | number
  Price to valuation: (price / valuation if valuation else none) | percent
chart:
  kind: ranking
  name: category
  bars: {Below: below, Within: within, Above: above}
  colours: [red, pale, navy]
  axis: share
  stacked: true
  top: 100
  row_height: 30
*/
with grades as (
    select
        {{ category() }} as category,
        grade,
        cast(sum(lots_compared) as bigint) as lots_compared,
        cast(sum(lots_below_valuation) as bigint) as lots_below,
        cast(sum(lots_above_valuation) as bigint) as lots_above,
        cast(sum(compared_hammer_price) as double) as price,
        cast(sum(compared_valuation_low + compared_valuation_high) as double) / 2 as valuation
    from {{ ref('rpt_sell_through_by_category_and_grade') }}
    where currency = {{ currency }} and lots_compared > 0
    group by {{ category() }}, grade
)

select
    *,
    cast(sum(lots_below) over of_category as double) / sum(lots_compared) over of_category as below,
    1 - cast(sum(lots_below + lots_above) over of_category as double) / sum(lots_compared) over of_category as within,
    cast(sum(lots_above) over of_category as double) / sum(lots_compared) over of_category as above
from grades
window of_category as (partition by category)
order by above desc, category asc, grade asc
