with

clock as (
    select {{ data_time(['lots', 'bids']) }} as data_time
),

-- What is dated after the data time has not closed so far, and is no bid so far.
lots as (
    select dim_lot.*
    from {{ ref('dim_lot') }} as dim_lot
    cross join clock
    where
        dim_lot.is_current
        and not dim_lot.is_removed
        and dim_lot.status in ('sold', 'unsold')
        and dim_lot.ends_at <= clock.data_time
),

bids as (
    select fct_bids.*
    from {{ ref('fct_bids') }} as fct_bids
    cross join clock
    where fct_bids.is_accepted and fct_bids.placed_at <= clock.data_time
),

lots_with_bids as (
    select
        lots.lot_id,
        {{ first_day_of('month', 'lots.ends_at') }} as closing_month,
        lots.category,
        lots.currency,
        lots.reserve_price,
        count(bids.bid_id) as bids,
        count(distinct bids.bidder_id) as bidders,
        sum(case when bids.is_snipe then 1 else 0 end) as snipes,
        max(bids.amount) as highest_bid
    from lots
    left join bids on lots.lot_id = bids.lot_id and lots.currency = bids.currency
    group by
        lots.lot_id,
        {{ first_day_of('month', 'lots.ends_at') }},
        lots.category,
        lots.currency,
        lots.reserve_price
),

-- Who bids on two lots of a row is one bidder of it.
bidders as (
    select
        {{ first_day_of('month', 'lots.ends_at') }} as closing_month,
        lots.category,
        lots.currency,
        count(distinct bids.bidder_id) as bidders
    from lots
    inner join bids on lots.lot_id = bids.lot_id and lots.currency = bids.currency
    group by {{ first_day_of('month', 'lots.ends_at') }}, lots.category, lots.currency
),

months as (
    select
        closing_month,
        category,
        currency,
        count(*) as lots,
        sum(case when bids > 0 then 1 else 0 end) as lots_with_bids,
        sum(bids) as bids,
        sum(bidders) as bidders_of_lots,
        sum(snipes) as snipes,
        sum(case when snipes > 0 then 1 else 0 end) as lots_sniped,
        sum(case when reserve_price > 0 then 1 else 0 end) as lots_with_reserve,
        sum(case when reserve_price > 0 and highest_bid >= reserve_price then 1 else 0 end) as lots_reserve_met
    from lots_with_bids
    group by closing_month, category, currency
)

select
    months.closing_month,
    months.category,
    months.currency,
    {%- for count in ['lots', 'lots_with_bids', 'bids'] %}
    cast(months.{{ count }} as bigint) as {{ count }},
    {%- endfor %}
    cast(coalesce(bidders.bidders, 0) as bigint) as bidders,
    {%- for count in ['snipes', 'lots_sniped', 'lots_with_reserve', 'lots_reserve_met'] %}
    cast(months.{{ count }} as bigint) as {{ count }},
    {%- endfor %}
    cast(months.bids as double) / months.lots as bids_per_lot,
    cast(months.bidders_of_lots as double) / months.lots as bidders_per_lot,
    case when months.bids > 0 then cast(months.snipes as double) / months.bids end as sniping_share,
    case
        when months.lots_with_reserve > 0 then cast(months.lots_reserve_met as double) / months.lots_with_reserve
    end as reserve_met_share,
    clock.data_time
from months
cross join clock
left join bidders
    on
        months.closing_month = bidders.closing_month
        and months.category = bidders.category
        and months.currency = bidders.currency
