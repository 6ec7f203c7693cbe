{# `changes_by` lists the columns whose commits may make a row meet the condition, each with its entity; without it, all
   rows are looked at each time. #}
{% test no_rows_where(model, condition, changes_by=none) %}
select *
from {{ to_test(model, changes_by) if changes_by else model }}
where {{ condition }}
{% endtest %}
