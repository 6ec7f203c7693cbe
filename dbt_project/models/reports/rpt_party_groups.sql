with

now as (
    select {{ data_time(['orders', 'payments', 'shipments']) }} as data_time
),

clock as (
    select
        data_time,
        {{ first_month_of_window(first_day_of('month', 'data_time')) }} as window_start
    from now
),

sales as (
    {{ sales_by_party() }}
),

parties as (
    select
        sales.party_id,
        sales.role,
        sales.currency,
        clock.data_time,
        clock.window_start,
        min(sales.placed_at) as first_sale_at,
        max(sales.placed_at) as last_sale_at,
        count(*) as frequency,
        sum(sales.net_sales) as net_sales,
        max(sales.sales_month) >= clock.window_start as is_active,
        sum(case when sales.sales_month >= clock.window_start then sales.net_sales else 0 end) as recent_net_sales
    from sales
    cross join clock
    group by sales.party_id, sales.role, sales.currency, clock.data_time, clock.window_start
),

positions as (
    select
        parties.*,
        {{ calendar_days_between('last_sale_at', 'data_time') }} as recency_days,
        {{ first_day_of('month', 'first_sale_at') }} as first_month,
        {{ share_from_top('recent_net_sales', ['role', 'currency', 'is_active']) }} as recent_position,
        {{ share_below('cast(last_sale_at as date)', ['role', 'currency']) }} as recency_position,
        {{ share_below('frequency', ['role', 'currency']) }} as frequency_position,
        {{ share_below('net_sales', ['role', 'currency']) }} as value_position
    from parties
)

select
    party_id,
    role,
    currency,
    {{ party_group('recent_position', 'first_month', 'window_start', 'is_active') }} as party_group,
    first_sale_at,
    last_sale_at,
    cast(recency_days as bigint) as recency_days,
    cast(frequency as bigint) as frequency,
    cast(net_sales as decimal(38, 2)) as net_sales,
    cast(recent_net_sales as decimal(38, 2)) as recent_net_sales,
    {%- for measure in ['recency', 'frequency', 'value'] %}
    {{ fifth_of(measure ~ '_position') }} as {{ measure }}_score,
    {%- endfor %}
    data_time
from positions
