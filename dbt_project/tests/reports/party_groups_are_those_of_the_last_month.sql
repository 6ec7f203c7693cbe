with

counts as (
    select
        role,
        currency,
        party_group,
        1 as parties
    from {{ ref('rpt_party_groups') }}

    union all

    select
        role,
        currency,
        party_group,
        -parties as parties
    from {{ ref('rpt_party_group_trends') }}
    where report_month = cast(date_trunc('month', data_time) as date)
)

select
    role,
    currency,
    party_group,
    sum(parties) as parties_too_many
from counts
group by role, currency, party_group
having sum(parties) <> 0
