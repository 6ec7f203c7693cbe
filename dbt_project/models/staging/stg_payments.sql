-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'payments') }}
)

select
    payment_id,
    order_id,
    invoice_id,
    kind,
    method,
    currency,
    amount,
    processing_fee,
    status,
    created_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
