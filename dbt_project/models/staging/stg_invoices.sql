-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'invoices') }}
)

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
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
