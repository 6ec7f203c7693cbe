-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'shipping_addresses') }}
)

select
    address_id,
    customer_id,
    {{ masked('recipient') }} as recipient,
    {{ masked('street') }} as street,
    city,
    {{ masked('postal_code') }} as postal_code,
    region,
    country_code,
    status,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
