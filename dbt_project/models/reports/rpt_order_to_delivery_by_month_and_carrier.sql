with

clock as (
    select {{ data_time(['orders', 'shipments']) }} as data_time
),

-- What is dated after the data time is no shipment so far, and no delivery.
dated as (
    select
        facts.*,
        clock.data_time,
        facts.is_delivered and coalesce(facts.delivered_at, clock.data_time) <= clock.data_time as is_delivered_so_far
    from {{ ref('fct_shipments') }} as facts
    cross join clock
    where coalesce(facts.ordered_at, facts.created_at) <= clock.data_time
),

shipments as (
    select
        {{ first_day_of('month', 'coalesce(facts.ordered_at, facts.created_at)') }} as order_month,
        facts.carrier,
        facts.status,
        facts.is_delivered_so_far as is_delivered,
        facts.is_delivered_so_far and facts.delivered_at is not null and facts.promised_at is not null as is_judged,
        facts.is_delivered_so_far and facts.is_late as is_late,
        not facts.is_delivered_so_far
        and facts.status not in ('returned', 'lost')
        and facts.promised_at < facts.data_time as is_overdue,
        case
            when facts.is_delivered_so_far then {{ days_between('facts.ordered_at', 'facts.delivered_at') }}
        end as days_to_delivery,
        case
            when facts.is_delivered_so_far then {{ days_between('facts.shipped_at', 'facts.delivered_at') }}
        end as days_in_transit
    from dated as facts
),

ranked as (
    select
        shipments.*,
        {{ share_up_to('days_to_delivery', ['order_month', 'carrier']) }} as delivery_share,
        {{ share_up_to('days_in_transit', ['order_month', 'carrier']) }} as transit_share
    from shipments
),

months as (
    select
        order_month,
        carrier,
        cast(count(*) as bigint) as shipments,
        cast(sum(case when is_delivered then 1 else 0 end) as bigint) as delivered,
        cast(sum(case when is_judged then 1 else 0 end) as bigint) as delivered_with_promise,
        cast(sum(case when is_late then 1 else 0 end) as bigint) as delivered_late,
        cast(sum(case when is_overdue then 1 else 0 end) as bigint) as overdue,
        cast(sum(case when status = 'returned' then 1 else 0 end) as bigint) as returned,
        cast(sum(case when status = 'lost' then 1 else 0 end) as bigint) as lost,
        {{ percentile('days_to_delivery', 'delivery_share', 0.5) }} as median_days,
        {{ percentile('days_to_delivery', 'delivery_share', 0.9) }} as percentile_90_days,
        {{ percentile('days_in_transit', 'transit_share', 0.5) }} as median_days_in_transit,
        {{ percentile('days_in_transit', 'transit_share', 0.9) }} as percentile_90_days_in_transit
    from ranked
    group by order_month, carrier
)

select
    months.order_month,
    months.carrier,
    months.shipments,
    months.delivered,
    months.delivered_with_promise,
    months.delivered_late,
    months.overdue,
    months.returned,
    months.lost,
    case
        when months.delivered_with_promise > 0
            then cast(months.delivered_late as double) / months.delivered_with_promise
    end as late_share,
    months.median_days,
    months.percentile_90_days,
    months.median_days_in_transit,
    months.percentile_90_days_in_transit,
    clock.data_time
from months
cross join clock
