with

orders as (
    select * from {{ ref('fct_orders') }}
),

lots as (
    select
        lot_id,
        category
    from {{ ref('dim_lot') }}
    where is_current
),

categorised as (
    select
        orders.*,
        cast(date_trunc('month', orders.placed_on) as date) as sales_month,
        case
            when orders.lot_id is null then 'Several lots'
            else coalesce(lots.category, 'Unknown lot')
        end as category
    from orders
    left join lots on orders.lot_id = lots.lot_id
)

select
    sales_month,
    category,
    currency,
    count(*) as orders_placed,
    cast(sum(case when is_sale then 1 else 0 end) as bigint) as sales,
    cast(sum(case when is_sale then hammer_price else 0 end) as decimal(18, 2)) as sales_amount,
    cast(sum(net_sales) as decimal(18, 2)) as net_sales,
    cast(sum(case when is_sale then buyers_premium else 0 end) as decimal(18, 2)) as buyers_premium,
    cast(sum(case when is_sale then sellers_commission else 0 end) as decimal(18, 2)) as sellers_commission,
    cast(sum(case when is_sale then buyer_fees + seller_fees else 0 end) as decimal(18, 2)) as fees,
    cast(sum(refunded_amount) as decimal(18, 2)) as refunded_amount,
    cast(sum(house_earnings) as decimal(18, 2)) as house_earnings,
    {{ data_time(['orders', 'lots', 'payments', 'shipments']) }} as data_time
from categorised
group by sales_month, category, currency
