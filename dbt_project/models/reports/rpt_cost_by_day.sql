with

days as (
    select
        cast(date_trunc('day', ended_at) as date) as day,
        sum(rows_read) as changes,
        sum(case when entity is null then 0 else 1 end) as publications,
        sum(case when kind = 'maintenance' then cost_usd else 0 end) as maintenance_usd,
        sum(case when kind = 'build' then cost_usd else 0 end) as marts_usd,
        sum(case when kind in ('maintenance', 'build') then 0 else cost_usd end) as tables_usd,
        sum(requests_usd) as requests_usd,
        sum(compute_usd) as compute_usd,
        sum(billed_usd) as billed_usd,
        sum(cost_usd) as cost_usd,
        max(data_time) as data_time
    from {{ ref('rpt_pipeline_runs') }}
    group by 1
),

weeks as (
    select
        *,
        sum(changes) over (order by day rows between 6 preceding and current row) as week_changes,
        sum(cost_usd) over (order by day rows between 6 preceding and current row) as week_usd
    from days
)

select
    day,
    cast(publications as bigint) as publications,
    cast(changes as bigint) as changes,
    cast(tables_usd as decimal(18, 6)) as tables_usd,
    cast(marts_usd as decimal(18, 6)) as marts_usd,
    cast(maintenance_usd as decimal(18, 6)) as maintenance_usd,
    cast(requests_usd as decimal(18, 6)) as requests_usd,
    cast(compute_usd as decimal(18, 6)) as compute_usd,
    cast(billed_usd as decimal(18, 6)) as billed_usd,
    cast(cost_usd as decimal(18, 6)) as cost_usd,
    -- Of nothing that came, no cost per change is known.
    cast(cost_usd as double) * 1000000 / nullif(cast(changes as double), 0) as usd_per_million,
    cast(week_usd as double) * 1000000 / nullif(cast(week_changes as double), 0) as usd_per_million_of_7_days,
    data_time
from weeks
