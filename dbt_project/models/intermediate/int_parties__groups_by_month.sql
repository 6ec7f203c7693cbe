with

clock as (
    select {{ data_time(['orders', 'payments', 'shipments']) }} as data_time
),

sales as (
    {{ sales_by_party() }}
),

party_months as (
    {{ sales_by_party_and_month('sales') }}
),

months as (
    {{ months_of_trends('sales') }}
),

-- Each month of a party's sales counts in all windows that it lies in.
active as (
    select
        months.report_month,
        months.window_start,
        party_months.party_id,
        party_months.role,
        party_months.currency,
        party_months.first_month,
        sum(party_months.net_sales) as recent_net_sales,
        sum(case when party_months.sales_month = months.report_month then party_months.sales else 0 end) as sales,
        sum(
            case when party_months.sales_month = months.report_month then party_months.net_sales else 0 end
        ) as net_sales,
        sum(
            case when party_months.sales_month = months.report_month then party_months.house_earnings else 0 end
        ) as house_earnings
    from months
    inner join party_months
        on party_months.sales_month between months.window_start and months.report_month
    group by
        months.report_month,
        months.window_start,
        party_months.party_id,
        party_months.role,
        party_months.currency,
        party_months.first_month
),

positions as (
    select
        active.*,
        {{ share_from_top('recent_net_sales', ['report_month', 'role', 'currency']) }} as recent_position
    from active
),

grouped as (
    select
        positions.*,
        {{ party_group('recent_position', 'first_month', 'window_start') }} as party_group
    from positions
)

select
    report_month,
    role,
    currency,
    party_group,
    count(*) as parties,
    sum(sales) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings
from grouped
group by report_month, role, currency, party_group
