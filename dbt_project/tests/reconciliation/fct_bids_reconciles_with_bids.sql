{{ reconciled(ref('fct_bids'), 'bids', 'bid_id', ['amount']) }}
