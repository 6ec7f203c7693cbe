with

orders as (
    select *
    from {{ ref('stg_orders') }}
    where {{ is_changed('order_id', of='fct_orders') }}
),

amounts as (
    select
        orders.order_id,
        orders.buyer_id,
        states.buyer_key,
        states.buyer_country_code,
        states.buyer_country_key,
        states.buyer_country_name,
        states.buyer_region,
        orders.seller_id,
        states.seller_key,
        states.seller_country_code,
        orders.lot_id,
        states.lot_key,
        orders.address_id,
        states.address_key,
        orders.placed_at,
        payments.paid_at,
        shipments.shipped_at,
        shipments.delivered_at,
        shipments.promised_at,
        orders.status,
        orders.status <> 'cancelled' as is_sale,
        orders.currency,
        {%- for amount in [
            'orders.hammer_price', 'orders.buyers_premium', 'orders.sellers_commission', 'payments.buyer_fees',
            'payments.seller_fees', 'payments.captured_amount', 'payments.refunded_amount', 'payments.processing_fees',
            'shipments.shipping_cost'
        ] %}
        cast(coalesce({{ amount }}, 0) as decimal(24, 2)) as {{ amount.split('.')[1] }},
        {%- endfor %}
        cast(coalesce(payments.payments_in_other_currency, 0) as bigint) as payments_in_other_currency,
        orders.quote_number,
        orders.quote_version,
        orders._expired as is_expired,
        orders._changed_at,
        orders._batch,
        payments.payments_batch as _payments_batch,
        shipments.shipments_batch as _shipments_batch,
        states.customers_batch as _customers_batch,
        states.lots_batch as _lots_batch,
        states.addresses_batch as _addresses_batch,
        states.countries_batch as _countries_batch
    from orders
    inner join {{ ref('int_orders__states') }} as states on orders.order_id = states.order_id
    inner join {{ ref('int_orders__payments') }} as payments on orders.order_id = payments.order_id
    left join {{ ref('int_orders__shipments') }} as shipments on orders.order_id = shipments.order_id
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
)

select
    kept.*,
    cast(hammer_price * kept_share as decimal(24, 2)) as net_sales,
    cast(
        cast((buyers_premium + buyer_fees) * kept_share as decimal(24, 2)) - processing_fees - shipping_cost
        as decimal(24, 2)
    ) as earned_from_buyer,
    cast((sellers_commission + seller_fees) * kept_share as decimal(24, 2)) as earned_from_seller
from kept
