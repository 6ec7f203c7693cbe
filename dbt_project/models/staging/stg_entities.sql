-- Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file.
select
    'bids' as entity,
    'trading' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'bids') }}

union all

select
    'countries' as entity,
    'platform' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'countries') }}

union all

select
    'customers' as entity,
    'trading' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'customers') }}

union all

select
    'estimates' as entity,
    'finance' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'estimates') }}

union all

select
    'invoice_lines' as entity,
    'finance' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'invoice_lines') }}

union all

select
    'invoices' as entity,
    'finance' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'invoices') }}

union all

select
    'lots' as entity,
    'trading' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'lots') }}

union all

select
    'order_lines' as entity,
    'trading' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'order_lines') }}

union all

select
    'orders' as entity,
    'trading' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'orders') }}

union all

select
    'payments' as entity,
    'finance' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'payments') }}

union all

select
    'shipments' as entity,
    'logistics' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'shipments') }}

union all

select
    'shipping_addresses' as entity,
    'logistics' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'shipping_addresses') }}

union all

select
    'virtual_requests' as entity,
    'trading' as owner,
    15 as freshness_minutes,
    max(_changed_at) as newest_change
from {{ source('catalog', 'virtual_requests') }}
