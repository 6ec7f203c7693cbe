with

clock as (
    select {{ data_time(['orders', 'payments', 'shipments']) }} as data_time
),

active_groups as (
    select * from {{ ref('int_parties__groups_by_month') }}
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

known_parties as (
    select * from {{ ref('int_parties__known_by_month') }}
),

-- Whoever sold or bought at any time and is not active has lapsed.
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
