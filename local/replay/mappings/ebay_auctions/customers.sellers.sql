SELECT
    'seller-' || auctionid AS customer_id,
    'Seller of auction ' || auctionid AS name,
    'active' AS status,
    $start_date AS registered_at,
    list(_line) AS _line
FROM rows
GROUP BY auctionid
