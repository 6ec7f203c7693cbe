"""Rows and objects that broke their contract: kept whole with reason and origin, and the way back in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.compaction import BatchResult


@dataclass(frozen=True)
class QuarantineFile:
    """One quarantine file: the landed object it came from, how many rows, why."""

    key: str
    origin: str
    rows: int
    whole: bool
    written: datetime
    reasons: dict[str, int]


def list_files(lake: Lake, contract: Contract) -> list[QuarantineFile]:
    """All quarantine files of the entity, newest first."""
    raise NotImplementedError


def requeue(lake: Lake, contract: Contract, origins: frozenset[str] | None = None) -> BatchResult:
    """Merge the quarantined and held objects again (all, or those named by landing key), for example after a contract
    was corrected. Rows that were merged before count as duplicates."""
    raise NotImplementedError
