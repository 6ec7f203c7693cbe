-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
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
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'estimates_changes') }}
