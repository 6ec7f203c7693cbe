-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
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
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'shipping_addresses_changes') }}
