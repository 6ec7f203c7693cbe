with

sums as (
    select
        order_id,
        buyer_fees + seller_fees as amount
    from {{ to_test(ref('fct_orders')) }} as orders

    union all

    select
        order_id,
        -amount as amount
    from {{ to_test(ref('fct_order_fees')) }} as fees
)

select
    order_id,
    sum(amount) as too_much
from sums
group by order_id
having sum(amount) <> 0
