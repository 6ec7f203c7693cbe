/*
subtitle: Which customers bring the house profit, and which bring losses?
title: Who brings profit, who brings losses
source: rpt_profit_by_party
number: first.losses | money
label: is the result of all customers that bring losses
summary: >-
  {% if first.profit > 0 %}{{ first.party_id }} brings most: {{ first.profit | money }}.{% endif %}
  {{ last.party_id ~ ' costs most: ' ~ last.profit | money if last.profit < 0 else 'No customer brings a loss' }}.
columns:
  Customer: party_id
  Premium: buyers_premium | money
  Commission: sellers_commission | money
  Fees: fees | money
  Refunds: refunds | money
  Payment fees: payment_fees | money
  Shipping: shipping_cost | money
  Handling: handling_cost | money
  Profit: profit | money
chart:
  kind: ranking
  name: party_id
  bars: {Profit: profit}
  colours: [sign]
  axis: money
  row_height: 24
note: >-
  Customers are shown by their id, because names are personal data: whoever may see them finds them by it in
  personal.personal_customers.
*/
with parties as (
    select
        *,
        sum(case when profit < 0 then profit else 0 end) over () as losses,
        row_number() over (order by profit desc, party_id asc) as from_top,
        row_number() over (order by profit, party_id) as from_bottom
    from {{ ref('rpt_profit_by_party') }}
    where currency = {{ currency }}
)

select *
from parties
where (from_top <= 6 and profit > 0) or (from_bottom <= 6 and profit < 0)
order by profit desc, party_id asc
