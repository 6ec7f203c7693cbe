{#
    Groups of buyers and sellers, as of a month. The window is that month and the eleven before it.

    lapsed     the party's last sale lies before the window
    large      by net sales within the window, among the highest tenth of all parties that sold or bought in it
    new        its first sale lies within the window
    returning  it sold or bought within the window and before it
#}

{# Rows of `sales`, one for each party of a sale and role: party_id, role, currency, placed_at, net_sales, house_earnings.
   Cancelled orders are no sales. #}
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
    where is_sale
    {{ 'union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# First month of the window that ends with `month`. #}
{% macro first_month_of_window(month) -%}
    cast({{ dbt.dateadd('month', 1 - var('party_window_months'), month) }} as date)
{%- endmacro %}

{# Position of a party among those with sales in the window, by its net sales there: 0 for the lowest, 1 for the highest. #}
{% macro share_below(value, group) -%}
    percent_rank() over (partition by {{ group | join(', ') }} order by {{ value }})
{%- endmacro %}

{# Group of a party that has sales within the window. #}
{% macro active_party_group(share_below, first_month, window_start) -%}
    case
        when {{ share_below }} >= 1 - {{ var('large_party_share') }} then 'large'
        when {{ first_month }} >= {{ window_start }} then 'new'
        else 'returning'
    end
{%- endmacro %}
