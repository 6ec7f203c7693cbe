/*
subtitle: Where do buyers live?
title: Where buyers live
source: rpt_sales_by_category_country_and_month
define:
  total: rows.net_sales.sum()
shown_if: (rows.region != 'Unknown').any()
number: (first.of_country / total if total > 0 else none) | percent
label: >-
  of net sales come from buyers
  {{ 'whose country is not known' if first.country_name == 'Unknown' else 'in ' ~ first.country_name }}
summary: >-
  Buyers in {{ rows.country_name.nunique() | count('country', 'countries') }} brought {{ total | money }} net sales.
columns:
  Country: country_name
  Region: region
  Sales: sales | number
  Net sales: net_sales | money
  House earnings: house_earnings | money
chart:
  kind: ranking
  name: country_name
  bars: {Net sales: of_country}
  axis: money
  row_height: 26
*/
select
    country_name,
    region,
    cast(sum(sales) as bigint) as sales,
    sum(net_sales) as net_sales,
    sum(house_earnings) as house_earnings,
    sum(sum(net_sales)) over (partition by country_name) as of_country
from {{ ref('rpt_sales_by_category_country_and_month') }}
where currency = {{ currency }}
group by country_name, region
order by of_country desc, country_name asc, net_sales desc, region asc
