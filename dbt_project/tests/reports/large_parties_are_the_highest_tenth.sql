select
    role,
    currency,
    sum(case when party_group = 'large' then 1 else 0 end) as large,
    sum(case when party_group <> 'lapsed' then 1 else 0 end) as active
from {{ ref('rpt_party_groups') }}
group by role, currency
having
    sum(case when party_group = 'large' then 1 else 0 end)
    > {{ var('large_party_share') }} * sum(case when party_group <> 'lapsed' then 1 else 0 end)
