select
    orders.order_id,
    orders.currency,
    orders.hammer_price,
    sum(lines.hammer_price) as of_its_lines
from {{ ref('fct_orders') }} as orders
inner join {{ ref('fct_order_lines') }} as lines on orders.order_id = lines.order_id
group by orders.order_id, orders.currency, orders.hammer_price
having sum(lines.hammer_price) <> orders.hammer_price
