with

orders as (
    select *
    from {{ ref('stg_orders') }}
    where {{ is_changed('order_id', of='fct_orders') }}
),

fees as (
    select
        orders.order_id,
        sum(case when fee.payer = 'buyer' then fee.amount else 0 end) as buyer_fees,
        sum(case when fee.payer = 'seller' then fee.amount else 0 end) as seller_fees
    from orders
    {{ unnest_records('orders.fees', 'fee', ['kind', 'payer', 'amount']) }}
    group by orders.order_id
),

owed as (
    select
        orders.order_id,
        orders.currency,
        orders.hammer_price + coalesce(orders.buyers_premium, 0) + coalesce(fees.buyer_fees, 0) as owed_amount
    from orders
    left join fees on orders.order_id = fees.order_id
),

-- Money counts once it is settled, and only in the currency of its order: sums of two currencies mean nothing.
counted_payments as (
    select
        owed.order_id,
        owed.owed_amount,
        payments.created_at,
        payments.currency <> owed.currency as is_in_other_currency,
        case
            when payments.kind = 'capture' and payments.status = 'settled' and payments.currency = owed.currency
                then payments.amount
        end as captured_amount,
        case
            when payments.kind = 'refund' and payments.status = 'settled' and payments.currency = owed.currency
                then payments.amount
        end as refunded_amount,
        case
            when payments.status = 'settled' and payments.currency = owed.currency
                then payments.processing_fee
        end as processing_fee,
        payments.payment_id,
        payments._batch
    from owed
    inner join {{ ref('stg_payments') }} as payments on owed.order_id = payments.order_id
),

running_payments as (
    select
        *,
        sum(captured_amount) over (
            partition by order_id
            order by created_at, payment_id
            rows between unbounded preceding and current row
        ) as captured_so_far
    from counted_payments
),

payments as (
    select
        order_id,
        max(_batch) as payments_batch,
        sum(case when is_in_other_currency then 1 else 0 end) as payments_in_other_currency,
        sum(captured_amount) as captured_amount,
        sum(refunded_amount) as refunded_amount,
        sum(processing_fee) as processing_fees,
        min(case when captured_so_far >= owed_amount then created_at end) as paid_at
    from running_payments
    group by order_id
)

select
    orders.order_id,
    fees.buyer_fees,
    fees.seller_fees,
    payments.payments_batch,
    payments.payments_in_other_currency,
    payments.captured_amount,
    payments.refunded_amount,
    payments.processing_fees,
    payments.paid_at
from orders
left join fees on orders.order_id = fees.order_id
left join payments on orders.order_id = payments.order_id
