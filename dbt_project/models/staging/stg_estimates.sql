-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'estimates') }}
)

select
    estimate_id,
    order_id,
    quote_number,
    quote_version,
    currency,
    amount,
    status,
    created_at,
    valid_until,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
