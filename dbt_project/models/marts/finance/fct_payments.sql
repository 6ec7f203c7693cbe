{{ config(
    materialized='incremental',
    unique_key='payment_id',
    partitioned_by=['month(created_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed(ref('stg_payments__keys'), 'payment_id') }}"
) }}

with

{{ changed_keys(
    'payment_id',
    [(ref('stg_payments__keys'), '_batch')],
    also=[
        keys_of_parent('payment_id', ref('stg_payments__keys'), ref('stg_orders__keys'), 'order_id', '_orders_batch'),
        days_grown_into('payment_id', 'created_on', 'created_day_key')
    ]
) }}

payments as (
    select *
    from {{ ref('stg_payments') }}
    where {{ is_changed('payment_id') }}
)

select
    payments.payment_id,
    payments.order_id,
    payments.invoice_id,
    orders.buyer_id,
    payments.kind,
    payments.method,
    payments.currency,
    cast(payments.amount as decimal(24, 2)) as amount,
    cast(case when payments.kind = 'refund' then -payments.amount else payments.amount end as decimal(24, 2))
        as signed_amount,
    cast(coalesce(payments.processing_fee, 0) as decimal(24, 2)) as processing_fee,
    payments.status,
    payments.status = 'settled' as is_settled,
    payments.created_at,
    cast(payments.created_at as date) as created_on,
    {{ day_key('payments.created_at') }} as created_day_key,
    payments._changed_at,
    payments._batch,
    orders._batch as _orders_batch
from payments
left join {{ ref('stg_orders') }} as orders on payments.order_id = orders.order_id
