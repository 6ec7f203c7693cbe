{{ config(
    materialized='incremental',
    unique_key=['order_id', 'line_number'],
    partitioned_by=['month(placed_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed_members(ref('stg_order_lines__keys'), 'order_id', 'line_number') }}"
) }}

with

{{ changed_keys(
    'order_id',
    [(ref('stg_order_lines__keys'), '_batch'), (ref('stg_orders__keys'), '_orders_batch')],
    also=[
        stale_keys(
            'order_id', 'dim_lot', 'lot_id', 'lot_key', '_lots_batch',
            refers='lot_id', points='lot_key', at='placed_at'
        ),
        days_grown_into('order_id', 'placed_on', 'placed_day_key')
    ]
) }}

lines as (
    select *
    from {{ ref('stg_order_lines') }}
    where {{ is_changed('order_id') }}
)

-- A line may arrive before its order: it is there with what it says itself until then.
select
    lines.order_id,
    lines.line_number,
    lines.lot_id,
    lots.lot_key,
    orders.buyer_id,
    orders.seller_id,
    orders.currency,
    lines.placed_at,
    cast(lines.placed_at as date) as placed_on,
    {{ day_key('lines.placed_at') }} as placed_day_key,
    lines.quantity,
    cast(lines.hammer_price as decimal(24, 2)) as hammer_price,
    coalesce(orders.status <> 'cancelled', false) as is_sale,
    lines._changed_at,
    lines._batch,
    orders._batch as _orders_batch,
    {{ newest_state(['lots']) }} as _lots_batch
from lines
left join {{ ref('stg_orders') }} as orders on lines.order_id = orders.order_id
left join {{ states_of('dim_lot', 'lot_id', 'lot_key') }} as lots
    on lines.lot_id = lots.lot_id and {{ was_valid('lots', 'lines.placed_at') }}
