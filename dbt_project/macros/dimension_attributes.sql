{# Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file. #}
{% macro dim_country_attributes() -%}
{{ return([
    'name',
    'region',
    'currency',
    'vat_rate',
    'updated_at'
]) }}
{%- endmacro %}

{% macro dim_customer_attributes() -%}
{{ return([
    'kind',
    'country_code',
    'status',
    'feedback_score',
    'marketing_consent',
    'registered_at'
]) }}
{%- endmacro %}

{% macro dim_lot_attributes() -%}
{{ return([
    'seller_id',
    'title',
    'category',
    'grade',
    'currency',
    'starting_price',
    'reserve_price',
    'valuation_low',
    'valuation_high',
    'handling_cost',
    'status',
    'listed_at',
    'starts_at',
    'ends_at'
]) }}
{%- endmacro %}

{% macro dim_address_attributes() -%}
{{ return([
    'customer_id',
    'city',
    'region',
    'country_code',
    'status'
]) }}
{%- endmacro %}
