-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    country_code,
    name,
    region,
    currency,
    vat_rate,
    updated_at,
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'countries_changes') }}
