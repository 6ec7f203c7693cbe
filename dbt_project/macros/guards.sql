{# A full refresh of production computes everything again, at its price, so it has to be requested twice. #}
{% macro refuse_full_refresh_in_production() %}
    {%- if execute and flags.FULL_REFRESH and target.name == 'prod' and not var('allow_full_refresh', false) -%}
        {{ exceptions.raise_compiler_error(
            "A full refresh of prod computes every mart again, from all rows there are. If you mean it, add "
            ~ "--vars 'allow_full_refresh: true'."
        ) }}
    {%- endif -%}
{% endmacro %}
