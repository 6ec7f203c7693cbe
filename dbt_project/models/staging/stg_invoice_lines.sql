-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'invoice_lines') }}
)

select
    invoice_id,
    line_number,
    order_id,
    kind,
    description,
    amount,
    tax_rate,
    issued_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
