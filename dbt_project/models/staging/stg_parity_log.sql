-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    parity_id,
    entity,
    kind,
    outcome,
    run_id,
    cast(begun_at as timestamp(6)) as begun_at,
    cast(ended_at as timestamp(6)) as ended_at,
    seconds,
    cast(compared_at as timestamp(6)) as compared_at,
    export_id,
    cast(watermark as timestamp(6)) as watermark,
    items,
    keys,
    rows_compared,
    aside,
    differences,
    differences_after,
    corrections,
    mended,
    details,
    capacity_units
from {{ source('catalog', 'parity_log') }}
