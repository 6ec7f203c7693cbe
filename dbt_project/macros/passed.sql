{#
    What a test looks at. What has passed need not be looked at again: a build of what has news says of each test by
    `GAVEL_PASSED` up to which commit of each entity it has passed, and which one is published by now
    (`warehouse/passed.py`). The commits are written into the statement as numbers, so that an engine passes over the
    files that hold older rows only. Every other build, and whoever starts dbt by hand, tests all rows there are.
#}

{# What the test that is running knows of an entity: (commit up to which it has passed, commit that is published), or none. #}
{% macro passed(entity) -%}
    {%- if not execute or not entity -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return(fromjson(env_var('GAVEL_PASSED', '{}')).get(model.unique_id, {}).get(entity)) }}
{%- endmacro %}

{# The entity whose commits `_batch` of a mart counts; its model says so. None for what has no such column. #}
{% macro commits_of(relation) -%}
    {%- if not execute -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set mart = graph.nodes.get('model.' ~ project_name ~ '.' ~ relation.identifier, {}) -%}
    {{ return(mart.get('config', {}).get('meta', {}).get('commits_of')) }}
{%- endmacro %}

{# The rows of a mart that a test looks at: those that later commits changed than it has passed, or all. `changes_by` lists
   the columns whose commits change what is tested, each with its entity; without it that is `_batch` alone, for what is
   true of an item by itself, or of rows that always have one `_batch`. Each part asks for one column, as engines pass
   over files by one range; what an engine knows to be empty, it does not read, nor what is joined to it. #}
{% macro to_test(mart, changes_by=none) -%}
    {%- set parts, before, unknown = [], [], [] -%}
    {%- for column, entity in (changes_by or {'_batch': commits_of(mart)}).items() -%}
        {%- set commits = passed(entity) -%}
        {%- if not commits -%}
            {%- do unknown.append(entity) -%}
        {%- elif commits[1] > commits[0] -%}
            {%- do parts.append((["select * from " ~ mart ~ " where " ~ column ~ " > " ~ commits[0]] + before) | join(" and ")) -%}
            {%- do before.append("coalesce(" ~ column ~ ", -1) <= " ~ commits[0]) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ mart if unknown else '(' ~ (parts or ["select * from " ~ mart ~ " where false"]) | join(' union all ') ~ ')' }}
{%- endmacro %}

{# Whether something of these entities is new to the test. #}
{% macro have_news(entities) -%}
    {%- set changed = [] -%}
    {%- for entity in entities -%}
        {%- set commits = passed(entity) -%}
        {%- if not commits or commits[1] > commits[0] -%}
            {%- do changed.append(entity) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(changed | length > 0) }}
{%- endmacro %}
