{%- set published -%}
    select
        lines.order_id,
        orders.currency,
        lines.hammer_price,
        lines.quantity
    from {{ source('catalog', 'order_lines') }} as lines
    left join {{ source('catalog', 'orders') }} as orders
        on lines.order_id = orders.order_id and not coalesce(orders._deleted, false)
    where not coalesce(lines._deleted, false)
{%- endset -%}

{{ reconciled(
    ref('fct_order_lines'), 'order_lines', 'order_id', ['hammer_price', 'quantity'], published, {'orders': '_orders_batch'},
    row=['order_id', 'line_number']
) }}
