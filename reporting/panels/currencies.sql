select
    currency,
    cast(sum(sales) as bigint) as sales,
    cast(sum(bids) as bigint) as bids
from (
    select currency, case when is_sale then 1 else 0 end as sales, 0 as bids
    from {{ ref('fct_orders') }}
    union all
    select currency, 0 as sales, 1 as bids
    from {{ ref('fct_bids') }}
    where is_accepted
    {% for report in reports %}
    union all
    select distinct currency, 0 as sales, 0 as bids
    from {{ report }}
    {% endfor %}
) as known
group by currency
order by sales desc, bids desc, currency asc
