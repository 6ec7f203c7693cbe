/*
subtitle: Was everything as fresh as promised over the last 30 days?
title: Freshness over 30 days
source: rpt_freshness_budget
define:
  known: rows[rows.budget_burned.notna()]
  broken: rows[rows.budget_burned > 1]
  kept: rows | length - broken | length
  worst: rows | top('budget_burned')
shown_if: known | length
number: kept ~ ' of ' ~ rows | length
label: kept their error budget
summary: >-
  {% if broken | length %}Broken: {{ broken.name | join(', ') }}.{% endif %}
  {{ worst.name }} burned most of its budget: {{ worst.budget_burned | number(2) }} times what is allowed.
columns:
  What: name
  Owner: owner
  Target: target_minutes | number ~ ' min'
  Within it: "'not observed' if share_in_time is none else (share_in_time * 100) | number(2) ~ ' %'"
  Late: late_minutes | number(1) ~ ' min'
  Budget burned: budget_burned | percent
spare: [Owner, Target]
chart: {kind: table}
wide: true
*/
select *
from {{ ref('rpt_freshness_budget') }}
order by budget_burned desc, kind asc, name asc
