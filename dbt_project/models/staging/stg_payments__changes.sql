-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    payment_id,
    order_id,
    invoice_id,
    kind,
    method,
    currency,
    amount,
    processing_fee,
    status,
    created_at,
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'payments_changes') }}
