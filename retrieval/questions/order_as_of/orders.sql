SELECT * FROM {{ as_of('orders') }} AS o WHERE order_id = $order_id
