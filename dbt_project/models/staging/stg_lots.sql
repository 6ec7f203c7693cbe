-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'lots') }}
)

select
    lot_id,
    seller_id,
    title,
    category,
    grade,
    currency,
    starting_price,
    reserve_price,
    valuation_low,
    valuation_high,
    handling_cost,
    status,
    attributes,
    listed_at,
    starts_at,
    ends_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
