-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    payment_id,
    order_id,
    invoice_id,
    coalesce(_deleted, false) as _deleted,
    _batch
from {{ source('catalog', 'payments') }}
