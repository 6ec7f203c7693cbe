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
        case
            when {{ seconds_between('followed.seen_at', 'clock.observed_at') }} > {{ var('freshness_days') * 86400 }}
                then cast({{ var('freshness_days') * 86400 }} as double)
            else {{ seconds_between('followed.seen_at', 'clock.observed_at') }}
        end as begins,
        coalesce({{ seconds_between('followed.next_seen_at', 'clock.observed_at') }}, 0) as ends,
        {{ seconds_between('followed.watermark', 'clock.observed_at') }} as behind,
        case
            when followed.kind = 'table' then cast({{ var('freshness_days') * 86400 }} as double)
            else coalesce({{ seconds_between('followed.next_news_at', 'clock.observed_at') }}, 0)
        end as news
    from followed
    cross join clock
),

targeted as (
    select
        spans.*,
        targets.owner,
        targets.target_minutes,
        -- What was never true for any time is late from the beginning.
        coalesce(spans.behind - targets.target_minutes * 60, spans.begins) as missed
    from spans
    inner join targets on spans.kind = targets.kind and spans.name = targets.name
),

late as (
    select
        *,
        case
            when begins <= news and begins <= missed then begins
            when news <= missed then news
            else missed
        end as late_from
    from targeted
),

sums as (
    select
        kind,
        name,
        owner,
        target_minutes,
        max(case when is_last then watermark end) as watermark,
        cast(sum(case when begins > ends then begins - ends else 0 end) as double) / 60 as observed_minutes,
        cast(sum(case when late_from > ends then late_from - ends else 0 end) as double) / 60 as late_minutes
    from late
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
    1 - cast(late_minutes as double) / nullif(observed_minutes, 0) as share_in_time,
    cast({{ var('freshness_objective') }} as double) as objective,
    cast(late_minutes as double)
    / nullif(observed_minutes * (1 - cast({{ var('freshness_objective') }} as double)), 0) as budget_burned,
    (select min(watermark) from {{ ref('stg_watermarks') }}) as data_time
from sums
