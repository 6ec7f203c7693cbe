with

-- A crash can leave the same publication twice; one that was written later does not know when it was published.
tellings as (
    select
        *,
        row_number() over (
            partition by publication_id
            order by case when published_at is null then 1 else 0 end, ended_at
        ) as telling
    from {{ ref('stg_publication_log') }}
    where kind <> 'look'
),

prices as (
    select
        max(case when item = 's3_put' then usd_each end) as s3_put,
        max(case when item = 's3_get' then usd_each end) as s3_get,
        max(case when item = 'glue_request' then usd_each end) as glue_request
    from {{ ref('stg_prices') }}
),

runs as (
    select
        tellings.*,
        cast(cast(seconds as double) * {{ var('usd_per_compute_hour') }} / 3600 as decimal(18, 6)) as compute_usd,
        cast(
            coalesce(put_requests, 0) * prices.s3_put
            + coalesce(get_requests, 0) * prices.s3_get
            + coalesce(glue_requests, 0) * prices.glue_request
            as decimal(18, 6)
        ) as requests_usd
    from tellings
    cross join prices
    where telling = 1
)

select
    runs.publication_id,
    runs.entity,
    entities.owner,
    runs.kind,
    runs.engine,
    runs.run_id,
    runs.batch_id,
    runs.batch,
    runs.commits,
    runs.begun_at,
    runs.ended_at,
    runs.published_at,
    cast(runs.seconds as decimal(18, 3)) as seconds,
    runs.objects,
    runs.bytes_read,
    runs.rows_read,
    runs.applied,
    runs.superseded,
    runs.duplicate,
    runs.quarantined,
    runs.too_late,
    runs.objects_quarantined,
    runs.objects_held,
    runs.files_written,
    runs.bytes_written,
    runs.rows_after,
    runs.changes_after,
    runs.files_after,
    runs.bytes_after,
    runs.watermark,
    runs.queries,
    runs.bytes_scanned,
    runs.billed_usd,
    runs.compute_usd,
    cast(runs.billed_usd + runs.compute_usd + runs.requests_usd as decimal(18, 6)) as cost_usd,
    (select min(watermark) from {{ ref('stg_watermarks') }}) as data_time,
    runs.put_requests,
    runs.get_requests,
    runs.glue_requests,
    runs.bytes_sent,
    runs.bytes_fetched,
    runs.requests_usd,
    runs.model
from runs
left join {{ ref('stg_entities') }} as entities on runs.entity = entities.entity
