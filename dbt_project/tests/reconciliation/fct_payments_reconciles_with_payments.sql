{{ reconciled(ref('fct_payments'), 'payments', 'payment_id', ['amount', 'processing_fee']) }}
