"""What the lake has of one key: its changes, the landed objects and publications that brought them, and its row.

Only files whose bounds can hold the key are opened, and of their rows only the columns that are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from contracts.system_columns import HISTORY
from contracts.types import is_personal
from lakehouse.intake import erased
from lakehouse.publish import publication_log
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import iceberg, schemas, tables
from lakehouse.table.scan import days_of, live_rows, within_bounds
from ops.follow.model import Change, Published

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.failures import Damaged
    from lakehouse.storage.lake import Lake
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.tables import TableState

MOST_CHANGES = 20
"""Of a key, or of a batch, that are listed: the newest."""
MASKED = "•••"
_DAYS_TO_PUBLISH = 3  # after a change: a batch that was published later is not looked for day by day
_KEYS = "followed_key"
_DAY = timedelta(days=1)
_EPOCH = date(1970, 1, 1)


@dataclass
class InLake:
    """What was found: changes, the oldest first; how many older ones there are; the row; how many files were opened, of
    how many."""

    changes: list[Change] = field(default_factory=list)
    earlier: int = 0
    row: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    files_read: int = 0
    files: int = 0


@dataclass(frozen=True)
class Reader:
    """Reads one entity's published state `state` (None: nothing was published) of a lake."""

    duck: Duck
    lake: Lake
    contract: Contract
    state: TableState | None
    notes: list[str] = field(default_factory=list)
    """What could not be read, in words."""

    def erased_by(self, key: Mapping[str, Any]) -> str | None:
        """The request by which the person whom a key names was erased; None if there was none."""
        persons = self.contract.erasure.persons if self.contract.erasure is not None else ()
        named = [str(value) for name, value in key.items() if name in persons]
        if self.state is None or not named:
            return None
        known = erased.ErasedList.load(self.lake, self.state.metadata.properties.get(erased.ERASED, "")).requests
        found = (known.get(erased.token(self.lake.erasure_secret, one)) for one in named if known)
        return next((request for request in found if request), None)

    def of_key(self, key: Mapping[str, Any], since: datetime | None, personal: bool) -> InLake:
        """What there is of a key; of the history only days from `since` on, if it is given."""
        found = InLake()
        if self.state is None:
            return found
        self._name(key)
        self._read_row(found, self._is(key), personal)
        if since is not None and "_changed_at" in found.values:
            since = min(since, found.values["_changed_at"].replace(tzinfo=UTC))  # the newest change is always wanted
        rows = self._history(found, self._is(key), since)
        found.earlier = max(0, len(rows) - MOST_CHANGES)
        found.changes = [self._change(row) for row in rows[-MOST_CHANGES:]]
        return found

    def of_batch(self, batch: int) -> tuple[list[dict[str, Any]], int]:
        """The first rows of the history that a batch wrote, with the fields that keys are made of, and how many there
        are. Files are chosen by their bounds of `_batch`."""
        if self.state is None:
            return [], 0
        shape = schemas.changes(self.contract).stored_as(self.state.changes_metadata)
        files = [file for file in self.state.changes_files if _may_hold(file, batch)]
        of = f"FROM ({live_rows(shape, files)}) WHERE _batch = {batch}"
        columns = ", ".join(quoted(n) for n in (*_placing(self.contract), "_changed_at", "_version", "_seq"))
        rows = self.duck.arrow(f"SELECT {columns} {of} ORDER BY _version, _seq LIMIT {MOST_CHANGES}").to_pylist()
        return rows, self.duck.count(f"SELECT count(*) {of}") if rows else 0

    def around(self, begin: datetime, end: datetime) -> list[dict[str, Any]]:
        """The fields that keys and places are made of, of all changes in the stretch of time; few seconds of a day."""
        if self.state is None:
            return []
        shape = schemas.changes(self.contract).stored_as(self.state.changes_metadata)
        files = [f for f in self.state.changes_files if _has_days(f, _day(begin), _day(end))]
        columns = ", ".join(quoted(n) for n in _placing(self.contract))
        within = " AND ".join(
            f"_changed_at {sign} {literal(moment.replace(tzinfo=None).isoformat())}::TIMESTAMPTZ"
            for sign, moment in ((">=", begin), ("<=", end))
        )
        rows: list[dict[str, Any]] = self.duck.arrow(
            f"SELECT DISTINCT {columns} FROM ({live_rows(shape, files)}) WHERE {within} LIMIT 10000"
        ).to_pylist()
        return rows

    def _name(self, key: Mapping[str, Any]) -> None:
        typed = ", ".join(f"{self._literal(n, v)} AS {quoted(n)}" for n, v in key.items())
        self.duck.run(f"CREATE OR REPLACE TEMP TABLE {_KEYS} AS SELECT {typed}")

    def _literal(self, name: str, value: Any) -> str:
        return f"{literal(str(value))}::{schemas.duckdb_type(self.contract.field(name).type)}"

    def _is(self, key: Mapping[str, Any]) -> str:
        return " AND ".join(f"{quoted(n)} = {self._literal(n, v)}" for n, v in key.items())

    def _read_row(self, found: InLake, is_key: str, personal: bool) -> None:
        assert self.state is not None
        files = within_bounds(self.duck, self.contract, self.state.files, _KEYS)
        found.files += len(self.state.files)
        found.files_read += len(files)
        shape = schemas.compacted(self.contract).stored_as(self.state.metadata)
        for row in self.duck.arrow(f"SELECT * FROM ({live_rows(shape, files)}) WHERE {is_key}").to_pylist():
            found.values = row
            hidden = {f.name for f in self.contract.fields if is_personal(f)} | {"_extra"}
            if self.contract.key_names_a_person:
                hidden |= {*self.contract.primary_key}
            found.row = {n: MASKED if n in hidden and not personal else v for n, v in row.items() if v is not None}

    def _history(self, found: InLake, is_key: str, since: datetime | None) -> list[dict[str, Any]]:
        assert self.state is not None
        every = self.state.changes_files
        files = [f for f in every if since is None or _has_days(f, _day(since))]
        files = within_bounds(self.duck, self.contract, files, _KEYS)
        found.files += len(every)
        found.files_read += len(files)
        shape = schemas.changes(self.contract).stored_as(self.state.changes_metadata)
        columns = ", ".join(quoted(f.name) for f in HISTORY if f.name not in ("_extra", "_ttl", "_contract"))
        # A file holds days before, too: how changes lie in files must not show.
        within = "" if since is None else f" AND _changed_at >= DATE {literal(str(since.astimezone(UTC).date()))}"
        rows: list[dict[str, Any]] = self.duck.arrow(
            f"SELECT {columns} FROM ({live_rows(shape, files)}) WHERE {is_key}{within} "
            "ORDER BY _version, _seq, _event_id"
        ).to_pylist()
        return rows

    def _change(self, row: Mapping[str, Any]) -> Change:
        changed_at = row["_changed_at"].replace(tzinfo=UTC)
        return Change(
            op=row["_op"],
            changed_at=changed_at,
            sequence=row["_seq"],
            event_id=row["_event_id"],
            by=row["_by"],
            object=row["_object"],
            landed_at=self._landed_at(row["_object"]),
            published=self._published(row["_batch"], changed_at),
        )

    def _landed_at(self, key: str | None) -> datetime | None:
        """When a landed object came; None if it is gone by its retention."""
        if not key:
            return None
        return next((stored.modified for stored in self.lake.store.list(key) if stored.key == key), None)

    def _published(self, batch: int, changed_at: datetime) -> Published:
        """The publication of a batch. Its row is kept under the day of its commit, which the snapshot says while it is
        retained; else it is looked for from the change on."""
        snapshot, committed_at = self._snapshot(batch)
        day = committed_at or changed_at
        last = max(day, min(self.lake.now(), day + _DAYS_TO_PUBLISH * _DAY))
        while day.date() <= last.date():
            for row in publication_log.read(self.lake, self.contract.name, day, self._damaged):
                published_at = read_moment(row["published_at"])
                if published_at and row["kind"] != "roll_back" and (row["batch"] or 0) >= batch:
                    return Published(batch, published_at, row["run_id"], snapshot)
            day += _DAY
        return Published(batch, snapshot=snapshot)

    def _damaged(self, error: Damaged) -> None:
        if str(error) not in self.notes:
            self.notes.append(str(error))

    def _snapshot(self, batch: int) -> tuple[int | None, datetime | None]:
        assert self.state is not None
        for snapshot in self.state.metadata.snapshots:
            said = snapshot.summary.additional_properties if snapshot.summary else {}
            if said.get(tables.BATCH) == str(batch):
                return snapshot.snapshot_id, datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
        return None, None


def read_moment(text: object) -> datetime | None:
    """A moment as rows of logs have it (UTC); None where there is none that can be read."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "")).replace(tzinfo=UTC)
    except ValueError:
        return None


def _placing(contract: Contract) -> Sequence[str]:
    """The fields that the key and the place of an item are made of."""
    return list(dict.fromkeys((*contract.primary_key, *(contract.keys.fields if contract.keys else ()))))


def _day(moment: datetime) -> int:
    return (moment.astimezone(UTC).date() - _EPOCH).days


def _has_days(file: LiveFile, first: int, last: int | None = None) -> bool:
    """Whether a file can hold changes made on these days since 1970, on a later one without `last`."""
    known = days_of(file)
    return known is None or (known[1] >= first and (last is None or known[0] <= last))


def _may_hold(file: LiveFile, batch: int) -> bool:
    column = next(c for c in schemas.CHANGES_STAMPS if c.name == "_batch")
    known = iceberg.bounds(file, column.field_id, schemas.iceberg_type(column.type))
    return known is None or known[0] <= batch <= known[1]
