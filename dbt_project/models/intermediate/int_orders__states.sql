with

orders as (
    select *
    from {{ ref('stg_orders') }}
    where {{ is_changed('order_id', of='fct_orders') }}
)

-- Who, what and where as they were when the order was placed.
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
