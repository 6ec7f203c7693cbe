-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    request_id,
    lot_id,
    seller_id,
    coalesce(_deleted, false) as _deleted,
    _batch
from {{ source('catalog', 'virtual_requests') }}
