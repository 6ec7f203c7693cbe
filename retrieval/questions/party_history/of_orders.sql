SELECT h.* FROM {{ history(entity) }} AS h
WHERE {{ referring('IN (SELECT order_id FROM ' ~ history('orders') ~ ' AS o WHERE buyer_id = $party OR seller_id = $party)') }}
ORDER BY {{ in_order }}
