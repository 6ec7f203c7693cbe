with

-- No later than the groups, which this report takes as they are.
clock as (
    select min(moment) as data_time
    from (
        select {{ data_time(['invoices', 'orders', 'payments', 'shipments']) }} as moment
        union all
        select min(data_time) as moment from {{ ref('rpt_party_groups') }}
    ) as moments
),

open_invoices as (
    select
        invoices.party_id,
        invoices.role,
        invoices.currency,
        count(*) as open_invoices,
        sum(invoices.open_amount) as open_amount,
        sum(
            case
                -- An invoice without a due date is due when it is issued.
                when {{ calendar_days_between('coalesce(invoices.due_at, invoices.issued_at)', 'clock.data_time') }} > 0
                    then invoices.open_amount
                else 0
            end
        ) as overdue_amount
    from {{ ref('fct_invoices') }} as invoices
    cross join clock
    where invoices.is_open and invoices.party_id is not null
    group by invoices.party_id, invoices.role, invoices.currency
)

select
    coalesce(parties.party_id, owed.party_id) as party_id,
    coalesce(parties.role, owed.role) as role,
    coalesce(parties.currency, owed.currency) as currency,
    parties.party_group,
    parties.first_sale_at,
    parties.last_sale_at,
    cast(coalesce(parties.frequency, 0) as bigint) as sales,
    cast(coalesce(parties.net_sales, 0) as decimal(38, 2)) as net_sales,
    cast(coalesce(parties.recent_net_sales, 0) as decimal(38, 2)) as recent_net_sales,
    cast(coalesce(owed.open_invoices, 0) as bigint) as open_invoices,
    cast(coalesce(owed.open_amount, 0) as decimal(38, 2)) as open_amount,
    cast(coalesce(owed.overdue_amount, 0) as decimal(38, 2)) as overdue_amount,
    clock.data_time
from {{ ref('rpt_party_groups') }} as parties
full outer join open_invoices as owed
    on
        parties.party_id = owed.party_id
        and parties.role = owed.role
        and parties.currency = owed.currency
cross join clock
