with

sums as (
    select
        currency,
        profit
    from {{ ref('rpt_profit_by_party') }}

    union all

    select
        currency,
        -house_earnings as profit
    from {{ ref('fct_orders') }}

    union all

    select
        currency,
        coalesce(handling_cost, 0) as profit
    from {{ ref('dim_lot') }}
    where is_current and not is_removed
)

select
    currency,
    sum(profit) as profit_too_much
from sums
group by currency
having sum(profit) <> 0
