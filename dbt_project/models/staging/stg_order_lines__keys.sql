-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    order_id,
    line_number,
    lot_id,
    coalesce(_deleted, false) as _deleted,
    _batch
from {{ source('catalog', 'order_lines') }}
