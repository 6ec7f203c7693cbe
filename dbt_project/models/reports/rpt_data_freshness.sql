with

watermarks as (
    select * from {{ ref('stg_watermarks') }}
),

-- Reports know no clock: how far the pipeline has come is what the furthest table says.
clock as (
    select
        min(watermark) as data_time,
        max(watermark) as observed_at
    from watermarks
),

entities as (
    select
        entities.entity,
        entities.owner,
        watermarks.batch,
        watermarks.watermark,
        entities.newest_change,
        clock.observed_at,
        {{ seconds_between('watermarks.watermark', 'clock.observed_at') }} / 60 as lag_minutes,
        cast(entities.freshness_minutes as bigint) as promised_minutes,
        clock.data_time
    from {{ ref('stg_entities') }} as entities
    cross join clock
    left join watermarks on entities.entity = watermarks.entity
)

select
    entity,
    owner,
    batch,
    watermark,
    newest_change,
    observed_at,
    lag_minutes,
    promised_minutes,
    -- What was never published breaks its promise, too.
    coalesce(lag_minutes > promised_minutes, true) as is_late,
    data_time
from entities
