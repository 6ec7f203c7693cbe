/*
subtitle: What does a million changes cost, and is that rising?
title: Cost of a million changes
source: rpt_cost_by_day
shown_if: rows.changes.sum()
number: rows.cost_usd.sum() | money('USD', 4)
label: estimated at list prices so far
summary: >-
  A million changes cost {{ (rows.cost_usd.sum() * 1000000 / rows.changes.sum()) | money('USD', 2) }}.
columns:
  Day: day | period('day')
  Changes: changes | number
  Cost: cost_usd | money('USD', 4)
  A million: usd_per_million | money('USD', 2)
  Of 7 days: usd_per_million_of_7_days | money('USD', 2)
chart: {kind: table}
*/
select *
from {{ ref('rpt_cost_by_day') }}
order by day
