with

orders as (
    select * from {{ ref('fct_orders') }}
),

lots as (
    select * from {{ ref('dim_lot') }}
    where is_current and not is_removed
),

customers as (
    select * from {{ ref('dim_customer') }}
    where is_current
),

roles as (
    select
        buyer_id as party_id,
        currency,
        sum(case when is_sale then 1 else 0 end) as bought_orders,
        sum(case when is_sale then hammer_price + buyers_premium + buyer_fees else 0 end) as bought_amount,
        0 as sold_orders,
        0 as sold_amount,
        sum(earned_from_buyer) as earned_as_buyer,
        0 as earned_as_seller,
        0 as handling_cost,
        max(placed_at) as last_order_at
    from orders
    group by buyer_id, currency

    union all

    select
        seller_id as party_id,
        currency,
        0 as bought_orders,
        0 as bought_amount,
        sum(case when is_sale then 1 else 0 end) as sold_orders,
        sum(case when is_sale then hammer_price else 0 end) as sold_amount,
        0 as earned_as_buyer,
        sum(earned_from_seller) as earned_as_seller,
        0 as handling_cost,
        max(placed_at) as last_order_at
    from orders
    group by seller_id, currency

    union all

    -- Handling costs the house the same whether the lot sells or not.
    select
        seller_id as party_id,
        currency,
        0 as bought_orders,
        0 as bought_amount,
        0 as sold_orders,
        0 as sold_amount,
        0 as earned_as_buyer,
        0 as earned_as_seller,
        sum(handling_cost) as handling_cost,
        cast(null as timestamp(6)) as last_order_at
    from lots
    where handling_cost > 0
    group by seller_id, currency
),

parties as (
    select
        party_id,
        currency,
        sum(bought_orders) as bought_orders,
        sum(bought_amount) as bought_amount,
        sum(sold_orders) as sold_orders,
        sum(sold_amount) as sold_amount,
        sum(earned_as_buyer) as earned_as_buyer,
        sum(earned_as_seller) as earned_as_seller,
        sum(handling_cost) as handling_cost,
        sum(earned_as_buyer) + sum(earned_as_seller) - sum(handling_cost) as house_earnings,
        max(last_order_at) as last_order_at
    from roles
    group by party_id, currency
)

select
    parties.party_id,
    parties.currency,
    customers.kind,
    customers.country_code,
    cast(parties.bought_orders as bigint) as bought_orders,
    cast(parties.bought_amount as decimal(18, 2)) as bought_amount,
    cast(parties.sold_orders as bigint) as sold_orders,
    cast(parties.sold_amount as decimal(18, 2)) as sold_amount,
    cast(parties.earned_as_buyer as decimal(18, 2)) as earned_as_buyer,
    cast(parties.earned_as_seller as decimal(18, 2)) as earned_as_seller,
    cast(parties.handling_cost as decimal(18, 2)) as handling_cost,
    cast(parties.house_earnings as decimal(18, 2)) as house_earnings,
    rank() over (partition by parties.currency order by parties.bought_amount desc) as rank_as_buyer,
    rank() over (partition by parties.currency order by parties.sold_amount desc) as rank_as_seller,
    rank() over (partition by parties.currency order by parties.house_earnings desc) as rank_by_earnings,
    parties.last_order_at,
    {{ data_time(['orders', 'lots', 'customers', 'payments', 'shipments']) }} as data_time
from parties
left join customers on parties.party_id = customers.customer_id
