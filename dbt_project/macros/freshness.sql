{# The models that somebody reads, each with the lag in minutes that its strictest consumer accepts: `name`, `owner`,
   `target_minutes`. #}
{% macro accepted_lags() -%}
    {%- set lags, owners = {}, {} -%}
    {%- if execute -%}
        {%- for consumer in graph.exposures.values() -%}
            {%- set minutes = consumer.config.meta.maximum_lag_minutes -%}
            {%- for id in consumer.depends_on.nodes if id in graph.nodes -%}
                {%- set name = graph.nodes[id].name -%}
                {%- if name not in lags or minutes < lags[name] -%}
                    {%- do lags.update({name: minutes}) -%}
                    {%- do owners.update({name: graph.nodes[id].config.meta.get('owner') or 'analytics'}) -%}
                {%- endif -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
    {%- for name in lags | sort %}
    select
        '{{ name }}' as name,
        '{{ owners[name] }}' as owner,
        {{ lags[name] }} as target_minutes
    union all
    {%- endfor %}
    select
        cast(null as varchar) as name,
        cast(null as varchar) as owner,
        cast(null as integer) as target_minutes
    where false
{%- endmacro %}
