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
)

-- Whoever sold or bought until the end of the month.
select
    months.report_month,
    party_months.role,
    party_months.currency,
    count(*) as parties
from months
inner join party_months on months.report_month >= party_months.sales_month
where party_months.sales_month = party_months.first_month
group by months.report_month, party_months.role, party_months.currency
