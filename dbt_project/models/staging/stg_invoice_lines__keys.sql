-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    invoice_id,
    line_number,
    order_id,
    coalesce(_deleted, false) as _deleted,
    _batch
from {{ source('catalog', 'invoice_lines') }}
