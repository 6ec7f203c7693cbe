"""How the lake reaches Athena, and what its queries may cost."""

from __future__ import annotations

from dataclasses import dataclass

MINIMUM_BYTES = 10_000_000
"""Athena bills each query that succeeds for at least this much."""
_TERABYTE = 10**12


@dataclass(frozen=True)
class AthenaSettings:
    """The Athena of one environment.

    `workgroup` may have a limit of bytes per query of its own; `scan_limit` (bytes, None for none) stops a query of
    the merge that scans more. `results` is where results are put in the lake's bucket. `usd_per_terabyte` is the
    price in the region. `endpoint` is set only where something stands in for Athena.
    """

    workgroup: str = "primary"
    scan_limit: int | None = None
    usd_per_terabyte: float = 5.0
    results: str = "athena-results/merge"
    endpoint: str | None = None
    catalog: str = "AwsDataCatalog"
    seconds: int = 35 * 60

    def usd(self, scanned: int) -> float:
        """What a query that scanned so many bytes is billed, in US dollars."""
        return max(scanned, MINIMUM_BYTES) * self.usd_per_terabyte / _TERABYTE
