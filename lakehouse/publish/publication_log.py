"""The publication log: what each publication made visible, kept for good as one small object each.

Here are the rows, how they are written, repaired and joined, and the Glue table over them; the columns are in
`contracts.publication_log`. Rows lie beside the tables, not in them, so that nothing that happens to a table takes them
along.

A row is written right after the pointers have moved, that of a roll back already before. Should the process die in
between, the next publication of the entity finds that the row of the state it follows is missing, and writes it from
that state's audit result. So a row says what readers saw, and no publication stays without one. The same row may be
there twice after a crash while a day is joined, or when two writers meet: whoever counts takes each `publication_id`
once.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import orjson

from contracts.logs import PUBLICATIONS
from contracts.prices import load_prices
from lakehouse.publish import audit, log_tables
from lakehouse.publish.log_tables import JOINED_DAYS, RETENTION_DAYS, prefix_of, refresh, row_of
from lakehouse.publish.log_tables import Row as Row
from lakehouse.publish.published import describe_state
from lakehouse.results import Built, Kind, Work
from lakehouse.storage.failures import Damaged, of_the_lake
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from lakehouse.table.iceberg import read_metadata
from lakehouse.table.tables import TableState, published_entry

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.results import Drift, Published
    from lakehouse.table.tables import TableState

T = TypeVar("T")
NEEDED = frozenset({"publication_id", "kind", "ended_at", "published_at", "billed_usd"})
"""Columns that each row has, whatever else came to the log later."""
_REQUESTS = {"put_requests": "s3_put", "get_requests": "s3_get", "glue_requests": "glue_request"}
"""The columns that count requests, with the price of one."""
_READERS = 8
_MODELS = "_models"
"""What stands for an entity in the names of objects about marts and reports: no entity has this name."""
_MANY = 50
READERS_TAKE = timedelta(hours=1)
"""For how long at most a reader works through a day that it has listed."""


@dataclass(frozen=True)
class Written:
    """Data and delete files that commits added to an entity's tables, and their size in bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.files + other.files, self.bytes + other.bytes)


def written_between(before: TableState, after: TableState) -> Written:
    """What the commit from one state of the tables to the other added to both of them."""
    added = Written()
    for old, new in ((before.metadata, after.metadata), (before.changes_metadata, after.changes_metadata)):
        snapshot = new.current_snapshot()
        if snapshot is None or snapshot.summary is None or snapshot.snapshot_id == old.current_snapshot_id:
            continue
        said = snapshot.summary.additional_properties
        files = int(said.get("added-data-files", 0)) + int(said.get("added-delete-files", 0))
        added += Written(files, int(said.get("added-files-size", 0)))
    return added


def record(lake: Lake, published: Published, work: Work, published_at: datetime | None, run_id: str | None) -> None:
    """Write the row of the publication that made `published` visible; again if it is there, which changes nothing."""
    row = _row(published, work, published_at, run_id)
    lake.store.write(key_of(lake, published.entity, published.metadata_location), log_tables.lines([row]))


@dataclass(frozen=True)
class RollBack:
    """A roll back to a state that began at a moment and was noted at another one (both aware), in a run."""

    published: Published
    begun_at: datetime
    noted_at: datetime
    run_id: str | None


def note_roll_back(lake: Lake, published: Published, begun_at: datetime, run_id: str | None) -> RollBack:
    """Write the row of a roll back before its pointers move, without a time of publication: should the process die in
    between, whoever finds no catalog any more knows where readers are, or were to be."""
    note = RollBack(published, begun_at, lake.now(), run_id)
    lake.store.write(_key_of_roll_back(note), log_tables.lines([_row_of_roll_back(note, note.noted_at, None)]))
    return note


def record_roll_back(lake: Lake, note: RollBack) -> None:
    """Write into the row of a roll back, which makes a state visible a second time, that the pointers have moved."""
    now = lake.now()
    lake.store.write(_key_of_roll_back(note), log_tables.lines([_row_of_roll_back(note, now, now)]))


def forget_roll_back(lake: Lake, note: RollBack) -> None:
    """Remove the row of a roll back that moved nothing."""
    lake.store.delete([_key_of_roll_back(note)])


def _row_of_roll_back(note: RollBack, ended_at: datetime, published_at: datetime | None) -> Row:
    work = Work("roll_back", note.begun_at, ended_at, (ended_at - note.begun_at).total_seconds())
    row = _row(note.published, work, published_at, note.run_id)
    row["publication_id"] += f" again {note.noted_at:%Y%m%dT%H%M%S.%fZ}"
    return row


def _key_of_roll_back(note: RollBack) -> str:
    stem = f"{_stem(note.published.metadata_location)}-again-{note.noted_at:%Y%m%dT%H%M%S%f}"
    return f"{prefix_of(PUBLICATIONS, note.published.entity, note.noted_at)}{stem}.json"


