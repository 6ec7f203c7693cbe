-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'shipments') }}
)

select
    shipment_id,
    order_id,
    address_id,
    carrier,
    tracking_number,
    currency,
    cost,
    status,
    created_at,
    promised_at,
    shipped_at,
    delivered_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
