{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='order_id',
    partitioned_by=['month(placed_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed('orders', 'order_id') }}"
) }}

with

{{ changed_keys('order_id', {
    'orders': '_batch', 'payments': '_payments_batch', 'shipments': '_shipments_batch'
}) }}

orders as (
    select *
    from {{ ref('stg_orders') }}
    where {{ is_changed('order_id') }}
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

-- Money counts once it is settled, and only in the currency of its order: sums of two currencies mean nothing.
payments as (
    select
        orders.order_id,
        max(payments._batch) as payments_batch,
        sum(case when payments.currency <> orders.currency then 1 else 0 end) as payments_in_other_currency,
        sum(
            case
                when payments.kind = 'capture' and payments.status = 'settled' and payments.currency = orders.currency
                    then payments.amount
            end
        ) as captured_amount,
        sum(
            case
                when payments.kind = 'refund' and payments.status = 'settled' and payments.currency = orders.currency
                    then payments.amount
            end
        ) as refunded_amount,
        sum(
            case
                when payments.status = 'settled' and payments.currency = orders.currency
                    then payments.processing_fee
            end
        ) as processing_fees
    from orders
    inner join {{ ref('stg_payments') }} as payments on orders.order_id = payments.order_id
    group by orders.order_id
),

shipments as (
    select
        orders.order_id,
        max(shipments._batch) as shipments_batch,
        sum(case when shipments.currency = orders.currency then shipments.cost end) as shipping_cost
    from orders
    inner join {{ ref('stg_shipments') }} as shipments on orders.order_id = shipments.order_id
    group by orders.order_id
),

amounts as (
    select
        orders.order_id,
        orders.buyer_id,
        orders.seller_id,
        orders.lot_id,
        orders.address_id,
        orders.placed_at,
        orders.status,
        orders.status <> 'cancelled' as is_sale,
        orders.currency,
        {%- for amount in [
            'orders.hammer_price', 'orders.buyers_premium', 'orders.sellers_commission', 'fees.buyer_fees',
            'fees.seller_fees', 'payments.captured_amount', 'payments.refunded_amount', 'payments.processing_fees',
            'shipments.shipping_cost'
        ] %}
        cast(coalesce({{ amount }}, 0) as decimal(18, 2)) as {{ amount.split('.')[1] }},
        {%- endfor %}
        cast(coalesce(payments.payments_in_other_currency, 0) as bigint) as payments_in_other_currency,
        orders.quote_number,
        orders.quote_version,
        orders._changed_at,
        orders._batch,
        payments.payments_batch as _payments_batch,
        shipments.shipments_batch as _shipments_batch
    from orders
    left join fees on orders.order_id = fees.order_id
    left join payments on orders.order_id = payments.order_id
    left join shipments on orders.order_id = shipments.order_id
),

refundable as (
    select
        amounts.*,
        case
            when captured_amount > 0 then captured_amount
            else hammer_price + buyers_premium + buyer_fees
        end as refundable_amount
    from amounts
),

-- A refund takes back its share of the sale: of what the buyer paid or, where no payment is known, of what the buyer
-- owes. A refunded order without a known refund is taken back whole.
shares as (
    select
        refundable.*,
        cast(
            case
                when refunded_amount = 0 and status = 'refunded' then 1
                when refunded_amount = 0 then 0
                when refunded_amount >= refundable_amount then 1
                else cast(refunded_amount as double) / cast(refundable_amount as double)
            end as decimal(12, 10)
        ) as refunded_share
    from refundable
),

kept as (
    select
        shares.*,
        case when is_sale then 1 - refunded_share else 0 end as kept_share
    from shares
),

earnings as (
    select
        kept.*,
        cast(hammer_price * kept_share as decimal(18, 2)) as net_sales,
        cast(
            cast((buyers_premium + buyer_fees) * kept_share as decimal(18, 2)) - processing_fees - shipping_cost
            as decimal(18, 2)
        ) as earned_from_buyer,
        cast((sellers_commission + seller_fees) * kept_share as decimal(18, 2)) as earned_from_seller
    from kept
)

select
    order_id,
    buyer_id,
    seller_id,
    lot_id,
    address_id,
    placed_at,
    cast(placed_at as date) as placed_on,
    status,
    is_sale,
    currency,
    hammer_price,
    buyers_premium,
    sellers_commission,
    buyer_fees,
    seller_fees,
    captured_amount,
    refunded_amount,
    refunded_share,
    processing_fees,
    shipping_cost,
    net_sales,
    earned_from_buyer,
    earned_from_seller,
    cast(earned_from_buyer + earned_from_seller as decimal(18, 2)) as house_earnings,
    payments_in_other_currency,
    quote_number,
    quote_version,
    _changed_at,
    _batch,
    _payments_batch,
    _shipments_batch
from earnings
