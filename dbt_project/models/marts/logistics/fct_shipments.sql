{{ config(
    materialized='incremental',
    unique_key='shipment_id',
    partitioned_by=['month(created_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed(ref('stg_shipments__keys'), 'shipment_id') }}"
) }}

with

{{ changed_keys(
    'shipment_id',
    [(ref('stg_shipments__keys'), '_batch')],
    also=[
        keys_of_parent('shipment_id', ref('stg_shipments__keys'), ref('stg_orders__keys'), 'order_id', '_orders_batch'),
        stale_keys(
            'shipment_id', 'dim_address', 'address_id', 'address_key', '_addresses_batch',
            refers='address_id', points='address_key', at='created_at'
        ),
        days_grown_into('shipment_id', 'created_on', 'created_day_key')
    ]
) }}

shipments as (
    select
        *,
        -- What came back or was lost is not delivered, whenever it was handed over.
        case
            when status in ('returned', 'lost') then false
            else coalesce(status = 'delivered' or delivered_at is not null, false)
        end as is_delivered
    from {{ ref('stg_shipments') }}
    where {{ is_changed('shipment_id') }}
)

select
    shipments.shipment_id,
    shipments.order_id,
    shipments.address_id,
    addresses.address_key,
    orders.buyer_id,
    shipments.carrier,
    shipments.currency,
    cast(coalesce(shipments.cost, 0) as decimal(24, 2)) as cost,
    shipments.status,
    shipments.created_at,
    cast(shipments.created_at as date) as created_on,
    {{ day_key('shipments.created_at') }} as created_day_key,
    orders.placed_at as ordered_at,
    shipments.promised_at,
    shipments.shipped_at,
    shipments.delivered_at,
    shipments.is_delivered,
    coalesce(shipments.is_delivered and shipments.delivered_at > shipments.promised_at, false) as is_late,
    shipments._changed_at,
    shipments._batch,
    orders._batch as _orders_batch,
    {{ newest_state(['addresses']) }} as _addresses_batch
from shipments
left join {{ ref('stg_orders') }} as orders on shipments.order_id = orders.order_id
left join {{ states_of('dim_address', 'address_id', 'address_key') }} as addresses
    on shipments.address_id = addresses.address_id and {{ was_valid('addresses', 'shipments.created_at') }}
