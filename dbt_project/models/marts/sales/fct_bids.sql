{{ config(
    materialized='incremental',
    unique_key='bid_id',
    partitioned_by=['month(placed_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed(ref('stg_bids__keys'), 'bid_id') }}"
) }}

{#- Bids whose lot closes at another time by now: extended, or corrected. #}
{%- set moved_closings -%}
    select bids.bid_id
    from {{ this }} as bids
    inner join (
        select
            lot_id,
            ends_at
        from {{ ref('dim_lot') }}
        where is_current and _batch > {{ last_seen('_lots_batch') }}
    ) as lots on bids.lot_id = lots.lot_id
    where lots.ends_at is distinct from bids.closes_at
{%- endset -%}

with

{{ changed_keys(
    'bid_id',
    [(ref('stg_bids__keys'), '_batch')],
    also=[
        stale_keys(
            'bid_id', 'dim_customer', 'customer_id', 'customer_key', '_customers_batch',
            refers='bidder_id', points='bidder_key', at='placed_at'
        ),
        stale_keys(
            'bid_id', 'dim_lot', 'lot_id', 'lot_key', '_lots_batch',
            refers='lot_id', points='lot_key', at='placed_at'
        ),
        moved_closings,
        days_grown_into('bid_id', 'placed_on', 'placed_day_key')
    ]
) }}

bids as (
    select *
    from {{ ref('stg_bids') }}
    where {{ is_changed('bid_id') }}
)

select
    bids.bid_id,
    bids.lot_id,
    lots.lot_key,
    bids.bidder_id,
    bidders.customer_key as bidder_key,
    bids.placed_at,
    cast(bids.placed_at as date) as placed_on,
    {{ day_key('bids.placed_at') }} as placed_day_key,
    bids.currency,
    bids.amount,
    bids.kind,
    bids.status,
    bids.status = 'accepted' as is_accepted,
    lots_now.ends_at as closes_at,
    coalesce(
        bids.placed_at <= lots_now.ends_at
        and bids.placed_at > {{ dbt.dateadd('second', -(var('snipe_seconds') | int), 'lots_now.ends_at') }},
        false
    ) as is_snipe,
    bids._expired as is_expired,
    bids._changed_at,
    bids._batch,
    {{ newest_state(['bidders']) }} as _customers_batch,
    {{ newest_state(['lots']) }} as _lots_batch
from bids
left join {{ states_of('dim_customer', 'customer_id', 'customer_key') }} as bidders
    on bids.bidder_id = bidders.customer_id and {{ was_valid('bidders', 'bids.placed_at') }}
left join {{ states_of('dim_lot', 'lot_id', 'lot_key') }} as lots
    on bids.lot_id = lots.lot_id and {{ was_valid('lots', 'bids.placed_at') }}
left join {{ ref('dim_lot') }} as lots_now on bids.lot_id = lots_now.lot_id and lots_now.is_current
