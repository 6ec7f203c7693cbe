"""Moving the published pointers: to what an audit passed, or back again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.catalog import Drift
from lakehouse.lake import Lake
from lakehouse.state import Published

if TYPE_CHECKING:
    from contracts import Contract


class NotAudited(Exception):
    """The work table's metadata has no passed audit verdict, so it may not be published."""


@dataclass(frozen=True)
class Publication:
    """What publishing did. `changed` is false if the work table was published before."""

    entity: str
    changed: bool
    published: Published
    drift: tuple[Drift, ...] = ()


def publish(lake: Lake, contract: Contract) -> Publication:
    """Publish the work table, changes first, after verifying that exactly this metadata passed its audit.

    Columns, comments, properties and statistics of the Glue entries are refreshed in the same step; drift is what was
    changed there by hand since the last publication. Raises `NotAudited`.
    """
    raise NotImplementedError


def rollback(lake: Lake, contract: Contract, snapshot_id: int | None = None) -> Publication:
    """Move the published pointers back to the snapshot (default: the one before), changes with it."""
    raise NotImplementedError
