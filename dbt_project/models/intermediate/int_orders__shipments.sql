with

orders as (
    select *
    from {{ ref('stg_orders') }}
    where {{ is_changed('order_id', of='fct_orders') }}
)

-- An order is delivered when the last of its parcels is; one that got lost or came back is not waited for.
select
    orders.order_id,
    max(shipments._batch) as shipments_batch,
    sum(case when shipments.currency = orders.currency then shipments.cost end) as shipping_cost,
    min(shipments.shipped_at) as shipped_at,
    max(shipments.promised_at) as promised_at,
    case
        when sum(
            case when shipments.delivered_at is null and shipments.status not in ('lost', 'returned') then 1 else 0 end
        ) = 0
            then max(shipments.delivered_at)
    end as delivered_at
from orders
inner join {{ ref('stg_shipments') }} as shipments on orders.order_id = shipments.order_id
group by orders.order_id
