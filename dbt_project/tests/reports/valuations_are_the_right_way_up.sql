select
    lot_id,
    currency,
    valuation_low,
    valuation_high
from {{ ref('dim_lot') }}
where is_current and not is_removed and valuation_low > valuation_high
