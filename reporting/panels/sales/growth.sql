/*
subtitle: What grew in the last whole quarter against the year before, and what fell?
title: Growth by {{ one }}
source: rpt_sales_growth_by_quarter
variants:
  - {many: categories, one: category, by: category}
  - {many: countries, one: country, by: country_name}
define:
  quarter: first.sales_quarter | period('quarter')
  most: rows | top('growth')
  least: rows | bottom('growth')
shown_if: rows.name.unique().tolist() != ['Unknown'] and rows.net_sales.any() and rows.year_before.any()
number: (rows.growth > 0).sum() ~ ' of ' ~ rows | length
label: "{{ rows | length | plural(one, many) }} sold more in {{ quarter }} than a year before"
summary: >-
  {% if most.growth > 0 %}{{ most.name }} grew most, by {{ most.growth | money }}.{% endif %}
  {% if least.growth < 0 %}{{ least.name }} fell most, by {{ -least.growth | money }}.{% endif %}
  {% if not rows.growth.any() %}Nothing grew or fell.{% endif %}
columns:
  "{{ one | capital }}": name
  Net sales: net_sales | money
  Year before: year_before | money
  Growth: net_sales | growth(year_before)
chart:
  kind: ranking
  name: name
  bars: {"{{ quarter }}": net_sales, Year before: year_before}
  colours: [navy, pale]
  axis: money
  row_height: 34
*/
select
    sales_quarter,
    {% if by == 'category' %}{{ category() }}{% else %}{{ capital('country_name') }}{% endif %} as name,
    sum(net_sales) as net_sales,
    sum(net_sales_year_before) as year_before,
    sum(net_sales) - sum(net_sales_year_before) as growth
from {{ ref('rpt_sales_growth_by_quarter') }}
where
    currency = {{ currency }}
    and sales_quarter = (
        select max(every.sales_quarter)
        from {{ ref('rpt_sales_growth_by_quarter') }} as every
        where every.currency = {{ currency }} and every.is_complete and every.net_sales > 0
    )
group by 1, 2
having sum(net_sales) > 0 or sum(net_sales_year_before) > 0
order by 3 desc, 2 asc
