/*
subtitle: What do the runs of the pipeline do for each table?
title: Pipeline by table
source: rpt_pipeline_runs
define:
  aside: rows.quarantined.sum()
number: aside | number
label: "{{ aside | plural('row is', 'rows are') }} in quarantine"
summary: "{{ first.entity }} ingested most: {{ first.rows_read | count('row') }}."
columns:
  Table: entity
  Runs: runs | number
  Rows: rows_read | number
  Applied: applied | number
  Quarantined: quarantined | number
  Seconds: seconds | number(1)
  Cost: cost_usd | money('USD', 4)
spare: [Applied, Seconds]
chart: {kind: table, share: rows_read}
wide: true
*/
select
    entity,
    count(*) as runs,
    cast(sum(rows_read) as bigint) as rows_read,
    cast(sum(applied) as bigint) as applied,
    cast(sum(quarantined) as bigint) as quarantined,
    avg(seconds) as seconds,
    sum(cost_usd) as cost_usd
from {{ ref('rpt_pipeline_runs') }}
where entity is not null
group by entity
order by rows_read desc, entity asc
