with

clock as (
    select {{ data_time(['orders', 'payments', 'invoices']) }} as data_time
),

due as (
    select
        order_id,
        max(due_at) as due_at,
        min(currency) as currency,
        max(currency) as other_currency,
        sum(case when status = 'paid' then total_amount else 0 end) as paid_amount
    from {{ ref('fct_invoices') }}
    where role = 'buyer' and status <> 'void'
    group by order_id
),

-- What is dated after the data time is no sale so far, and no payment.
orders as (
    select
        facts.order_id,
        facts.placed_on,
        facts.placed_at,
        facts.currency,
        facts.hammer_price + facts.buyers_premium + facts.buyer_fees as owed_amount,
        facts.refunded_share,
        clock.data_time,
        facts.paid_at is null as has_no_payment,
        case when facts.paid_at <= clock.data_time then facts.paid_at end as paid_at
    from {{ ref('fct_orders') }} as facts
    cross join clock
    where facts.is_sale and facts.placed_at <= clock.data_time
),

sales as (
    select
        {{ first_day_of('month', 'orders.placed_on') }} as sales_month,
        orders.currency,
        orders.paid_at,
        {{ days_between('orders.placed_at', 'orders.paid_at') }} as days_to_cash,
        due.due_at is not null as has_due_date,
        due.due_at < coalesce(orders.paid_at, orders.data_time) as is_past_due,
        orders.paid_at is null and orders.refunded_share < 1 and orders.owed_amount > 0 as is_unsettled,
        -- What finance calls paid is not open, also where no payment tells on which day.
        orders.has_no_payment
        and coalesce(
            due.paid_amount >= orders.owed_amount
            and due.currency = orders.currency
            and due.other_currency = orders.currency,
            false
        ) as is_said_paid
    from orders
    left join due on orders.order_id = due.order_id
),

ranked as (
    select
        sales.*,
        is_unsettled and not is_said_paid as is_open,
        is_unsettled and is_said_paid as is_paid_undated,
        {{ share_up_to('days_to_cash', ['sales_month', 'currency']) }} as share_up_to
    from sales
),

months as (
    select
        sales_month,
        currency,
        cast(count(*) as bigint) as sales,
        cast(count(paid_at) as bigint) as sales_paid,
        cast(sum(case when is_open then 1 else 0 end) as bigint) as sales_open,
        cast(sum(case when is_paid_undated then 1 else 0 end) as bigint) as sales_paid_undated,
        cast(sum(case when has_due_date and not is_paid_undated then 1 else 0 end) as bigint) as sales_with_due_date,
        cast(
            sum(case when is_past_due and (is_open or paid_at is not null) then 1 else 0 end) as bigint
        ) as sales_late,
        {{ percentile('days_to_cash', 'share_up_to', 0.5) }} as median_days,
        {{ percentile('days_to_cash', 'share_up_to', 0.9) }} as percentile_90_days
    from ranked
    group by sales_month, currency
)

select
    months.sales_month,
    months.currency,
    months.sales,
    months.sales_paid,
    months.sales_open,
    months.sales_paid_undated,
    months.sales_with_due_date,
    months.sales_late,
    case
        when months.sales_with_due_date > 0 then cast(months.sales_late as double) / months.sales_with_due_date
    end as late_share,
    months.median_days,
    months.percentile_90_days,
    clock.data_time
from months
cross join clock
