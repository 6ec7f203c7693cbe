{{ config(
    materialized='incremental',
    unique_key='lot_key',
    pre_hook="{{ remember_seen() }}",
    post_hook="{{ delete_outdated_history('lot_id', 'lot_key') }}"
) }}

{{ history_of(
    ref('stg_lots__changes'),
    key='lot_id',
    surrogate='lot_key',
    attributes=dim_lot_attributes()
) }}
