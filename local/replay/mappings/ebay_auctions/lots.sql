SELECT
    'lot-' || auctionid AS lot_id,
    'seller-' || auctionid AS seller_id,
    single(item) || ', auction ' || auctionid AS title,
    single(item) AS category,
    'USD' AS currency,
    first(as_number(openbid) ORDER BY _line) AS starting_price,
    'sold' AS status,
    {'auction_type': single(auction_type)} AS attributes,
    $start_date AS listed_at,
    $start_date AS starts_at,
    $start_date + single(days(regexp_extract(auction_type, '^[0-9]+'))) AS ends_at,
    list(_line) AS _line
FROM rows
GROUP BY auctionid
