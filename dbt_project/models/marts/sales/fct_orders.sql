{{ config(
    materialized='incremental',
    unique_key='order_id',
    partitioned_by=['month(placed_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed(ref('stg_orders__keys'), 'order_id') }}"
) }}

with

{{ changed_keys(
    'order_id',
    [
        (ref('stg_orders__keys'), '_batch'),
        (ref('stg_payments__keys'), '_payments_batch'),
        (ref('stg_shipments__keys'), '_shipments_batch')
    ],
    also=[
        keys_before_a_move(
            'order_id', ref('stg_payments__keys'), ref('stg_payments__changes'), 'payment_id', '_payments_batch'
        ),
        keys_before_a_move(
            'order_id', ref('stg_shipments__keys'), ref('stg_shipments__changes'), 'shipment_id', '_shipments_batch'
        ),
        stale_keys(
            'order_id', 'dim_customer', 'customer_id', 'customer_key', '_customers_batch',
            refers='buyer_id', points='buyer_key', at='placed_at'
        ),
        stale_keys(
            'order_id', 'dim_customer', 'customer_id', 'customer_key', '_customers_batch',
            refers='seller_id', points='seller_key', at='placed_at'
        ),
        stale_keys(
            'order_id', 'dim_lot', 'lot_id', 'lot_key', '_lots_batch',
            refers='lot_id', points='lot_key', at='placed_at'
        ),
        stale_keys(
            'order_id', 'dim_address', 'address_id', 'address_key', '_addresses_batch',
            refers='address_id', points='address_key', at='placed_at'
        ),
        stale_keys(
            'order_id', 'dim_country', 'country_code', 'country_key', '_countries_batch',
            refers='buyer_country_code', points='buyer_country_key', at='placed_at'
        ),
        days_grown_into('order_id', 'placed_on', 'placed_day_key')
    ]
) }}

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
),

-- An order is delivered when the last of its parcels is; one that got lost or came back is not waited for.
shipments as (
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
),

-- Who, what and where as they were when the order was placed.
states as (
    select
        orders.order_id,
        buyers.customer_key as buyer_key,
        buyers.country_code as buyer_country_code,
        countries.country_key as buyer_country_key,
        countries.name as buyer_country_name,
        countries.region as buyer_region,
        sellers.customer_key as seller_key,
        sellers.country_code as seller_country_code,
        lots.lot_key,
        addresses.address_key,
        {{ newest_state(['buyers', 'sellers']) }} as customers_batch,
        {{ newest_state(['lots']) }} as lots_batch,
        {{ newest_state(['addresses']) }} as addresses_batch,
        {{ newest_state(['countries']) }} as countries_batch
    from orders
    left join {{ states_of('dim_customer', 'customer_id', 'customer_key', ['country_code']) }} as buyers
        on orders.buyer_id = buyers.customer_id and {{ was_valid('buyers', 'orders.placed_at') }}
    left join {{ states_of('dim_customer', 'customer_id', 'customer_key', ['country_code']) }} as sellers
        on orders.seller_id = sellers.customer_id and {{ was_valid('sellers', 'orders.placed_at') }}
    left join {{ states_of('dim_country', 'country_code', 'country_key', ['name', 'region']) }} as countries
        on buyers.country_code = countries.country_code and {{ was_valid('countries', 'orders.placed_at') }}
    left join {{ states_of('dim_lot', 'lot_id', 'lot_key') }} as lots
        on orders.lot_id = lots.lot_id and {{ was_valid('lots', 'orders.placed_at') }}
    left join {{ states_of('dim_address', 'address_id', 'address_key') }} as addresses
        on orders.address_id = addresses.address_id and {{ was_valid('addresses', 'orders.placed_at') }}
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
            'orders.hammer_price', 'orders.buyers_premium', 'orders.sellers_commission', 'fees.buyer_fees',
            'fees.seller_fees', 'payments.captured_amount', 'payments.refunded_amount', 'payments.processing_fees',
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
    inner join states on orders.order_id = states.order_id
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
        cast(hammer_price * kept_share as decimal(24, 2)) as net_sales,
        cast(
            cast((buyers_premium + buyer_fees) * kept_share as decimal(24, 2)) - processing_fees - shipping_cost
            as decimal(24, 2)
        ) as earned_from_buyer,
        cast((sellers_commission + seller_fees) * kept_share as decimal(24, 2)) as earned_from_seller
    from kept
)

select
    order_id,
    buyer_id,
    buyer_key,
    buyer_country_code,
    buyer_country_key,
    buyer_country_name,
    buyer_region,
    seller_id,
    seller_key,
    seller_country_code,
    lot_id,
    lot_key,
    address_id,
    address_key,
    placed_at,
    cast(placed_at as date) as placed_on,
    {{ day_key('placed_at') }} as placed_day_key,
    paid_at,
    shipped_at,
    delivered_at,
    promised_at,
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
    cast(earned_from_buyer + earned_from_seller as decimal(24, 2)) as house_earnings,
    payments_in_other_currency,
    quote_number,
    quote_version,
    is_expired,
    _changed_at,
    _batch,
    _payments_batch,
    _shipments_batch,
    _customers_batch,
    _lots_batch,
    _addresses_batch,
    _countries_batch
from earnings
