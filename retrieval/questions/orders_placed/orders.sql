SELECT order_id, placed_at, status, buyer_id, seller_id, hammer_price, buyers_premium, sellers_commission
FROM {{ published('orders') }} AS o
WHERE currency = $currency AND placed_at >= $from AND placed_at < $until
ORDER BY placed_at DESC, order_id
