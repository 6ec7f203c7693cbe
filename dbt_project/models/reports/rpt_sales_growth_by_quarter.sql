with

clock as (
    select {{ data_time(['orders', 'lots', 'customers', 'countries', 'payments', 'shipments']) }} as data_time
),

countries as (
    {{ country_names() }}
),

orders as (
    select
        orders.category,
        orders.country_code,
        orders.currency,
        orders.placed_at,
        orders.net_sales,
        clock.data_time,
        {{ first_day_of('quarter', 'orders.placed_on') }} as sales_quarter,
        {{ first_day_of('quarter', 'clock.data_time') }} as running_quarter
    from ({{ orders_by_category_and_country() }}) as orders
    cross join clock
    -- What is dated after the data time is not of a quarter so far.
    where orders.is_sale and orders.placed_at <= clock.data_time
),

-- Each sale counts in its own quarter and, as what there is to compare with, in the same quarter a year later. The
-- quarter that still runs is compared with as much of the quarter a year before.
counted as (
    select
        category,
        country_code,
        currency,
        sales_quarter,
        running_quarter,
        net_sales,
        0 as net_sales_year_before
    from orders

    union all

    select
        category,
        country_code,
        currency,
        cast({{ dbt.dateadd('year', 1, 'sales_quarter') }} as date) as sales_quarter,
        running_quarter,
        0 as net_sales,
        case
            when {{ dbt.dateadd('year', 1, 'sales_quarter') }} < running_quarter then net_sales
            when {{ dbt.dateadd('year', 1, 'placed_at') }} <= data_time then net_sales
            else 0
        end as net_sales_year_before
    from orders
    where {{ dbt.dateadd('year', 1, 'sales_quarter') }} <= running_quarter
),

quarters as (
    select
        category,
        country_code,
        currency,
        sales_quarter,
        sales_quarter < running_quarter as is_complete,
        cast(sum(net_sales) as decimal(38, 2)) as net_sales,
        cast(sum(net_sales_year_before) as decimal(38, 2)) as net_sales_year_before
    from counted
    group by category, country_code, currency, sales_quarter, running_quarter
)

select
    quarters.category,
    quarters.country_code,
    coalesce(countries.country_name, 'Unknown') as country_name,
    quarters.currency,
    quarters.sales_quarter,
    quarters.is_complete,
    quarters.net_sales,
    quarters.net_sales_year_before,
    case
        when quarters.net_sales_year_before > 0
            then
                cast(quarters.net_sales - quarters.net_sales_year_before as double)
                / cast(quarters.net_sales_year_before as double)
    end as growth,
    clock.data_time
from quarters
cross join clock
left join countries on quarters.country_code = countries.country_code
