"""How many rows arrived in which hour, and how many of them were set aside, as an entity's ledger says.

A segment of the ledger never changes, so whoever looks often keeps what it said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lakehouse.intake.landing import arrival_hour
from lakehouse.intake.ledger import Ledger

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.lake import Lake


@dataclass(frozen=True)
class Hour:
    """Rows that landed in an hour, and those of them in quarantine; a quarantined object without rows counts as one."""

    rows: int = 0
    quarantined: int = 0

    def __add__(self, other: Hour) -> Hour:
        return Hour(self.rows + other.rows, self.quarantined + other.quarantined)


Segments = dict[str, Mapping[datetime, Hour]]
"""What each segment said, by its key."""


def hourly(lake: Lake, contract: Contract, head: str, since: datetime, known: Segments) -> dict[datetime, Hour]:
    """The rows of each arrival hour (UTC) from the day of `since` on; hours without any are left out. Objects of
    entities of origin `files` name no hour: they count for the first one of their day. Segments that are `known` are
    not read again, and those that the ledger has no more are forgotten."""
    ledger = Ledger.load(lake, head)
    days = {day: of.segment for day, of in ledger.days.items() if day >= f"{since:%Y-%m-%d}"}
    found: dict[datetime, Hour] = {}
    for day, segment in days.items():
        if segment not in known:
            known[segment] = _hours(ledger, contract, day)
        for hour, count in known[segment].items():
            found[hour] = found.get(hour, Hour()) + count
    for segment in known.keys() - {of.segment for of in ledger.days.values()}:
        known.pop(segment, None)
    return found


def _hours(ledger: Ledger, contract: Contract, day: str) -> dict[datetime, Hour]:
    found: dict[datetime, Hour] = {}
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
    for entry in ledger.segment(day).values():
        hour = arrival_hour(entry.key) if contract.origin == "stream" else None
        aside = entry.quarantined or (1 if entry.status == "quarantined" else 0)
        found[hour or midnight] = found.get(hour or midnight, Hour()) + Hour(max(entry.rows, aside), aside)
    return found
