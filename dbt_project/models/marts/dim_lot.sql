{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='lot_key',
    post_hook="{{ delete_outdated_history('lot_id', 'lot_key') }}"
) }}

{{ history_of(
    'lots_changes',
    key='lot_id',
    surrogate='lot_key',
    attributes=[
        'seller_id', 'title', 'category', 'grade', 'currency', 'starting_price', 'reserve_price', 'valuation_low',
        'valuation_high', 'handling_cost', 'status', 'listed_at', 'starts_at', 'ends_at'
    ]
) }}
