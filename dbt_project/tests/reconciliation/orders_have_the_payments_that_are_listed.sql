{#- An order is new to the test by its own commits and by those of its payments, which it has taken if it is among these. -#}
{%- set orders = to_test(ref('fct_orders'), {'_batch': 'orders', '_payments_batch': 'payments'}) -%}

with

payments as (
    select
        order_id,
        currency,
        sum(case when kind = 'capture' then amount else 0 end) as captured_amount,
        sum(case when kind = 'refund' then amount else 0 end) as refunded_amount,
        sum(processing_fee) as processing_fees
    from {{ ref('fct_payments') }}
    where is_settled and {{ have_news(['orders', 'payments']) }}
    group by order_id, currency
),

differences as (
    select
        orders.order_id,
        orders.captured_amount - coalesce(payments.captured_amount, 0) as captured_too_much,
        orders.refunded_amount - coalesce(payments.refunded_amount, 0) as refunded_too_much,
        orders.processing_fees - coalesce(payments.processing_fees, 0) as charged_too_much
    from {{ orders }} as orders
    left join payments on orders.order_id = payments.order_id and orders.currency = payments.currency
)

select *
from differences
where captured_too_much <> 0 or refunded_too_much <> 0 or charged_too_much <> 0
{%- if passed('payments') %}

union all

select
    payments.order_id,
    null as captured_too_much,
    null as refunded_too_much,
    null as charged_too_much
from {{ to_test(ref('fct_payments')) }} as payments
left join {{ orders }} as orders on payments.order_id = orders.order_id
where payments._orders_batch is not null and orders.order_id is null
{%- endif %}
