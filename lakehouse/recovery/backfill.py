"""Backfill: an export seeds or repairs the lake while the stream flows.

Its items are landed and ingested as any change, by the order rules. What a full export at a moment T *proves* besides
is landed as corrections, ordered right before the second of T: a row that is alive in the lake, was made before T and
is not in the export was removed (or expired); an item of the export that the lake has as removed, or not at all because
its version is below the tombstone horizon, is there. Every step may be repeated, and by two at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from contracts.change import EXPIRY, SEQUENCE_WIDTH
from contracts.item import BY, item_keys
from lakehouse.batch.compaction import compact
from lakehouse.batch.races import win
from lakehouse.exports.landing import FAILURES, LandedExport, land, noted_files, object_key
from lakehouse.exports.manifest import SUMMARY, Export, check_origin, folders, read, store_of
from lakehouse.exports.mapping import keys_of
from lakehouse.intake import validation
from lakehouse.intake.erased import ERASED, about_erased
from lakehouse.intake.landing import Scope
from lakehouse.intake.rules import key_values
from lakehouse.publish.publication import publish
from lakehouse.results import BatchResult, Counts, Progress, silent
from lakehouse.storage.context import Context
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.sql import file_list, literal, quoted
from lakehouse.table import schemas
from lakehouse.table.relations import text_columns
from lakehouse.table.scan import live_rows
from lakehouse.table.schemas import duckdb_type
from lakehouse.table.tables import TableState, published_entry

if TYPE_CHECKING:
    from contracts import Contracts, Field
    from lakehouse.storage.lake import Lake
    from lakehouse.storage.store import Store

_SECOND = 1_000_000


@dataclass(frozen=True)
class EntityBackfill:
    """What a backfill did to one entity: `landed` rows of the export, what became of them, and `corrections` by class
    (`vanished`, `expired`, `present`). `note` says why there could be none."""

    entity: str
    landed: int
    counts: Counts
    corrections: dict[str, int] = field(default_factory=dict)
    note: str | None = None
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class BackfillResult:
    """What one export did to the lake. `unmapped` items are no change (kept below `export-failures/`), `refused` files
    are not what the manifest says: both need a person. Seconds by step."""

    export: str
    kind: str
    at: datetime
    items: int
    unmapped: int
    refused: tuple[str, ...]
    entities: tuple[EntityBackfill, ...]
    seconds: dict[str, float]

    @property
    def rate(self) -> float:
        """Items a second, from file to table."""
        return self.items / max(sum(self.seconds.values()), 1e-3)

    @property
    def problems(self) -> list[str]:
        """What a person has to look at, in words."""
        found = [f"a file was refused: {reason}" for reason in self.refused]
        if self.unmapped:
            found.append(f"{self.unmapped} items are no change and kept whole below {FAILURES}")
        for entity in self.entities:
            if entity.note:
                found.append(f"{entity.entity}: {entity.note}")
            if entity.counts.quarantined:
                found.append(f"{entity.entity}: {entity.counts.quarantined} rows break the contract (quarantine)")
            found += [f"{entity.entity}: set aside: {held}" for held in entity.held]
        return [f"export {self.export}: {problem}" for problem in found]

    def document(self) -> dict[str, Any]:
        """The result as JSON can say it."""
        return {**asdict(self), "at": self.at.isoformat(), "items a second": round(self.rate)}


@dataclass(frozen=True)
class Plan:
    """What a backfill with an export would do: how many files and items are left to be landed, for which entities."""

    export: str
    kind: str
    at: datetime
    files: int
    left: int
    items: int | None
    entities: tuple[str, ...]
    doubts: tuple[str, ...]

    def __str__(self) -> str:
        doubts = f"; no corrections: {'; '.join(self.doubts)}" if self.doubts and self.kind == "full" else ""
        items = "?" if self.items is None else f"{self.items:,}"
        return (
            f"export {self.export} ({self.kind}, {self.at.isoformat()}): {items} items in "
            f"{self.files} files, of which {self.left} are to be landed, for {', '.join(self.entities)}{doubts}"
        )


@dataclass(frozen=True)
class Found:
    """An export and the bucket that it lies in."""

    store: Store
    export: Export


def find(lake: Lake, address: str, *, taken_at: datetime | None = None) -> list[Found]:
    """The exports at or below an address, the oldest first; below one that names several, those that are complete.
    Raises `UnusableExport` for one that cannot be read, and `LookupError` where there is none. `taken_at` as for
    `manifest.read`."""
    store, prefix = store_of(lake, address)
    there = folders(store, prefix)
    if len(there) > 1:
        there = [folder for folder in there if store.size(f"{folder}/{SUMMARY}.json") is not None] or there
    found = [Found(store, read(store, folder, taken_at=taken_at)) for folder in there]
    for one in found:
        check_origin(lake, one.export)
    if not found:
        raise LookupError(
            f"{store.uri(prefix)}: expected an export (AWSDynamoDB/<id>/manifest-summary.json) here or below, found "
            "none; look at the address, or request an export"
        )
    return sorted(found, key=lambda f: (f.export.at, f.export.id))


def plan(lake: Lake, contracts: Contracts, found: Found, entities: Collection[str] | None = None) -> Plan:
    """What `backfill` would do; nothing is written."""
    export, wanted = found.export, _wanted(contracts, entities)
    done = {n for n, f in noted_files(lake, export).items() if set(wanted) <= set(f.entities)}
    return Plan(
        export=export.id,
        kind=export.kind,
        at=export.at,
        files=len(export.files),
        left=len([f for f in export.files if f.number not in done]),
        items=export.items,
        entities=wanted,
        doubts=export.doubts,
    )


def backfill(
    lake: Lake,
    contracts: Contracts,
    found: Found,
    entities: Collection[str] | None = None,
    *,
    progress: Progress = silent,
    run_id: str | None = None,
) -> BackfillResult:
    """Land an export, ingest it, correct what it proves, and publish; `entities` of origin `stream`, or all of them.

    Raises what landing and compaction raise. Whatever stops it, the next call goes on."""
    wanted, seconds = _wanted(contracts, entities), {}
    started = time.monotonic()
    landed = land(lake, found.store, contracts, found.export, wanted, progress)
    seconds["land"] = time.monotonic() - started
    done = []
    for entity in wanted:
        work = _Entity(Context(lake, contracts[entity], progress, run_id), landed)
        started = time.monotonic()
        counts, held = work.ingest(landed.objects(entity))
        seconds["ingest"] = seconds.get("ingest", 0.0) + time.monotonic() - started
        started = time.monotonic()
        corrections, note = work.correct()
        seconds["correct"] = seconds.get("correct", 0.0) + time.monotonic() - started
        done.append(EntityBackfill(entity, landed.rows.get(entity, 0), counts, corrections, note, held))
    result = BackfillResult(
        export=landed.export.id,
        kind=landed.export.kind,
        at=landed.export.at,
        items=landed.items,
        unmapped=landed.unmapped,
        refused=landed.refused,
        entities=tuple(done),
        seconds={step: round(value, 3) for step, value in seconds.items()},
    )
    progress(f"export {result.export}: {result.items:,} items in the tables, {result.rate:,.0f} a second")
    return result


def _wanted(contracts: Contracts, entities: Collection[str] | None) -> tuple[str, ...]:
    known = [c.name for c in contracts.of_origin("stream")]
    if unknown := set(entities or ()) - set(known):
        raise ValueError(f"expected entities of origin stream ({', '.join(known)}), found {', '.join(sorted(unknown))}")
    return tuple(name for name in known if entities is None or not entities or name in entities)


def rest_of_the_second(at: datetime, now: datetime) -> float:
    """The seconds until what is listed proves something of the moment `at` of an export: S3's clock, which bounds
    watermarks, has whole seconds. 0.0 where none are left, or where clocks differ by more than that."""
    if not at.microsecond:
        return 0.0
    left = (at.replace(microsecond=0) + timedelta(seconds=1) - now).total_seconds()
    return left if 0 < left <= 1 else 0.0


@dataclass(frozen=True)
class _Entity:
    """The work on one entity with one landed export."""

    context: Context
    landed: LandedExport

    def ingest(self, keys: frozenset[str]) -> tuple[Counts, tuple[str, ...]]:
        """Ingest landed objects and publish; then what any tick does, so that the watermark moves on."""
        counts, held = Counts(), []
        if keys:
            done = self._published(Scope(keys=keys))
            counts = done.counts
            held = [f"{h.key}: {h.reason}" for h in (*done.held, *done.failing)]
        time.sleep(rest_of_the_second(self.landed.export.at, self.context.lake.now()))
        self._published(Scope.last_hours(1, self.context.lake.now()))
        return counts, tuple(held)

    def _published(self, scope: Scope) -> BatchResult:
        """One batch, published."""
        context = self.context

        def batch() -> BatchResult:
            done = compact(context.lake, context.contract, scope, progress=context.progress)
            publish(context.lake, context.contract, run_id=context.run_id)
            return done

        return win(batch, context.report)

    def correct(self) -> tuple[dict[str, int], str | None]:
        """Land and ingest what the export proves; answers how many rows by class, or why there can be none."""
        export, context = self.landed.export, self.context
        if export.kind != "full":
            return {}, None
        if not self.landed.is_whole:
            found = "; ".join((*export.doubts, *self.landed.refused))
            return {}, f"nothing is concluded from items that are not in the export, which is not proven whole: {found}"
        entry = published_entry(context.lake, context.contract)
        assert entry is not None
        state = TableState(context.lake, entry.metadata_location)
        if state.watermark is None or state.watermark < export.at:
            return {}, (
                f"nothing is concluded from items that are not in the export: expected a watermark after "
                f"{export.at.isoformat()}, found {state.watermark}; run it again later"
            )
        unattributed = _unattributed(context.lake, self.landed)
        if unattributed is None:
            return {}, (
                "nothing is concluded from items that are not in the export: some of its lines are no items; see "
                "export-failures/"
            )
        with connect(context.lake) as duck:
            proof = _Proof(duck, context, state, self.landed)
            validation.define(duck)
            proof.read_landed()
            proof.find()
            proof.leave_alone(unattributed)
            proof.leave_erased()
            note = proof.leave_nameless()
            counted, keys = proof.counts(), proof.land()
        if keys:
            context.report(f"export {export.id} proves {counted}: landed as {', '.join(sorted(keys))}")
            self._published(Scope(keys=keys))
        return counted, note


@dataclass(frozen=True)
class _Proof:
    """What a full export proves against the lake's state: rows of `_removed` (as the lake has them, typed) and of
    `_present` (as the export has them, text), both with a `_class`."""

    duck: Duck
    context: Context
    state: TableState
    landed: LandedExport

    @property
    def _second(self) -> int:
        return int(self.landed.export.at.timestamp())

    @property
    def _keys(self) -> str:
        return ", ".join(map(quoted, self.context.contract.primary_key))

    def find(self) -> None:
        """Make both relations."""
        contract, duck, second = self.context.contract, self.duck, self._second
        shape = schemas.compacted(contract).stored_as(self.state.metadata)
        before = f"(_version, _seq) < ({second * _SECOND - 1}, {literal('9' * SEQUENCE_WIDTH)})"
        duck.run(
            f"CREATE OR REPLACE TEMP VIEW _stored AS SELECT *, coalesce(_deleted, false) OR coalesce(_expired, false) "
            f"AS _gone, {before} AS _earlier FROM ({live_rows(shape, self.state.files)})"
        )
        values = key_values(contract)
        typed = ", ".join(f"{value} AS {quoted(name)}" for name, value in values.items())
        duck.run(f"CREATE OR REPLACE TEMP TABLE _exported AS SELECT {typed}, _op, _version FROM _arrived")
        fields = ", ".join(map(_as_written, contract.fields))
        expired = f"coalesce(_ttl <= {second}, false)"
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE _removed AS SELECT if({expired}, 'expired', 'vanished') AS _class, "
            f"{fields}, if({expired}, 'expire', 'remove') AS _op, if({expired}, {literal(EXPIRY)}, NULL) AS {BY}, "
            f"_ttl::VARCHAR AS _ttl, _contract, _extra "
            f"FROM (SELECT * FROM _stored WHERE _earlier AND NOT _gone) ANTI JOIN _exported USING ({self._keys})"
        )
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE _wanted AS SELECT {self._keys} FROM _exported "
            f"LEFT JOIN (SELECT {self._keys}, _gone, _earlier FROM _stored) USING ({self._keys}) "
            f"WHERE _op = 'snapshot' AND ((_gone AND _earlier) "
            f"OR (_gone IS NULL AND _version::BIGINT < {self.state.horizon}))"
        )
        texts = ", ".join(quoted(f.name) for f in contract.fields)
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE _present AS SELECT 'present' AS _class, {texts}, _op, {BY}, _ttl, "
            f"_contract, _extra FROM _arrived "
            f"WHERE ({', '.join(values.values())}) IN (SELECT ({self._keys}) FROM _wanted)"
        )

    def read_landed(self) -> None:
        """Make the view `_arrived` of what the export landed for the entity."""
        contract, store = self.context.contract, self.context.lake.store
        files = [store.uri(key) for key in sorted(self.landed.objects(contract.name))]
        names = ", ".join(f"NULL::VARCHAR AS {quoted(c)}" for c in text_columns(contract))
        source = (
            f"read_parquet({file_list(files)}, hive_partitioning = false)" if files else f"(SELECT {names} LIMIT 0)"
        )
        self.duck.run(f"CREATE OR REPLACE TEMP VIEW _arrived AS SELECT * FROM {source}")

    def leave_alone(self, unattributed: set[tuple[str, str]]) -> None:
        """Take from `_removed` the rows whose item is in the export, by its key, under an entity that nobody knows."""
        contract = self.context.contract
        if not unattributed or contract.keys is None:
            return
        names = contract.keys.fields
        for row, *values in self.duck.rows(f"SELECT rowid, {', '.join(map(quoted, names))} FROM _removed"):
            made = item_keys(contract, dict(zip(names, map(_value, values), strict=True)))
            if (made["pk"], made["sk"]) in unattributed:
                self.duck.run("DELETE FROM _removed WHERE rowid = $1", [row])

    def leave_erased(self) -> None:
        """Take from `_removed` the rows of erased persons: an erasure takes their items out of exports."""
        listed = self.state.metadata.properties.get(ERASED, "")
        if hit := about_erased(self.context.lake, self.context.contract, listed):
            self.duck.run(f"DELETE FROM _removed WHERE {hit}")

    def leave_nameless(self) -> str | None:
        """Take all from `_removed` where items of the export have no key that can be read, which may be those of any
        row; answers what to say of it."""
        missing = " OR ".join(f"{quoted(k)} IS NULL" for k in self.context.contract.primary_key)
        nameless = self.duck.count(f"SELECT count(*) FROM _exported WHERE {missing}")
        if not nameless or not self._has("_removed"):
            return None
        self.duck.run("DELETE FROM _removed")
        return (
            f"nothing is concluded from items that are not in the export: {nameless} of its items have no key that can "
            "be read; see the quarantine, correct them in the table and export again"
        )

    def counts(self) -> dict[str, int]:
        """How many corrections there are, by class."""
        return dict(
            self.duck.rows(
                "SELECT _class, count(*) FROM (SELECT _class FROM _removed UNION ALL SELECT _class FROM _present) "
                "GROUP BY _class ORDER BY _class"
            )
        )

    def land(self) -> frozenset[str]:
        """Land the corrections, one object of each relation that has any; answers the keys. An object is named by the
        keys of its rows, so that it is only ever written again with the same ones."""
        return frozenset(self._land(relation) for relation in ("_removed", "_present") if self._has(relation))

    def _has(self, relation: str) -> bool:
        return self.duck.count(f"SELECT count(*) FROM {relation}") > 0

    def _land(self, relation: str) -> str:
        contract, export, second = self.context.contract, self.landed.export, self._second
        event = " || '#' || ".join(f"{quoted(k)}::VARCHAR" for k in contract.primary_key)
        fields = ", ".join(quoted(f.name) for f in contract.fields)
        columns = {
            "_event_id": f"{literal(f'export:{export.id}:')} || _class || ':' || {event}",
            "_op": "_op",
            "_version": literal(str(second * _SECOND - 1)),
            "_seq": literal("9" * SEQUENCE_WIDTH),
            "_changed_at": literal(f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}Z"),
            "_ttl": "_ttl",
            "_contract": "_contract",
            "_extra": "_extra",
            BY: BY,
        }
        selected = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in columns.items())
        rows = f"SELECT {fields}, {selected} FROM {relation} ORDER BY {self._keys}"
        digest = self.duck.row(f"SELECT sha256(string_agg(sha256(_event_id), '' ORDER BY _event_id)) FROM ({rows})")[0]
        path = self.duck.scratch / f"{relation[1:]}.parquet"
        self.duck.run(f"COPY ({rows}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
        key = object_key(export, contract.name, f"{relation[1:]}-{digest[:16]}")
        self.context.lake.store.upload(path, key)
        return key


def _unattributed(lake: Lake, landed: LandedExport) -> set[tuple[str, str]] | None:
    """The keys (pk, sk) of items that are no change; None if a line is not even an item with a key."""
    found = set()
    for file in landed.files:
        for line in lake.store.read(file.kept).splitlines() if file.kept else ():
            keys = keys_of(json.loads(line)["item"])
            if keys is None:
                return None
            found.add(keys)
    return found


def _as_written(field: Field) -> str:
    """A stored field as a landed file has it: its times say that they are UTC, inside of lists and structs, too."""
    type_ = duckdb_type(field.type).replace("TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
    return f"CAST({quoted(field.name)} AS {type_}) AS {quoted(field.name)}"


def _value(value: Any) -> Any:
    """A stored value as `item_keys` reads it."""
    return value.isoformat() if isinstance(value, datetime) else value
