{{ config(
    materialized='incremental',
    unique_key='address_key',
    pre_hook="{{ remember_seen() }}",
    post_hook="{{ delete_outdated_history('address_id', 'address_key') }}"
) }}

{{ history_of(
    ref('stg_shipping_addresses__changes'),
    key='address_id',
    surrogate='address_key',
    attributes=dim_address_attributes()
) }}
