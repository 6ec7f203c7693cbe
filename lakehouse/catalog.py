"""The Glue entries of an entity as its contract wants them: columns, comments, properties, statistics, projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.lake import Lake

if TYPE_CHECKING:
    from contracts import Contract


@dataclass(frozen=True)
class Drift:
    """One hand-made change found in Glue (and set right): where, what we wrote, what was there."""

    table: str
    what: str
    expected: str
    found: str


def refresh(lake: Lake, contract: Contract) -> tuple[Drift, ...]:
    """Bring the landing, published and `_changes` entries to the contract without moving any data pointer.

    Returns the hand-made changes found on the way.
    """
    raise NotImplementedError
