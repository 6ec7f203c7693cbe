-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'bids') }}
)

select
    bid_id,
    lot_id,
    bidder_id,
    amount,
    currency,
    kind,
    status,
    placed_at,
    closed_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
