SELECT
    'bidder-' || id(bidder) AS customer_id,
    bidder AS name,
    'private' AS kind,
    'active' AS status,
    max(as_integer(nullif(bidderrate, 'NA'))) AS feedback_score, -- a bidder called NA, however, is a bidder
    $start_date AS registered_at,
    list(_line) AS _line
FROM rows
GROUP BY bidder
