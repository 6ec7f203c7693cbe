with

clock as (
    select {{ data_time(['orders', 'payments', 'shipments']) }} as data_time
),

sales as (
    {{ sales_by_party() }}
),

party_months as (
    select
        party_id,
        role,
        currency,
        sales_month,
        count(*) as sales,
        sum(net_sales) as net_sales,
        sum(house_earnings) as house_earnings,
        min(sales_month) over (partition by party_id, role, currency) as first_month
    from sales
    group by party_id, role, currency, sales_month
),

months as (
    select distinct
        dates.month_start as report_month,
        {{ first_month_of_window('dates.month_start') }} as window_start
    from {{ ref('dim_date') }} as dates
    cross join clock
    where dates.month_start between (select min(sales_month) from sales) and {{ first_day_of('month', 'clock.data_time') }}
        and dates.month_start >= {{ first_month_of_trends('clock.data_time') }}
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
),

active_groups as (
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
),

active_parties as (
    select
        report_month,
        role,
        currency,
        sum(parties) as parties
    from active_groups
    group by report_month, role, currency
),

-- Whoever sold or bought at any time and is not active has lapsed.
known_parties as (
    select
        months.report_month,
        party_months.role,
        party_months.currency,
        count(*) as parties
    from months
    inner join party_months on months.report_month >= party_months.sales_month
    where party_months.sales_month = party_months.first_month
    group by months.report_month, party_months.role, party_months.currency
),

lapsed as (
    select
        known_parties.report_month,
        known_parties.role,
        known_parties.currency,
        known_parties.parties - coalesce(active_parties.parties, 0) as parties
    from known_parties
    left join active_parties
        on
            known_parties.report_month = active_parties.report_month
            and known_parties.role = active_parties.role
            and known_parties.currency = active_parties.currency
),

all_groups as (
    select
        report_month,
        role,
        currency,
        party_group,
        parties,
        sales,
        net_sales,
        house_earnings
    from active_groups

    union all

    select
        report_month,
        role,
        currency,
        'lapsed' as party_group,
        parties,
        0 as sales,
        0 as net_sales,
        0 as house_earnings
    from lapsed
    where parties > 0
)

select
    all_groups.report_month,
    all_groups.role,
    all_groups.party_group,
    all_groups.currency,
    cast({{ var('party_window_months') }} as integer) as window_months,
    cast(all_groups.parties as bigint) as parties,
    cast(all_groups.sales as bigint) as sales,
    cast(all_groups.net_sales as decimal(38, 2)) as net_sales,
    cast(all_groups.house_earnings as decimal(38, 2)) as house_earnings,
    clock.data_time
from all_groups
cross join clock
