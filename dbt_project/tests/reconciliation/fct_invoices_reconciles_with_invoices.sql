{{ reconciled(ref('fct_invoices'), 'invoices', 'invoice_id', ['total_amount', 'tax_amount']) }}
