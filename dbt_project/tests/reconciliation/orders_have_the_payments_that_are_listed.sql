with

sums as (
    select
        order_id,
        captured_amount,
        refunded_amount,
        processing_fees
    from {{ ref('fct_orders') }}

    union all

    select
        payments.order_id,
        case when payments.kind = 'capture' then -payments.amount else 0 end as captured_amount,
        case when payments.kind = 'refund' then -payments.amount else 0 end as refunded_amount,
        -payments.processing_fee as processing_fees
    from {{ ref('fct_payments') }} as payments
    inner join {{ ref('fct_orders') }} as orders
        on payments.order_id = orders.order_id and payments.currency = orders.currency
    where payments.is_settled
)

select
    order_id,
    sum(captured_amount) as captured_too_much,
    sum(refunded_amount) as refunded_too_much,
    sum(processing_fees) as charged_too_much
from sums
group by order_id
having sum(captured_amount) <> 0 or sum(refunded_amount) <> 0 or sum(processing_fees) <> 0
