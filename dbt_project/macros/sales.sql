{#
    The orders behind the sales reports, each with the category of its lot as it is now and with the country that its
    buyer lived in when it was placed.
#}
{% macro orders_by_category_and_country() -%}
    select
        orders.*,
        case
            when orders.lot_id is null then 'Several lots'
            else coalesce(lots.category, 'Unknown lot')
        end as category,
        coalesce(orders.buyer_country_code, 'ZZ') as country_code
    from {{ ref('fct_orders') }} as orders
    left join {{ ref('dim_lot') }} as lots on orders.lot_id = lots.lot_id and lots.is_current
{%- endmacro %}

{# Names of the countries as they are now, by code. #}
{% macro country_names() -%}
    select
        country_code,
        name as country_name
    from {{ ref('dim_country') }}
    where is_current
{%- endmacro %}
