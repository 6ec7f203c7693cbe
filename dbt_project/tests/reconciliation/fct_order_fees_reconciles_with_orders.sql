{%- set published -%}
    select
        orders.order_id,
        orders.currency,
        fee.amount
    from {{ source('catalog', 'orders') }} as orders
    {{ unnest_records('orders.fees', 'fee', ['kind', 'payer', 'amount']) }}
    where
        not coalesce(orders._deleted, false)
        {%- if passed('orders') %}
        and orders._batch > {{ passed('orders')[0] }}
        {%- endif %}
{%- endset -%}

{{ reconciled(ref('fct_order_fees'), 'orders', 'order_id', ['amount'], published) }}
