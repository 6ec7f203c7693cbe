select
    invoice_id,
    currency,
    total_amount,
    hammer_price + buyers_premium + sellers_commission + fees + shipping + tax as of_its_lines,
    tax_amount,
    tax as tax_of_its_lines
from {{ to_test(ref('fct_invoices'), {'_batch': 'invoices', '_lines_batch': 'invoice_lines'}) }}
where
    lines > 0
    and (
        total_amount <> hammer_price + buyers_premium + sellers_commission + fees + shipping + tax
        or tax_amount <> tax
    )
