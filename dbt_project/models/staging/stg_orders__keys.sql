-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    order_id,
    buyer_id,
    seller_id,
    lot_id,
    address_id,
    coalesce(_deleted, false) as _deleted,
    _batch
from {{ source('catalog', 'orders') }}
