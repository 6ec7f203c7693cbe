"""The report's panels as figures: one object of the data bucket.

The pipeline writes it with each report (`assets.reports`), the API shows it to staff (`GET /figures`). Its form is
`reporting.model.Document`, with a version of its own.
"""

from __future__ import annotations

from typing import Final

KEY: Final = "figures/report.json"
MOST_BYTES: Final = 5_000_000
"""A function answers with 6 MB at most, headers and escapes included."""
