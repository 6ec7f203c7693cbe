/*
subtitle: How far behind is each table?
title: Freshness of the tables
source: rpt_data_freshness
define:
  published: rows[rows.watermark.notna()]
  late: published[published.is_late == true]
  fresh: published | length - late | length
  behind: published | top('lag_minutes')
shown_if: published | length
number: fresh ~ ' of ' ~ published | length
label: >-
  published {{ published | length | plural('table') }} {{ fresh | is_or_are(published | length) }} as fresh as promised
summary: >-
  {% if late | length %}Late: {{ late.entity | join(', ') }}.{% endif %}
  {{ behind.entity }} is furthest behind: {{ behind.lag_minutes | number(1) }} minutes.
columns:
  Table: entity
  Owner: owner
  Data until: watermark | minute
  Newest change: newest_change | minute
  Behind: "'not published' if watermark is none else lag_minutes | number(1) ~ ' min'"
  Promised: promised_minutes | number ~ ' min'
spare: [Owner, Promised]
chart: {kind: table}
wide: true
*/
select *
from {{ ref('rpt_data_freshness') }}
order by is_late desc, lag_minutes desc, entity asc
