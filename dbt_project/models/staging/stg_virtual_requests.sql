-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'virtual_requests') }}
)

select
    request_id,
    lot_id,
    seller_id,
    image_count,
    status,
    requested_at,
    delivered_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
