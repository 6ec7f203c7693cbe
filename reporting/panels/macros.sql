{# What several queries say alike. #}
{% macro capital(name) %}
upper(substr({{ name }}, 1, 1)) || substr({{ name }}, 2)
{% endmacro %}
{# A category is called what is on it, so that each name is one category. #}
{% macro category() %}
coalesce(nullif(upper(substr(trim(category), 1, 1)) || substr(trim(category), 2), ''), 'No name')
{% endmacro %}
