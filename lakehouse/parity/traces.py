"""Where the changes of some keys can be seen on their way: in landing, in the ledger, in quarantine, among the records
that the relay kept, and whether the published pointers are where the lake put them.

Reading only; which cause is concluded from the traces belongs to `causes`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from lakehouse.intake import reading, validation, weights
from lakehouse.intake.landing import HOUR, LandedObject, Scope, list_objects
from lakehouse.intake.ledger import Ledger
from lakehouse.parity import digests
from lakehouse.parity.lake_state import changes_of
from lakehouse.parity.relations import KEPT, SEEN, SET_ASIDE
from lakehouse.publish import audit, publication_log
from lakehouse.storage.sql import literal
from lakehouse.table.relations import REJECTED, UNUSUAL, VALID
from lakehouse.table.schemas import ORDER
from lakehouse.table.tables import published_entry

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.intake.ledger import LedgerEntry
    from lakehouse.storage.context import Context
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.tables import TableState

RELAY_FAILURES = "relay-failures/"
MOST_OBJECTS = 5_000
"""Landed objects that are looked through for traces, the newest of the window; a note says if there are more."""
_AT_ONCE = 200
_DAY = timedelta(days=1)
_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each look at the pointers, longer together than a publication takes to move both."""


@dataclass
class Traces:
    """What was seen beside the tables `SEEN` (k, object, st, and the order), `SET_ASIDE` (k, object, why) and `KEPT`
    (k, object): what became of each object by the ledger, which objects cannot be read, which are gone from landing
    though the ledger has them and the history has nothing of them, and what is wrong with the pointers."""

    status: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    pointers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(duck: Duck, context: Context, state: TableState, keys: str, window: tuple[datetime, datetime]) -> Traces:
    """Look for the keys (k) of a table in what arrived within a window."""
    lake, contract = context.lake, context.contract
    traces = Traces()
    order = "_version BIGINT, _seq VARCHAR, _event_id VARCHAR"
    duck.run(f"CREATE OR REPLACE TEMP TABLE {SEEN} (k UHUGEINT, st UBIGINT, {order}, object VARCHAR)")
    duck.run(f"CREATE OR REPLACE TEMP TABLE {SET_ASIDE} (k UHUGEINT, object VARCHAR, why VARCHAR)")
    duck.run(f"CREATE OR REPLACE TEMP TABLE {KEPT} (k UHUGEINT, object VARCHAR)")
    entries = _entries(lake, state, window)
    objects = _objects(lake, contract, window, traces)
    for landed in objects:
        traces.status[landed.key] = _status(landed, entries.get(landed.key))
    present = {landed.key for landed in objects}
    for start in range(0, len(objects), _AT_ONCE):
        context.report(f"looking for traces in landed objects, {start} of {len(objects)}")
        _look_into(duck, context, objects[start : start + _AT_ONCE], keys, traces)
    traces.gone += _gone(duck, contract, state, [e for e in entries.values() if e.key not in present])
    if contract.origin == "stream":
        _look_into_kept(duck, lake, contract, keys, window)
    return traces


def misplaced_pointers(lake: Lake, contract: Contract, state: TableState) -> list[str]:
    """What is wrong with where the published entries point. A publication moves one after the other, and another run
    may be at it: what looks wrong is looked at again for some seconds, and nothing is wrong once another state has
    followed this one."""
    found: list[str] = []
    for seconds in _PAUSES:
        _pause(seconds)
        found = _misplaced(lake, contract, state)
        entry = published_entry(lake, contract) if found else None
        if not found or (entry is not None and entry.metadata_location != state.location):
            return []
    return found


def _pause(seconds: float) -> None:
    time.sleep(seconds)  # a test lets no time pass


def _misplaced(lake: Lake, contract: Contract, state: TableState) -> list[str]:
    found = []
    history = lake.entries.get(lake.published_database, f"{contract.name}_changes")
    if history is None or history.metadata_location != state.changes_location:
        where = "nowhere" if history is None else history.metadata_location
        found.append(
            f"the published entry {contract.name}_changes: expected {state.changes_location}, which belongs to "
            f"{state.location}, found {where}"
        )
    result = audit.load(lake, contract.name, state.location) if state.batch else None
    if state.batch and (result is None or not result.passed):
        what = "no audit result" if result is None else "a failed audit"
        found.append(
            f"the published entry {contract.name}: expected an audited state, found {state.location} with {what}"
        )
    later = _published_later(lake, contract, state)
    if later is not None:
        found.append(
            f"the published entry {contract.name}: expected {later}, which the publication log has last, found "
            f"{state.location}"
        )
    return found


def _published_later(lake: Lake, contract: Contract, state: TableState) -> str | None:
    """The metadata file that was published after this one by the publication log; None if there is none. A state that
    has no row yet (its writer died just then) counts by its number."""
    mine = state.location.rpartition("/")[2]
    written = datetime.fromtimestamp(state.metadata.last_updated_ms / 1000, UTC)
    rows: list[publication_log.Row] = []
    day = max(lake.now(), written)
    while day.date() >= written.date() and not rows:
        rows = [row for row in publication_log.read(lake, contract.name, day) if row["published_at"]]
        day -= _DAY
    if not rows:
        return None
    times: dict[str, str] = {}
    for row in rows:
        name = str(row["publication_id"]).partition(" ")[0]
        times[name] = max(times.get(name, ""), row["published_at"])
    last = max(times, key=lambda name: (times[name], name))
    newer = times[last] > times[mine] if mine in times else last > mine
    return last if newer else None


