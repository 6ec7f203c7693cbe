/*
subtitle: What is owed to the house, and for how long?
title: What is owed, by age
source: rpt_receivables_by_age
define:
  owed: rows.owed.sum()
  late: rows[rows.band_number > 1]
  overdue: late.owed.sum()
  invoices: late.invoices.sum()
shown_if: owed
number: owed | money
label: is owed to the house on {{ rows.invoices.sum() | count('open invoice') }}
summary: >-
  {% if overdue %}
  {{ invoices | count('invoice is', 'invoices are') }} past {{ invoices | plural('its due date', 'their due dates') }}:
  {{ overdue | money }}, {{ (overdue / owed) | percent }} of all.
  {% else %}
  Nothing is past its due date.
  {% endif %}
columns:
  Age: age_band
  Buyers invoices: buyer_invoices | number
  Buyers owe: buyer_owes | money
  Sellers invoices: seller_invoices | number
  Sellers owe: seller_owes | money
optional: [Buyers invoices, Buyers owe, Sellers invoices, Sellers owe]
chart:
  kind: ranking
  name: age_band
  bars: {Buyers: buyer_owes, Sellers: seller_owes}
  axis: money
  stacked: true
*/
select
    band_number,
    {{ capital('age_band') }} as age_band,
    {% for role in ['buyer', 'seller'] %}
    cast(sum(invoices) filter (where role = {{ role }}) as bigint) as {{ column(role ~ '_invoices') }},
    sum(open_amount) filter (where role = {{ role }}) as {{ column(role ~ '_owes') }},
    {% endfor %}
    cast(sum(invoices) as bigint) as invoices,
    sum(open_amount) as owed
from {{ ref('rpt_receivables_by_age') }}
where currency = {{ currency }}
group by band_number, {{ capital('age_band') }}
order by band_number
