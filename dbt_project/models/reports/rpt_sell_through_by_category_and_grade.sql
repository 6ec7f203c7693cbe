with

lots as (
    select
        *,
        case when status = 'sold' then lot_id end as sold_lot_id
    from {{ ref('dim_lot') }}
    where is_current and not is_removed and status in ('open', 'sold', 'unsold')
),

orders as (
    select * from {{ ref('fct_orders') }}
    where is_sale
),

orders_with_lines as (
    select distinct order_id
    from {{ ref('fct_order_lines') }}
),

-- A sale of several lots says what each brought in its lines; a sale of one lot need not have lines.
sold_pieces as (
    select
        lot_id,
        currency,
        hammer_price
    from {{ ref('fct_order_lines') }}
    where is_sale

    union all

    select
        orders.lot_id,
        orders.currency,
        orders.hammer_price
    from orders
    left join orders_with_lines on orders.order_id = orders_with_lines.order_id
    where orders.lot_id is not null and orders_with_lines.order_id is null
),

prices as (
    select
        lot_id,
        currency,
        sum(hammer_price) as hammer_price
    from sold_pieces
    group by lot_id, currency
),

priced as (
    select
        lots.category,
        coalesce(lots.grade, 'Not graded') as grade,
        lots.currency,
        lots.status,
        lots.valuation_low,
        lots.valuation_high,
        prices.hammer_price,
        prices.hammer_price is not null
        -- One that lacks an end or is upside down is no valuation.
        and coalesce(lots.valuation_low <= lots.valuation_high, false) as is_compared
    from lots
    -- Keys alone: with a further condition on lots, DuckDB compares every lot with every price.
    left join prices
        on lots.sold_lot_id = prices.lot_id and lots.currency = prices.currency
),

groups_of_lots as (
    select
        category,
        grade,
        currency,
        sum(case when status = 'open' then 1 else 0 end) as lots_open,
        sum(case when status <> 'open' then 1 else 0 end) as lots_offered,
        sum(case when status = 'sold' then 1 else 0 end) as lots_sold,
        sum(case when status = 'sold' then hammer_price else 0 end) as hammer_price,
        sum(case when is_compared then 1 else 0 end) as lots_compared,
        sum(case when is_compared and hammer_price < valuation_low then 1 else 0 end) as lots_below_valuation,
        sum(case when is_compared and hammer_price > valuation_high then 1 else 0 end) as lots_above_valuation,
        sum(case when is_compared then hammer_price else 0 end) as compared_hammer_price,
        sum(case when is_compared then valuation_low else 0 end) as compared_valuation_low,
        sum(case when is_compared then valuation_high else 0 end) as compared_valuation_high
    from priced
    group by category, grade, currency
)

select
    category,
    grade,
    currency,
    {%- for lots in ['open', 'offered', 'sold', 'compared', 'below_valuation', 'above_valuation'] %}
    cast(lots_{{ lots }} as bigint) as lots_{{ lots }},
    {%- endfor %}
    case when lots_offered > 0 then cast(lots_sold as double) / lots_offered end as sell_through_rate,
    {%- for amount in ['hammer_price', 'compared_hammer_price', 'compared_valuation_low', 'compared_valuation_high'] %}
    cast(coalesce({{ amount }}, 0) as decimal(38, 2)) as {{ amount }},
    {%- endfor %}
    case
        when compared_valuation_low + compared_valuation_high > 0
            then
                2 * cast(compared_hammer_price as double)
                / cast(compared_valuation_low + compared_valuation_high as double)
    end as price_to_valuation,
    {{ data_time(['lots', 'orders', 'order_lines']) }} as data_time
from groups_of_lots
