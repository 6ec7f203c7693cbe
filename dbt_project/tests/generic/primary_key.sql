{# One query instead of not_null and unique on each column. #}
{% test primary_key(model, columns) %}
select {{ columns | join(', ') }}
from {{ to_test(model) }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in columns %}
    or {{ column }} is null
    {%- endfor %}
{% endtest %}
