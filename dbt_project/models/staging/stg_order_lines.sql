-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'order_lines') }}
)

select
    order_id,
    line_number,
    lot_id,
    description,
    quantity,
    hammer_price,
    placed_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
