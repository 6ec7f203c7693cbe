{#
    Groups of buyers and sellers, as of a month. The window is so many months as `party_window_months` says, the last of
    them that month.

    lapsed     the party's last sale lies before the window
    large      by net sales within the window, among the highest tenth of all parties that sold or bought in it: never
               more than a tenth, so that of fewer than ten none is large; equal parties are all large, or none
    new        its first sale lies within the window
    returning  it sold or bought within the window and before it
#}

{# Rows of `sales`, one for each party of a sale and role: party_id, role, currency, placed_at, net_sales, house_earnings.
   Cancelled orders are no sales, and what is dated after the data time is none so far. Reads `clock`, the data time. #}
{% macro sales_by_party() -%}
    {%- for role in ['buyer', 'seller'] %}
    select
        {{ role }}_id as party_id,
        '{{ role }}' as role,
        currency,
        placed_at,
        {{ first_day_of('month', 'placed_at') }} as sales_month,
        net_sales,
        earned_from_{{ role }} as house_earnings
    from {{ ref('fct_orders') }}
    cross join clock
    where is_sale and placed_at <= clock.data_time
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# First month of the window that ends with `month`. #}
{% macro first_month_of_window(month) -%}
    cast({{ dbt.dateadd('month', 1 - var('party_window_months'), month) }} as date)
{%- endmacro %}

{# First day of the first month that trends show at a time: however old a sale is, so many months have rows. #}
{% macro first_month_of_trends(time) -%}
    cast({{ dbt.dateadd('month', 1 - var('trend_months'), first_day_of('month', time)) }} as date)
{%- endmacro %}

{# Those of `sales` (as `sales_by_party` gives them) in sum, one row for each party, role, currency and month, with the
   first month of the party. #}
{% macro sales_by_party_and_month(sales) -%}
    select
        party_id,
        role,
        currency,
        sales_month,
        count(*) as sales,
        sum(net_sales) as net_sales,
        sum(house_earnings) as house_earnings,
        min(sales_month) over (partition by party_id, role, currency) as first_month
    from {{ sales }}
    group by party_id, role, currency, sales_month
{%- endmacro %}

{# The months that trends show, each with the first one of its window. Reads `clock`, the data time. #}
{% macro months_of_trends(sales) -%}
    select distinct
        dates.month_start as report_month,
        {{ first_month_of_window('dates.month_start') }} as window_start
    from {{ ref('dim_date') }} as dates
    cross join clock
    where dates.month_start between (select min(sales_month) from {{ sales }}) and {{ first_day_of('month', 'clock.data_time') }}
        and dates.month_start >= {{ first_month_of_trends('clock.data_time') }}
{%- endmacro %}

{# Position of a row in its group by a value, from 0 for the lowest to 1 for the highest. Equal rows are equal, at the lower end. #}
{% macro share_below(value, group) -%}
    percent_rank() over (partition by {{ group | join(', ') }} order by {{ value }})
{%- endmacro %}

{# Share of the group's rows that are as high as the row, or higher. #}
{% macro share_from_top(value, group) -%}
    cume_dist() over (partition by {{ group | join(', ') }} order by {{ value }} desc)
{%- endmacro %}

{# Score of a position from `share_below`: 1 for the lowest fifth to 5 for the highest. #}
{% macro fifth_of(position) -%}
    case
        {%- for score in [5, 4, 3, 2] %}
        when {{ position }} >= 0.{{ 2 * score - 2 }} then {{ score }}
        {%- endfor %}
        else 1
    end
{%- endmacro %}

{# Group of a party. Without `is_active`, all are known to have sales within the window. #}
{% macro party_group(share_from_top, first_month, window_start, is_active=none) -%}
    case
        {%- if is_active %}
        when not {{ is_active }} then 'lapsed'
        {%- endif %}
        when {{ share_from_top }} <= {{ var('large_party_share') }} then 'large'
        when {{ first_month }} >= {{ window_start }} then 'new'
        else 'returning'
    end
{%- endmacro %}
