"""Bringing a served table to the published state of its entity: one state, one transaction, or nothing.

What was shown is read of PostgreSQL, then what is published of the catalog, then what lies between of the files. It is
written under a lock, and only if the served table still shows what it was compared with; else all begins again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb

from lakehouse.publish.published import published
from lakehouse.results import FilesMissing
from lakehouse.serving import postgres
from lakehouse.serving.difference import Difference, between, whole
from lakehouse.serving.postgres import Shown, Written, definition
from lakehouse.serving.wanted import ServingError, Target
from lakehouse.storage.duck import connect
from lakehouse.storage.failures import Damaged
from lakehouse.storage.store import ObjectMissing
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from lakehouse.results import Published
    from lakehouse.serving.postgres import Connection
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake

TRIES = 5


class ServingOvertaken(Exception):
    """Another sync of the same table was quicker each time; what it shows is what that one wrote."""


@dataclass(frozen=True)
class Synced:
    """What a sync did. `whole` says why all rows were compared, empty where only what changed was."""

    entity: str
    table: str
    written: Written
    rows: int
    whole: str
    watermark: datetime | None
    seconds: float
    dry_run: bool = False

    def __str__(self) -> str:
        would, w = "would be " if self.dry_run else "", self.written
        said = f"{w.inserted:,} inserted, {w.updated:,} updated, {w.deleted:,} deleted"
        how = f" ({self.whole})" if self.whole else ""
        of = f"{self.watermark:%Y-%m-%d %H:%M:%S} UTC" if self.watermark else "no watermark"
        return f"{self.entity}: {would}{said} in {self.table}{how}, {self.rows:,} rows as of {of}, {self.seconds:.1f} s"


class _DryRun(Exception):
    """Rolls the transaction back."""


def sync_served(
    lake: Lake, target: Target, url: str, *, dry_run: bool = False, progress: Callable[[str], None] = lambda _: None
) -> Synced | None:
    """Bring the served table to what is published; None before the entity's first batch. A dry run does the same and
    rolls it back.

    Raises `ServingError` where a person has to decide, `ServingOvertaken`, and what psycopg raises: the served table
    then shows what it did before, or, where the connection was lost at the very end, what it was brought to.
    """
    for _ in range(TRIES):
        begun = time.monotonic()
        with postgres.connected(url) as connection, connect(lake) as duck:
            before = postgres.shown(connection, target.schema, target.contract.name)
            state = published(lake, target.contract)
            if state is None:
                return None
            _check_source(lake, target, before)
            difference, why = _difference(lake, duck, target, before, state)
            progress(f"{target.contract.name}: {why or 'only what changed'}")
            done = _written(connection, target, before, difference, _showing(lake, target, state), dry_run)
        if done is not None:
            written, rows = done
            return Synced(
                target.contract.name,
                f"{target.schema}.{target.table}",
                written,
                rows,
                why,
                state.watermark,
                time.monotonic() - begun,
                dry_run,
            )
        progress(f"{target.contract.name}: another sync was quicker, beginning again")
    raise ServingOvertaken(f"{target.schema}.{target.table}: expected to write it, found {TRIES} others quicker")


def source(lake: Lake) -> str:
    """The lake, as `gavel_sync` names it."""
    return f"{lake.bucket}/{lake.published_database}"


def _check_source(lake: Lake, target: Target, before: Shown | None) -> None:
    if before is not None and before.source != source(lake):
        raise ServingError(
            f"{target.schema}.{target.table}: expected rows of the lake {source(lake)}, found those of {before.source}"
            "; serve each environment into a schema of its own"
        )


def _showing(lake: Lake, target: Target, state: Published) -> Shown:
    return Shown(
        target.contract.name, source(lake), target.table, target.contract.version, state.metadata_location,
        state.snapshot_id, state.batch, state.watermark, 0, definition(target),
    )  # fmt: skip


def _difference(
    lake: Lake, duck: Duck, target: Target, before: Shown | None, state: Published
) -> tuple[Difference, str]:
    """What is to be written, and why it is everything, if it is."""
    now = TableState(lake, state.metadata_location)
    if before is None or before.table != target.table:
        why = "first copy"
    elif before.definition != definition(target):
        why = "its columns changed"
    else:
        try:
            return between(duck, target, TableState(lake, before.metadata_location), now), ""
        except (ObjectMissing, FilesMissing, Damaged, FileNotFoundError, duckdb.IOException) as error:
            why = f"what it shows cannot be read any more: {type(error).__name__}"
    return whole(duck, target, now), why


def _written(
    connection: Connection, target: Target, before: Shown | None, difference: Difference, now: Shown, dry_run: bool
) -> tuple[Written, int] | None:
    """What was written in one transaction, and how many rows there are; None if the table shows something else than it
    was compared with."""
    try:
        with connection.transaction():
            postgres.lock(connection, target)
            if postgres.shown(connection, target.schema, target.contract.name) != before:
                return None
            new = postgres.prepare(connection, target, before)
            if new:
                written = postgres.fill(connection, target, difference.rows())
            else:
                gone = None if difference.whole else difference.gone()
                written = postgres.merge(connection, target, difference.rows(), gone)
            if before is None or difference.whole:
                rows = postgres.count(connection, target)
            else:
                rows = before.rows + written.inserted - written.deleted
            postgres.record(connection, target, replace(now, rows=rows))
            if dry_run:
                raise _DryRun
    except _DryRun:
        pass
    return written, rows
