with

invoices as (
    select *
    from {{ ref('stg_invoices') }}
    where {{ is_changed('invoice_id', of='fct_invoices') }}
),

-- Money counts once it is settled, and only in the currency of its invoice: sums of two currencies mean nothing.
counted_payments as (
    select
        invoices.invoice_id,
        invoices.total_amount,
        payments.payment_id,
        payments.created_at,
        case
            when payments.status = 'settled' and payments.currency = invoices.currency
                then case when payments.kind = 'refund' then -payments.amount else payments.amount end
        end as settled_amount,
        payments._batch
    from invoices
    inner join {{ ref('stg_payments') }} as payments on invoices.invoice_id = payments.invoice_id
),

running_payments as (
    select
        *,
        sum(settled_amount) over (
            partition by invoice_id
            order by created_at, payment_id
            rows between unbounded preceding and current row
        ) as settled_so_far
    from counted_payments
)

select
    invoice_id,
    max(_batch) as payments_batch,
    sum(settled_amount) as settled_amount,
    min(case when settled_so_far >= total_amount then created_at end) as settled_at
from running_payments
group by invoice_id
