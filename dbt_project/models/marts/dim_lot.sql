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
    attributes=dim_lot_attributes()
) }}
