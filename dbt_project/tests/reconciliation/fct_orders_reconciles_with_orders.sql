{{ reconciled(ref('fct_orders'), 'orders', 'order_id', ['hammer_price', 'buyers_premium', 'sellers_commission']) }}
