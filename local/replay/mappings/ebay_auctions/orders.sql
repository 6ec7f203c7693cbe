SELECT
    'order-' || auctionid AS order_id,
    -- the highest bidder; the earlier bid wins a tie
    'bidder-' || id(first(bidder ORDER BY as_number(bid) DESC, days(bidtime), _line)) AS buyer_id,
    'seller-' || auctionid AS seller_id,
    'lot-' || auctionid AS lot_id,
    'USD' AS currency,
    single(as_number(price)) AS hammer_price, -- as recorded, even where it is not the highest bid
    'completed' AS status,
    $start_date + single(days(regexp_extract(auction_type, '^[0-9]+'))) AS placed_at,
    list(_line) AS _line
FROM rows
GROUP BY auctionid
