SELECT * FROM {{ history(entity) }} AS h WHERE {{ is_key }} ORDER BY {{ in_order }}
