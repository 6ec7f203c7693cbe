SELECT * FROM {{ as_of(entity) }} AS r WHERE {{ referring('= $order_id') }} ORDER BY {{ by_key }}
