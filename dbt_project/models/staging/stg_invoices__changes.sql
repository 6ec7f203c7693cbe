-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    invoice_id,
    order_id,
    party_id,
    role,
    currency,
    total_amount,
    tax_amount,
    status,
    issued_at,
    due_at,
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'invoices_changes') }}
