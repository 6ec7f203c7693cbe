SELECT * FROM {{ history('customers') }} AS h WHERE customer_id = $party ORDER BY {{ in_order }}
