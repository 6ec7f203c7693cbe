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

earnings as (
    select *
    from {{ ref('int_orders__earnings') }}
    where {{ is_changed('order_id') }}
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
