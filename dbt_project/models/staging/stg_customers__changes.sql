-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
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
    _event_id,
    _op,
    _version,
    _seq,
    _changed_at,
    _batch
from {{ source('catalog', 'customers_changes') }}
