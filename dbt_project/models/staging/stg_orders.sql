-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'orders') }}
)

select
    order_id,
    buyer_id,
    seller_id,
    lot_id,
    address_id,
    currency,
    hammer_price,
    buyers_premium,
    sellers_commission,
    fees,
    status,
    quote_number,
    quote_version,
    placed_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
