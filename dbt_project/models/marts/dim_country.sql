{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='country_key',
    post_hook="{{ delete_outdated_history('country_code', 'country_key') }}"
) }}

{{ history_of(
    'countries_changes',
    key='country_code',
    surrogate='country_key',
    attributes=dim_country_attributes()
) }}
