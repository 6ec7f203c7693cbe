/*
subtitle: How much does the pipeline ingest?
title: Rows ingested by {{ grain }}
source: rpt_pipeline_runs
periods:
  column: period
  grain: fitting
  news: rows_read
  span: [first_end, last_end]
  fill: [runs, rows_read, cost_usd]
number: now.rows_read | number
label: "{{ now.rows_read | plural('row') }} ingested {{ now.period | within }}"
summary: >-
  {{ drawn.runs.sum() | count('publication') }} of tables so far, at an estimated
  {{ drawn.cost_usd.sum() | money('USD', 4) }}.
columns:
  "{{ grain | capital }}": period | period
  Publications: runs | number
  Rows: rows_read | number
  Cost: cost_usd | money('USD', 4)
chart: {kind: timeline, bars: {Rows: rows_read}, axis: count}
*/
select
    date_trunc({{ grain }}, ended_at) as period,
    min(ended_at) as first_end,
    max(ended_at) as last_end,
    count(*) as runs,
    cast(sum(rows_read) as bigint) as rows_read,
    sum(cost_usd) as cost_usd
from {{ ref('rpt_pipeline_runs') }}
where entity is not null
group by 1
order by 1
