"""Lists across all parties, for staff: what was written last, what has a status, what has a name that begins so."""
