/*
subtitle: Which {{ role }}s {{ verb }} most?
title: Top {{ role }}s
source: rpt_profit_by_party
variants:
  - {role: buyer, verb: bought}
  - {role: seller, verb: sold}
number: rows.amount.sum() | money
label: >-
  {{ verb }} by {{ 'the ' ~ role ~ ' below' if rows | length == 1 else 'these ' ~ rows | length | count(role) }}
summary: "{{ first.party_id }} {{ verb }} most: {{ first.amount | money }} in {{ first.orders | count('order') }}."
columns:
  "{{ role | capital }}": party_id
  Country: country_code or '–'
  Orders: orders | number
  "{{ verb | capital }}": amount | money
  Earned: earned | money
optional: [Country]
chart: {kind: table, share: amount}
note: >-
  Customers are shown by their id, because names are personal data: whoever may see them finds them by it in
  personal.personal_customers.
*/
select
    party_id,
    country_code,
    {{ column(verb ~ '_orders') }} as orders,
    {{ column(verb ~ '_amount') }} as amount,
    {{ column('profit_as_' ~ role) }} as earned
from {{ ref('rpt_profit_by_party') }}
where currency = {{ currency }} and {{ column(verb ~ '_orders') }} > 0
order by {{ column('rank_as_' ~ role) }}, party_id
limit 10
