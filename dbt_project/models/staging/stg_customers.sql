-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'customers') }}
)

select
    customer_id,
    {{ masked('name') }} as name,
    {{ masked('email') }} as email,
    {{ masked('phone') }} as phone,
    kind,
    country_code,
    status,
    feedback_score,
    marketing_consent,
    tags,
    registered_at,
    _version,
    _changed_at,
    _expired,
    _batch
from source
where not coalesce(_deleted, false)