def record_build(lake: Lake, models: Iterable[Built], begun_at: datetime, run_id: str) -> None:
    """Write the rows of a build of marts and reports that readers have: one for each model, together in one object. A
    day's objects are joined whenever there are many."""
    now = lake.now()
    rows = []
    for built in models:
        kind: Kind = "build" if built.was_built else "look"
        work = Work(kind, begun_at, now, built.seconds)
        known = {
            **asdict(work),
            **asdict(work.counts),
            "rows_read": work.counts.read,
            "publication_id": f"{run_id}/{built.model}",
            "run_id": run_id,
            "published_at": now,
            "watermark": built.data_time,
            "queries": built.queries,
            "bytes_scanned": built.bytes_scanned,
            "billed_usd": built.billed_usd,
            "model": built.model,
        }
        rows.append(row_of(PUBLICATIONS, known))
    prefix = prefix_of(PUBLICATIONS, _MODELS, now)
    lake.store.write(f"{prefix}{now:%H%M%S%f}-{run_id[:8]}.json", log_tables.lines(rows))
    if sum(1 for _ in lake.store.list(prefix)) > _MANY:
        _join(lake, prefix, "", _MANY)


def repair(lake: Lake, contract: Contract, location: str) -> tuple[Drift, ...]:
    """Write the row of the state that is, or was until now, published, if it is missing; one look where it is there.

    A state without work in its audit result has none: an empty table, or one from before there was a log. There the
    Glue entries of the logs are looked after, too, which so are there from the first publication of an environment on.
    Returns what was changed in those entries by hand.
    """

    if lake.store.size(key_of(lake, contract.name, location)) is not None:
        return ()
    audit_result = audit.load(lake, contract.name, location)
    if audit_result is not None and audit_result.passed and audit_result.work is not None:
        record(lake, describe_state(contract, TableState(lake, location)), audit_result.work, None, None)
    return refresh(lake)


def join_days(lake: Lake, contract: Contract) -> int:
    """Join the entity's rows of each day into one object, remove what was joined some time ago and what is behind the
    retention; returns how many objects are gone. Within `READERS_TAKE` of the last time that rows of today were joined
    it does nothing: builds may follow each other quickly. The row of what is published stays where `repair` looks for
    it. Raises `ObjectMissing` when somebody else does the same at this moment."""

    today = lake.now()
    newest = prefix_of(PUBLICATIONS, contract.name, today)
    if any(today - stored.modified < READERS_TAKE for stored in lake.store.list(f"{newest}joined-")):
        return 0
    entry = published_entry(lake, contract)
    present = key_of(lake, contract.name, entry.metadata_location) if entry else ""
    gone = 0
    for back in range(JOINED_DAYS + 1):
        gone += _join(lake, prefix_of(PUBLICATIONS, contract.name, today - timedelta(days=back)), present)
        expired = prefix_of(PUBLICATIONS, contract.name, today - timedelta(days=RETENTION_DAYS + 1 + back))
        old = [stored.key for stored in lake.store.list(expired)]
        lake.store.delete(old)
        gone += len(old)
    return gone


def _join(lake: Lake, prefix: str, present: str, least: int = 2) -> int:
    """Join a day, if at least so many objects are in no joined one; returns how many objects are gone.

    An object goes only after a joined one that has all its rows has been there for `READERS_TAKE`: a reader that has
    listed the day, and does not find it any more, has listed that one. Engines do not go on without an object that they
    have listed: whoever joins sees to it that nobody reads by them. Until then rows are there twice, and whoever counts
    takes each once.
    """
    listed = [stored for stored in lake.store.list(prefix) if stored.key != present]
    if len(listed) < 2:
        return 0
    rows = dict(zip((s.key for s in listed), _rows_of_each(lake, [s.key for s in listed], joins=True), strict=True))
    newest = {row["publication_id"]: row for row in _best_last(row for some in rows.values() for row in some)}
    true = {key: {r["publication_id"] for r in some if r == newest[r["publication_id"]]} for key, some in rows.items()}
    joined = [stored for stored in listed if f"{prefix}joined-" in stored.key]

    def stands_in(key: str, of: Iterable[str]) -> bool:
        mine = {row["publication_id"] for row in rows[key]}
        return any(mine <= true[other] and (mine != true[other] or key > other) for other in of if other != key)

    lasting = [stored.key for stored in joined if lake.now() - stored.modified >= READERS_TAKE]
    gone = [key for key in rows if stands_in(key, lasting)]
    if sum(not stands_in(key, [stored.key for stored in joined]) for key in rows) >= least:
        content = gzip.compress(log_tables.lines(_distinct(newest.values())), mtime=0)
        lake.store.write(f"{prefix}joined-{hashlib.sha256(content).hexdigest()[:16]}.json.gz", content)
    lake.store.delete(gone)
    return len(gone)


def read(lake: Lake, entity: str, day: datetime, damaged: Callable[[Damaged], None] | None = None) -> list[Row]:
    """An entity's rows of a day, each publication once, in the order in which they ended; times as text in UTC. Raises
    `Damaged` for an object without rows, unless somebody wants to hear of it and go on without."""
    keys = [stored.key for stored in lake.store.list(prefix_of(PUBLICATIONS, entity, day))]
    return _distinct(_read_rows(lake, keys, damaged))


