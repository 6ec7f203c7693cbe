SELECT
    'order-' || auctionid AS order_id,
    1 AS line_number,
    'lot-' || auctionid AS lot_id,
    single(item) AS description,
    1 AS quantity,
    single(as_number(price)) AS hammer_price,
    $start_date + single(days(regexp_extract(auction_type, '^[0-9]+'))) AS placed_at,
    list(_line) AS _line
FROM rows
GROUP BY auctionid
