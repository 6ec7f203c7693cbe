{# In place of dbt's own, which looks at all rows each time. #}
{% test relationships(model, column_name, to, field) %}
select pointing.{{ column_name }}
from {{ to_test(model) }} as pointing
left join {{ to }} as there on pointing.{{ column_name }} = there.{{ field }}
where pointing.{{ column_name }} is not null and there.{{ field }} is null
{% endtest %}
