with

clock as (
    select {{ data_time(['orders', 'lots', 'customers', 'countries', 'payments', 'shipments']) }} as data_time
),

orders as (
    {{ orders_by_category_and_country() }}
),

countries as (
    {{ country_names() }}
),

sales as (
    select
        {{ first_day_of('month', 'placed_on') }} as sales_month,
        category,
        country_code,
        coalesce(buyer_region, 'Unknown') as region,
        currency,
        count(*) as orders_placed,
        sum(case when is_sale then 1 else 0 end) as sales,
        sum(case when is_sale then hammer_price else 0 end) as sales_amount,
        sum(net_sales) as net_sales,
        sum(case when placed_at <= clock.data_time then net_sales else 0 end) as net_sales_so_far,
        sum(case when is_sale then buyers_premium else 0 end) as buyers_premium,
        sum(case when is_sale then sellers_commission else 0 end) as sellers_commission,
        sum(case when is_sale then buyer_fees + seller_fees else 0 end) as fees,
        sum(refunded_amount) as refunded_amount,
        sum(house_earnings) as house_earnings,
        clock.data_time
    from orders
    cross join clock
    group by
        {{ first_day_of('month', 'placed_on') }},
        category,
        country_code,
        coalesce(buyer_region, 'Unknown'),
        currency,
        clock.data_time
)

select
    sales.sales_month,
    sales.category,
    sales.country_code,
    coalesce(countries.country_name, 'Unknown') as country_name,
    sales.region,
    sales.currency,
    cast(sales.orders_placed as bigint) as orders_placed,
    cast(sales.sales as bigint) as sales,
    {%- for amount in [
        'sales_amount', 'net_sales', 'net_sales_so_far', 'buyers_premium', 'sellers_commission', 'fees',
        'refunded_amount', 'house_earnings'
    ] %}
    cast(sales.{{ amount }} as decimal(38, 2)) as {{ amount }},
    {%- endfor %}
    sales.data_time
from sales
left join countries on sales.country_code = countries.country_code
