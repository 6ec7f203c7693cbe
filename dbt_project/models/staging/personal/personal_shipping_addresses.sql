-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'shipping_addresses') }}
)

select
    address_id,
    recipient,
    street,
    postal_code
from source
where not coalesce(_deleted, false)
