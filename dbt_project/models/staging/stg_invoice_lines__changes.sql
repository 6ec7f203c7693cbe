-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    invoice_id,
    line_number,
    order_id,
    kind,
    description,
    amount,
    tax_rate,
    issued_at,
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'invoice_lines_changes') }}
