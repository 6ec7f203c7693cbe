{# The data time of a model: the moment up to which all that arrived is in every table that it reads. Tables that were
   never published hold nothing that could be late. #}
{% macro data_time(entities) -%}
    (
        select min(watermarks.watermark)
        from {{ ref('stg_watermarks') }} as watermarks
        where watermarks.entity in ('{{ entities | join("', '") }}')
    )
{%- endmacro %}


{# Before the first model of a build on Athena: a view of batch and watermark of each published table, as their catalog
   entries say. Rows that are published later may be read by the models as well, so that a report holds what its data
   time promises, and perhaps more. Locally, opening the warehouse pins the tables (`warehouse/sources.py`). #}
{% macro pin_watermarks() %}
    {%- if execute and target.type == 'athena' and flags.WHICH in ('run', 'build', 'freshness') -%}
        {%- set view = pinned_watermarks() -%}
        {%- do adapter.create_schema(view) -%}
        create or replace view {{ view }} as
        {%- for source in graph.sources.values() if source.source_name == 'catalog' %}
            {%- set entry = adapter.get_glue_table(api.Relation.create(source.database, source.schema, source.identifier)) %}
            {%- set parameters = entry['Table'].get('Parameters', {}) if entry else {} %}
            {%- if 'gavel.batch' in parameters %}
        select
            '{{ source.name }}' as entity,
            cast({{ parameters['gavel.batch'] }} as bigint) as batch,
            {{ utc_literal(parameters.get('gavel.watermark')) }} as watermark
        union all
            {%- endif %}
        {%- endfor %}
        select
            cast(null as varchar) as entity,
            cast(null as bigint) as batch,
            cast(null as timestamp(6)) as watermark
        where false
    {%- endif -%}
{% endmacro %}

{# Where a build on Athena keeps what it pinned. #}
{% macro pinned_watermarks() -%}
    {{ return(api.Relation.create(target.database, generate_schema_name('staging', none), 'pinned_watermarks', type='view')) }}
{%- endmacro %}

{# ISO 8601 text with an offset as a timestamp in UTC; null for none. #}
{% macro utc_literal(text) -%}
    {%- if text is none -%}
        cast(null as timestamp(6))
    {%- else -%}
        {%- set moment = modules.datetime.datetime.fromisoformat(text).astimezone(modules.pytz.utc) -%}
        cast('{{ moment.strftime("%Y-%m-%d %H:%M:%S.%f") }}' as timestamp(6))
    {%- endif -%}
{%- endmacro %}