def read_builds(lake: Lake, day: datetime, damaged: Callable[[Damaged], None] | None = None) -> list[Row]:
    """The rows of a day's builds of marts and reports, as `read` gives them."""
    return read(lake, _MODELS, day, damaged)


def billed(lake: Lake, day: datetime, known: dict[str, Mapping[str, float]]) -> float:
    """What the queries and the requests of a day's publications cost, in US dollars by list price, as
    `rpt_pipeline_runs` has it but for the machine. Whoever looks often keeps what each object said:
    by its key the cost of each publication. What is joined since is forgotten."""
    of_objects(lake, f"{day:%Y-%m-%d}", known, lambda rows: {row["publication_id"]: _usd(row) for row in rows})
    return sum({i: usd for key in sorted(known) for i, usd in known[key].items()}.values())


def of_objects(lake: Lake, day: str, known: dict[str, T], of: Callable[[list[Row]], T]) -> None:
    """Bring what is `known` of each object of a day (`YYYY-MM-DD`), by its key, to what is there now: what the rows of
    new ones say is added, what is joined since is forgotten. Raises `Damaged` for an object without rows."""
    keys = [stored.key for stored in lake.store.list(f"{PUBLICATIONS.name}/{PUBLICATIONS.day}={day}/")]
    with ThreadPoolExecutor(_READERS) as pool:
        new = [key for key in keys if key not in known]
        for key, rows in zip(new, pool.map(lambda key: _read_rows(lake, [key]), new), strict=True):
            known[key] = of(rows)
    for key in known.keys() - set(keys):
        del known[key]


def _usd(row: Row) -> float:
    prices = load_prices()
    requests = sum(prices.usd(price, row.get(column) or 0) for column, price in _REQUESTS.items())
    return float(row["billed_usd"] or 0) + requests


def days_of(lake: Lake, entity: str) -> list[datetime]:
    """The days that have rows of an entity, oldest first."""
    root = f"{PUBLICATIONS.name}/{PUBLICATIONS.day}="
    found = set()
    for stored in lake.store.list(root):
        day, _, name = stored.key.removeprefix(root).partition("/")
        if name.startswith(f"{entity}."):
            found.add(day)
    return [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in sorted(found)]


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Each publication once, the last of its rows, in the order in which they ended."""
    found = {row["publication_id"]: row for row in rows}
    return sorted(found.values(), key=lambda row: (row["ended_at"], row["publication_id"]))


def _best_last(rows: Iterable[Row]) -> list[Row]:
    """Rows in an order in which those that know when they were published come last."""
    return sorted(rows, key=lambda row: row["published_at"] is not None)


def _read_rows(lake: Lake, keys: Sequence[str], damaged: Callable[[Damaged], None] | None = None) -> list[Row]:
    """The rows in these objects, those that know when they were published last."""
    return _best_last(row for some in _rows_of_each(lake, keys, damaged) for row in some)


def _rows_of_each(
    lake: Lake, keys: Sequence[str], damaged: Callable[[Damaged], None] | None = None, *, joins: bool = False
) -> list[list[Row]]:
    """The rows in each of these objects. None of one that is gone since it was listed: the object that it was joined to
    had been there for `READERS_TAKE` then, so that it is listed, too. Whoever `joins` has to know."""

    def rows_of(key: str) -> list[Row]:
        try:
            content = lake.store.read(key)
        except ObjectMissing:
            if joins:
                raise
            return []
        try:
            with of_the_lake(key):
                return _rows_in(gzip.decompress(content) if key.endswith(".gz") else content)
        except Damaged as error:
            if damaged is None:
                raise
            damaged(error)
            return []

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(rows_of, keys))


def _rows_in(content: bytes) -> list[Row]:
    rows: list[Row] = [orjson.loads(line) for line in content.splitlines()]
    if not rows or not all(isinstance(row, dict) and row.keys() >= NEEDED for row in rows):
        raise ValueError(f"expected rows with {', '.join(sorted(NEEDED))}, found none or others")
    return rows


def key_of(lake: Lake, entity: str, location: str) -> str:
    """Where the row of a publication is: by the metadata file that it made visible, and the day this was written."""

    written = datetime.fromtimestamp(read_metadata(lake, location).last_updated_ms / 1000, UTC)
    return f"{prefix_of(PUBLICATIONS, entity, written)}{_stem(location)}.json"


def _stem(location: str) -> str:
    return location.rpartition("/")[2].removesuffix(".metadata.json")


def _row(published: Published, work: Work, published_at: datetime | None, run_id: str | None) -> Row:
    """One row, as JSON has it: every column of the log, times as text that Hive's readers take."""
    known = {
        **asdict(work),
        **asdict(work.counts),
        "rows_read": work.counts.read,
        "publication_id": published.metadata_location.rpartition("/")[2],
        "entity": published.entity,
        "run_id": run_id,
        "batch": published.batch,
        "published_at": published_at,
        "rows_after": published.rows,
        "changes_after": published.changes,
        "files_after": published.files,
        "bytes_after": published.bytes,
        "watermark": published.watermark,
        "model": None,
    }
    return row_of(PUBLICATIONS, known)
