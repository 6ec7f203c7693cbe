{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='bid_id',
    partitioned_by=['month(placed_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed('bids', 'bid_id') }}"
) }}

with

{{ changed_keys('bid_id', {'bids': '_batch'}) }}

bids as (
    select *
    from {{ ref('stg_bids') }}
    where {{ is_changed('bid_id') }}
)

select
    bid_id,
    lot_id,
    bidder_id,
    placed_at,
    cast(placed_at as date) as placed_on,
    currency,
    amount,
    kind,
    status,
    status = 'accepted' as is_accepted,
    _expired as is_expired,
    _changed_at,
    _batch
from bids
