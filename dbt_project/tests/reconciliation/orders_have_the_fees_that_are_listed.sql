with

sums as (
    select
        order_id,
        buyer_fees + seller_fees as amount
    from {{ ref('fct_orders') }}

    union all

    select
        order_id,
        -amount as amount
    from {{ ref('fct_order_fees') }}
)

select
    order_id,
    sum(amount) as too_much
from sums
group by order_id
having sum(amount) <> 0