def _entries(lake: Lake, state: TableState, window: tuple[datetime, datetime]) -> Mapping[str, LedgerEntry]:
    ledger = Ledger.load(lake, state.ledger)
    days = [day for day in ledger.days if f"{window[0]:%Y-%m-%d}" <= day <= f"{window[1]:%Y-%m-%d}"]
    return {key: entry for day in days for key, entry in ledger.segment(day).items()}


def _objects(lake: Lake, contract: Contract, window: tuple[datetime, datetime], traces: Traces) -> list[LandedObject]:
    objects = list_objects(lake, contract, Scope(start=window[0], end=window[1] + HOUR))
    if len(objects) > MOST_OBJECTS:
        traces.notes.append(
            f"{len(objects):,} objects landed since {window[0]:%Y-%m-%d %H:%M} UTC; causes are concluded from the "
            f"newest {MOST_OBJECTS:,}"
        )
        objects = sorted(objects, key=lambda o: (o.hour, o.key))[-MOST_OBJECTS:]
    return objects


def _status(landed: LandedObject, entry: LedgerEntry | None) -> str:
    """What became of an object, as people say it; `merged` if its rows are in."""
    if entry is None:
        return "not ingested yet"
    if entry.etag != landed.etag:
        return "written again and not ingested since"
    return entry.status if entry.status == "merged" else f"{entry.status}: {entry.reason}"


def _look_into(duck: Duck, context: Context, objects: Sequence[LandedObject], keys: str, traces: Traces) -> None:
    lake, contract = context.lake, context.contract
    try:
        read = reading.read_objects(duck, lake, contract, objects)
    except weights.TooHeavy as error:
        for some in error.chunks:
            _look_into(duck, context, some, keys, traces)
        return
    validation.validate(duck, contract)
    validation.define(duck)
    traces.unreadable |= read.unreadable
    wanted = f"IN (SELECT k FROM {keys})"
    duck.run(
        f"INSERT INTO {SEEN} SELECT _k, _st, {', '.join(ORDER)}, _object FROM (SELECT {digests.key(contract)} AS _k, "
        f"{digests.of_change(contract)} AS _st, * FROM {VALID}) WHERE _k {wanted}"
    )
    names = {o.key: n for n, o in enumerate(objects)}
    listed = ", ".join(f"({n}, {literal(key)})" for key, n in names.items())
    duck.run(
        f"INSERT INTO {SET_ASIDE} SELECT k, object, why FROM (SELECT {digests.tried_key(contract, 'u')} AS k, "
        f"o.object, r._reason AS why FROM {REJECTED} AS r JOIN {UNUSUAL} AS u USING (_no, _row) "
        f"JOIN (VALUES {listed}) AS o(n, object) ON o.n = r._no) WHERE k {wanted}"
    )


def _gone(duck: Duck, contract: Contract, state: TableState, entries: Sequence[LedgerEntry]) -> list[str]:
    """The objects that are gone from landing, of which the history has no row, though the ledger says rows came in."""
    suspects = [e.key for e in entries if e.status == "merged" and e.rows > e.quarantined]
    if not suspects:
        return []
    from_history = changes_of(contract, state)
    listed = ", ".join(literal(key) for key in suspects)
    kept = {row[0] for row in duck.rows(f"SELECT DISTINCT _object FROM ({from_history}) WHERE _object IN ({listed})")}
    return sorted(set(suspects) - kept)


def _look_into_kept(duck: Duck, lake: Lake, contract: Contract, keys: str, window: tuple[datetime, datetime]) -> None:
    """Look for the keys in the records that the relay kept."""
    import pyarrow as pa

    found: list[tuple[str, list[str]]] = []
    day = window[0]
    while day.date() <= window[1].date():
        for stored in lake.store.list(f"{RELAY_FAILURES}dt={day:%Y-%m-%d}/"):
            found += [(stored.key, key) for key in _keys_of(lake.store.read(stored.key), contract)]
        day += _DAY
    if not found:
        return
    columns = {n: pa.array([key[i] for _, key in found], pa.string()) for i, n in enumerate(contract.primary_key)}
    validation.define(duck)
    duck.connection.register("kept_records", pa.table({"_object": [o for o, _ in found], **columns}))
    duck.run(
        f"INSERT INTO {KEPT} SELECT _k, _object FROM (SELECT {digests.tried_key(contract, 'kept_records')} AS _k, "
        f"_object FROM kept_records) WHERE _k IN (SELECT k FROM {keys})"
    )
    duck.connection.unregister("kept_records")


def _keys_of(content: bytes, contract: Contract) -> Iterator[list[str]]:
    """The texts of the keys of kept records, of those that have all of them."""
    for line in content.splitlines():
        try:
            body = orjson.loads(line)["record"]["dynamodb"]
            image: Mapping[str, Any] = body.get("NewImage") or body.get("OldImage") or {}
            values = [next(iter(image[name].values())) for name in contract.primary_key]
        except (ValueError, TypeError, KeyError, AttributeError, StopIteration):
            continue  # what has no key is no trace of one
        yield [str(value) for value in values]
