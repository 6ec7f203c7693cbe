{{ config(
    materialized='incremental',
    unique_key=['order_id', 'fee_number'],
    partitioned_by=['month(placed_at)'] if target.type == 'athena' else none,
    pre_hook="{{ remember_seen() }}",
    post_hook="{{ delete_outdated_members(ref('stg_orders__keys'), 'order_id', 'fee_number') }}"
) }}

with

{{ changed_keys(
    'order_id',
    [(ref('stg_orders__keys'), '_batch')],
    also=[days_grown_into('order_id', 'placed_on', 'placed_day_key')]
) }}

orders as (
    select *
    from {{ ref('stg_orders') }}
    where {{ is_changed('order_id') }}
)

select
    orders.order_id,
    fee.fee_number,
    fee.kind,
    fee.payer,
    orders.currency,
    cast(fee.amount as decimal(24, 2)) as amount,
    orders.placed_at,
    cast(orders.placed_at as date) as placed_on,
    {{ day_key('orders.placed_at') }} as placed_day_key,
    orders.status <> 'cancelled' as is_sale,
    orders._changed_at,
    orders._batch
from orders
{{ unnest_records('orders.fees', 'fee', ['kind', 'payer', 'amount'], position='fee_number') }}
