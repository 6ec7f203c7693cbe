with

lots as (
    select * from {{ ref('dim_lot') }}
    where is_current and not is_removed
),

roles as (
    select
        buyer_id as party_id,
        currency,
        case when is_sale then 1 else 0 end as bought_orders,
        case when is_sale then hammer_price + buyers_premium + buyer_fees else 0 end as bought_amount,
        0 as sold_orders,
        0 as sold_amount,
        case when is_sale then buyers_premium else 0 end as buyers_premium,
        0 as sellers_commission,
        case when is_sale then buyer_fees else 0 end as fees,
        -- What the house kept of premium and fees is what it earned before costs; a refund took the rest.
        case when is_sale then buyers_premium + buyer_fees else 0 end
        - (earned_from_buyer + processing_fees + shipping_cost) as refunds,
        processing_fees as payment_fees,
        shipping_cost,
        0 as handling_cost,
        earned_from_buyer as profit_as_buyer,
        0 as profit_as_seller,
        placed_at as last_order_at
    from {{ ref('fct_orders') }}

    union all

    select
        seller_id as party_id,
        currency,
        0 as bought_orders,
        0 as bought_amount,
        case when is_sale then 1 else 0 end as sold_orders,
        case when is_sale then hammer_price else 0 end as sold_amount,
        0 as buyers_premium,
        case when is_sale then sellers_commission else 0 end as sellers_commission,
        case when is_sale then seller_fees else 0 end as fees,
        case when is_sale then sellers_commission + seller_fees else 0 end - earned_from_seller as refunds,
        0 as payment_fees,
        0 as shipping_cost,
        0 as handling_cost,
        0 as profit_as_buyer,
        earned_from_seller as profit_as_seller,
        placed_at as last_order_at
    from {{ ref('fct_orders') }}

    union all

    -- Handling costs the house the same whether the lot sells or not.
    select
        seller_id as party_id,
        currency,
        0 as bought_orders,
        0 as bought_amount,
        0 as sold_orders,
        0 as sold_amount,
        0 as buyers_premium,
        0 as sellers_commission,
        0 as fees,
        0 as refunds,
        0 as payment_fees,
        0 as shipping_cost,
        handling_cost,
        0 as profit_as_buyer,
        -handling_cost as profit_as_seller,
        cast(null as timestamp(6)) as last_order_at
    from lots
    where handling_cost > 0
),

parties as (
    select
        party_id,
        currency,
        cast(sum(bought_orders) as bigint) as bought_orders,
        cast(sum(sold_orders) as bigint) as sold_orders,
        {%- for amount in [
            'bought_amount', 'sold_amount', 'buyers_premium', 'sellers_commission', 'fees', 'refunds', 'payment_fees',
            'shipping_cost', 'handling_cost', 'profit_as_buyer', 'profit_as_seller'
        ] %}
        cast(sum({{ amount }}) as decimal(38, 2)) as {{ amount }},
        {%- endfor %}
        cast(sum(profit_as_buyer + profit_as_seller) as decimal(38, 2)) as profit,
        max(last_order_at) as last_order_at
    from roles
    group by party_id, currency
)

select
    parties.party_id,
    parties.currency,
    customers.kind,
    customers.country_code,
    parties.bought_orders,
    parties.bought_amount,
    parties.sold_orders,
    parties.sold_amount,
    parties.buyers_premium,
    parties.sellers_commission,
    parties.fees,
    parties.refunds,
    parties.payment_fees,
    parties.shipping_cost,
    parties.handling_cost,
    parties.profit_as_buyer,
    parties.profit_as_seller,
    parties.profit,
    rank() over (partition by parties.currency order by parties.bought_amount desc) as rank_as_buyer,
    rank() over (partition by parties.currency order by parties.sold_amount desc) as rank_as_seller,
    rank() over (partition by parties.currency order by parties.profit desc) as rank_by_profit,
    parties.last_order_at,
    {{ data_time(['orders', 'lots', 'customers', 'payments', 'shipments']) }} as data_time
from parties
left join {{ ref('dim_customer') }} as customers on parties.party_id = customers.customer_id and customers.is_current
