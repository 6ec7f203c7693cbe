{{ reconciled(ref('fct_shipments'), 'shipments', 'shipment_id', ['cost']) }}
