{{ config(
    materialized='incremental',
    unique_key='customer_key',
    pre_hook="{{ remember_seen() }}",
    post_hook=[
        "{{ delete_outdated_history('customer_id', 'customer_key') }}",
        "{{ delete_erased('customer_id', ref('stg_customers'), ref('stg_customers__changes')) }}"
    ]
) }}

-- depends_on: {{ ref('stg_customers') }}
{{ history_of(
    ref('stg_customers__changes'),
    key='customer_id',
    surrogate='customer_key',
    attributes=dim_customer_attributes()
) }}
