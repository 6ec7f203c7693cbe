with

targets as (
    select
        'table' as kind,
        entity as name,
        owner,
        freshness_minutes as target_minutes
    from {{ ref('stg_entities') }}
    union all
    select
        'model' as kind,
        name,
        owner,
        target_minutes
    from ({{ accepted_lags() }}) as consumers
),

publications as (
    select
        case when model is null then 'table' else 'model' end as kind,
        coalesce(model, entity) as name,
        coalesce(published_at, ended_at) as seen_at,
        watermark,
        model is null and coalesce(rows_read, 0) > 0 as is_news
    from {{ ref('stg_publication_log') }}
),

-- Reports know no clock: the last that readers were shown says how far time has come.
clock as (
    select max(seen_at) as observed_at
    from publications
),

followed as (
    select
        *,
        lead(seen_at) over (partition by kind, name order by seen_at, watermark) as next_seen_at,
        min(case when is_news then seen_at end)
            over (order by seen_at rows between 1 following and unbounded following) as next_news_at
    from publications
),

-- Seconds before the end of what was observed, at most 30 days. A model is behind only once there is news that it may
-- not have: without any, it is as true as the tables.
spans as (
    select
        followed.kind,
        followed.name,
        followed.watermark,
        followed.next_seen_at is null as is_last,
        least(
            {{ seconds_between('followed.seen_at', 'clock.observed_at') }},
            cast({{ var('freshness_days') * 86400 }} as double)
        ) as begins,
        coalesce({{ seconds_between('followed.next_seen_at', 'clock.observed_at') }}, 0) as ends,
        {{ seconds_between('followed.watermark', 'clock.observed_at') }} as behind,
        case
            when followed.kind = 'table' then cast({{ var('freshness_days') * 86400 }} as double)
            else coalesce({{ seconds_between('followed.next_news_at', 'clock.observed_at') }}, 0)
        end as news
    from followed
    cross join clock
),

lateness as (
    select
        spans.kind,
        spans.name,
        targets.owner,
        targets.target_minutes,
        spans.watermark,
        spans.is_last,
        greatest(spans.begins - spans.ends, 0) as seconds,
        -- What was never true for any time is late from the beginning.
        greatest(
            least(spans.begins, spans.news, coalesce(spans.behind - targets.target_minutes * 60, spans.begins))
            - spans.ends,
            0
        ) as late_seconds
    from spans
    inner join targets on spans.kind = targets.kind and spans.name = targets.name
),

sums as (
    select
        kind,
        name,
        owner,
        target_minutes,
        max(case when is_last then watermark end) as watermark,
        sum(seconds) / 60 as observed_minutes,
        sum(late_seconds) / 60 as late_minutes
    from lateness
    group by kind, name, owner, target_minutes
)

select
    kind,
    name,
    owner,
    cast(target_minutes as bigint) as target_minutes,
    watermark,
    observed_minutes,
    late_minutes,
    1 - late_minutes / nullif(observed_minutes, 0) as share_in_time,
    cast({{ var('freshness_objective') }} as double) as objective,
    late_minutes / nullif(observed_minutes * (1 - cast({{ var('freshness_objective') }} as double)), 0) as budget_burned,
    (select min(watermark) from {{ ref('stg_watermarks') }}) as data_time
from sums
