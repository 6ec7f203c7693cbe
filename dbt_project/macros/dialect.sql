{#
    What DuckDB and Athena write differently. Models call these macros and hold no text of one engine only.
#}

{# A join to the records of a list column: one row for each record, its fields as columns of `alias`.
   `fields` names all fields of the record, in the order of the contract; `position`, if given, is the name of one more
   column with the record's number in the list, from 1. Rows with an empty list drop out. #}
{% macro unnest_records(column, alias, fields, position=none) -%}
    {{ adapter.dispatch('unnest_records', 'gavel')(column, alias, fields, position) }}
{%- endmacro %}

{% macro duckdb__unnest_records(column, alias, fields, position) -%}
    cross join lateral (
        select
            {% for field in fields %}record.{{ field }}{{ ', ' if not loop.last }}{% endfor %}
            {%- if position %}, {{ position }}{% endif %}
        from (
            select
                unnest({{ column }}) as record
                {%- if position %}, generate_subscripts({{ column }}, 1) as {{ position }}{% endif %}
        ) as records
    ) as {{ alias }}
{%- endmacro %}

{% macro athena__unnest_records(column, alias, fields, position) -%}
    cross join unnest({{ column }}) {{ 'with ordinality ' if position }}as {{ alias }} (
        {{- (fields + ([position] if position else [])) | join(', ') -}}
    )
{%- endmacro %}


{# Day of the week, 1 for Monday to 7 for Sunday. #}
{% macro iso_day_of_week(date) -%}
    {{ adapter.dispatch('iso_day_of_week', 'gavel')(date) }}
{%- endmacro %}

{% macro duckdb__iso_day_of_week(date) -%}
    cast(isodow({{ date }}) as integer)
{%- endmacro %}

{% macro athena__iso_day_of_week(date) -%}
    cast(day_of_week({{ date }}) as integer)
{%- endmacro %}


{# One row for each published table: entity, batch, watermark, as they were when the build began. `tables` maps entity
   names to source relations. #}
{% macro published_watermarks(tables) -%}
    {{ adapter.dispatch('published_watermarks', 'gavel')(tables) }}
{%- endmacro %}

{% macro duckdb__published_watermarks(tables) -%}
    {%- set relation = (tables.values() | list)[0] -%}
    select
        entity,
        batch,
        watermark
    from {{ relation.database }}.{{ relation.schema }}._pinned
{%- endmacro %}

{% macro athena__published_watermarks(tables) -%}
    select
        entity,
        batch,
        watermark
    from {{ pinned_watermarks() }}
{%- endmacro %}


{# A query of one column whose result several parts of a model read, kept in a table until the model is built. Athena runs
   a common table expression again wherever it is named, which costs a scan each time, and refuses a statement with more
   than 150 stages; the table is beside the model (`drop_kept_aside`). DuckDB knows how many rows a table has, not an
   expression, and would build its joins on the larger side; the table is temporary. #}
{% macro kept_aside(query, column) -%}
    {{ adapter.dispatch('kept_aside', 'gavel')(query, column) }}
{%- endmacro %}

{% macro duckdb__kept_aside(query, column) -%}
    {%- if execute and model.resource_type == 'model' and flags.WHICH in ('run', 'build') -%}
        {%- do run_query("create or replace temporary table " ~ aside().identifier ~ " as " ~ query) -%}
    select {{ column }} from {{ aside().identifier }}
    {%- else -%}
        {{ query }}
    {%- endif -%}
{%- endmacro %}

{% macro athena__kept_aside(query, column) -%}
    {%- if execute and model.resource_type == 'model' and flags.WHICH in ('run', 'build') -%}
        {%- set table = aside() -%}
        {%- set location = adapter.generate_s3_location(
            table, target.s3_data_dir, 'schema_table_unique', target.s3_tmp_table_dir, none, true
        ) -%}
        {%- do drop_relation(table) -%}
        {%- do run_query(
            "create table " ~ table ~ " with (table_type='iceberg', is_external=false, location='" ~ location
            ~ "', format='parquet') as " ~ query
        ) -%}
    select {{ column }} from {{ table }}
    {%- else -%}
        {{ query }}
    {%- endif -%}
{%- endmacro %}

{# After a model: takes away what `kept_aside` made for it. #}
{% macro drop_kept_aside() -%}
    {%- if execute and target.type == 'athena' and config.get('materialized') == 'incremental' -%}
        {%- do drop_relation(aside()) -%}
    {%- endif -%}
{%- endmacro %}

{% macro aside(mart=this) -%}
    {{ return(api.Relation.create(mart.database, mart.schema, (mart.identifier or mart.alias) ~ '__changed', type='table')) }}
{%- endmacro %}

{# What `kept_aside` makes for the mart of this name, as another model's text reads it. #}
{% macro kept_aside_of(name) -%}
    {{ adapter.dispatch('kept_aside_of', 'gavel')(aside(mart_named(name))) }}
{%- endmacro %}

{% macro duckdb__kept_aside_of(table) -%}
    {{ table.identifier }}
{%- endmacro %}

{% macro athena__kept_aside_of(table) -%}
    {{ table }}
{%- endmacro %}
