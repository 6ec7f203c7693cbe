SELECT
    'bid-' || auctionid || '-' || _line AS bid_id,
    'lot-' || auctionid AS lot_id,
    'bidder-' || id(bidder) AS bidder_id,
    as_number(bid) AS amount, -- proxy bid in USD
    'USD' AS currency,
    'proxy' AS kind,
    'accepted' AS status,
    $start_date + days(bidtime) AS placed_at,
    -- closed_at stays empty: bids leave the operational table 90 days after it, and these auctions are long over
    _line
FROM rows
