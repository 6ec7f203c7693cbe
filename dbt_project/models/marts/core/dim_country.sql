{{ config(
    materialized='incremental',
    unique_key='country_key',
    pre_hook="{{ remember_seen() }}",
    post_hook="{{ delete_outdated_history('country_code', 'country_key') }}"
) }}

{{ history_of(
    ref('stg_countries__changes'),
    key='country_code',
    surrogate='country_key',
    attributes=dim_country_attributes()
) }}
