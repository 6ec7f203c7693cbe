-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
with source as (
    select * from {{ source('catalog', 'customers') }}
)

select
    customer_id,
    name,
    email,
    phone
from source
where not coalesce(_deleted, false)
