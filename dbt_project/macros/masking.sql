{#
    What staging shows of personal data. A mask says whether there is a value and nothing of what it is: neither its
    length nor a hash, which whoever has a list of addresses or telephone numbers could look up.
#}

{# The mask of a text column. #}
{% macro masked(column) -%}
    case when {{ column }} is not null then '***' end
{%- endmacro %}

{# Null, in the type of the column, which has no text to say more. #}
{% macro hidden(column) -%}
    case when false then {{ column }} end
{%- endmacro %}
