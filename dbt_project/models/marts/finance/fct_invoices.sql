{{ config(
    materialized='incremental',
    unique_key='invoice_id',
    partitioned_by=['month(issued_at)'] if target.type == 'athena' else none,
    post_hook="{{ delete_removed(ref('stg_invoices__keys'), 'invoice_id') }}"
) }}

with

{{ changed_keys(
    'invoice_id',
    [
        (ref('stg_invoices__keys'), '_batch'),
        (ref('stg_invoice_lines__keys'), '_lines_batch'),
        (ref('stg_payments__keys'), '_payments_batch')
    ],
    also=[
        keys_before_a_move(
            'invoice_id', ref('stg_payments__keys'), ref('stg_payments__changes'), 'payment_id', '_payments_batch'
        ),
        stale_keys(
            'invoice_id', 'dim_customer', 'customer_id', 'customer_key', '_customers_batch',
            refers='party_id', points='party_key', at='issued_at'
        ),
        days_grown_into('invoice_id', 'issued_on', 'issued_day_key')
    ]
) }}

invoices as (
    select *
    from {{ ref('stg_invoices') }}
    where {{ is_changed('invoice_id') }}
),

lines as (
    select
        invoice_id,
        count(*) as lines,
        max(_batch) as lines_batch,
        {%- for kind, amount in {
            'hammer_price': 'hammer_price', 'buyers_premium': 'buyers_premium',
            'sellers_commission': 'sellers_commission', 'fee': 'fees', 'shipping': 'shipping', 'tax': 'tax'
        }.items() %}
        sum(case when kind = '{{ kind }}' then amount else 0 end) as {{ amount }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('stg_invoice_lines') }}
    where {{ is_changed('invoice_id') }}
    group by invoice_id
),

amounts as (
    select
        invoices.*,
        parties.customer_key as party_key,
        {%- for amount in [
            'lines.hammer_price', 'lines.buyers_premium', 'lines.sellers_commission', 'lines.fees', 'lines.shipping',
            'lines.tax', 'payments.settled_amount'
        ] %}
        cast(coalesce({{ amount }}, 0) as decimal(24, 2)) as {{ amount.split('.')[1] }},
        {%- endfor %}
        coalesce(lines.lines, 0) as lines,
        payments.settled_at,
        lines.lines_batch,
        payments.payments_batch,
        {{ newest_state(['parties']) }} as customers_batch
    from invoices
    left join lines on invoices.invoice_id = lines.invoice_id
    left join {{ ref('int_invoices__payments') }} as payments on invoices.invoice_id = payments.invoice_id
    left join {{ states_of('dim_customer', 'customer_id', 'customer_key') }} as parties
        on invoices.party_id = parties.customer_id and {{ was_valid('parties', 'invoices.issued_at') }}
),

-- The status of an invoice decides whether it is open: statements to sellers are balanced without payments.
balances as (
    select
        *,
        cast(
            case
                when status in ('paid', 'void') or settled_amount >= total_amount then 0
                else total_amount - settled_amount
            end as decimal(24, 2)
        ) as open_amount
    from amounts
)

select
    invoice_id,
    order_id,
    party_id,
    party_key,
    role,
    currency,
    cast(total_amount as decimal(24, 2)) as total_amount,
    cast(coalesce(tax_amount, 0) as decimal(24, 2)) as tax_amount,
    status,
    issued_at,
    cast(issued_at as date) as issued_on,
    {{ day_key('issued_at') }} as issued_day_key,
    due_at,
    hammer_price,
    buyers_premium,
    sellers_commission,
    fees,
    shipping,
    tax,
    lines,
    settled_amount,
    settled_at,
    open_amount,
    open_amount > 0 as is_open,
    _changed_at,
    _batch,
    lines_batch as _lines_batch,
    payments_batch as _payments_batch,
    customers_batch as _customers_batch
from balances
