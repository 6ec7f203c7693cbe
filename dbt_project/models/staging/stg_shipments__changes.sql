-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    shipment_id,
    order_id,
    address_id,
    carrier,
    tracking_number,
    currency,
    cost,
    status,
    created_at,
    promised_at,
    shipped_at,
    delivered_at,
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'shipments_changes') }}
