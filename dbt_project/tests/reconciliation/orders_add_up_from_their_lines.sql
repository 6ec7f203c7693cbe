{#- Lines have the commit of their order. Where some are new by themselves, their orders may be any. -#}
{%- set orders, lines = ref('fct_orders'), ref('fct_order_lines') -%}
{%- if not have_news(['order_lines']) -%}
    {%- set orders, lines = to_test(orders), to_test(lines, {'_orders_batch': 'orders'}) -%}
{%- endif -%}

select
    orders.order_id,
    orders.currency,
    orders.hammer_price,
    sum(lines.hammer_price) as of_its_lines
from {{ orders }} as orders
inner join {{ lines }} as lines on orders.order_id = lines.order_id
group by orders.order_id, orders.currency, orders.hammer_price
having sum(lines.hammer_price) <> orders.hammer_price
