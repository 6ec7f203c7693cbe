"""Some items of the operational table, read now and compared later, when the lake must know what they said: what is
between two exports is not left unseen, at a bounded cost.

A sample is taken with consistent reads: keys that changed lately, keys of any row, and a page of a random segment of
the table, in which an item that the lake has missed is found. What is kept of it are numbers (see `digests`) and the
seconds in which it was read, never a value. It is judged by the history, as of those seconds, when the watermark is
past them and the latest delivery: so traffic raises no alarm, however late.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from contracts.change import UnmappableRecord, change_from_item
from contracts.item import item_keys
from contracts.model import Contracts
from lakehouse.intake import reading, validation
from lakehouse.parity import digests, lake_state, naming, parity_log
from lakehouse.parity.digests import EXPIRED, LIVE, REMOVED
from lakehouse.parity.findings import SOURCE, Cause, Difference, DifferenceClass, Sampled
from lakehouse.parity.wanted import Sampling
from lakehouse.results import Progress, silent
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import CHANGES, Lake
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import schemas
from lakehouse.table.relations import CHECKED, VALID, text_columns
from lakehouse.table.scan import live_rows
from lakehouse.table.tables import TableState, published_entry

if TYPE_CHECKING:
    from contracts import Contract
    from contracts.validation import Value
    from lakehouse.storage.duck import Duck
    from lakehouse.table.iceberg import LiveFile

PREFIX = "parity-samples/"
SEGMENTS = 100_000
"""Into how many parts the table is thought to be cut; a page of one of them is read each time."""
_AT_ONCE = 100  # keys of a BatchGetItem
_TRIES = 5
_FILES = 3  # of which keys are drawn
_SKEW = 2  # seconds between this machine's clock and DynamoDB's
_GIVE_UP = timedelta(days=4)


@dataclass
class _Taken:
    """Items by their place in the table, and what reading them cost."""

    items: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    units: float = 0.0


def take_sample(lake: Lake, contracts: Contracts, sampling: Sampling, progress: Progress = silent) -> str | None:
    """Read some items and keep what they say, as numbers; returns the sample's key, None where nothing is published."""
    chance = random.Random(sampling.seed)  # noqa: S311 (no secret)
    begun = int(lake.now().timestamp())
    with connect(lake) as duck:
        duck.run("CREATE TEMP TABLE _sample (entity VARCHAR, k UHUGEINT, name VARCHAR, st UBIGINT)")
        taken = _Taken()
        scanned = _scan(sampling, chance, taken)
        published = 0
        for contract in contracts.of_origin("stream"):
            entry = published_entry(lake, contract)
            if entry is None:
                continue
            published += 1
            naming.prepare(duck, lake, contract)
            state = TableState(lake, entry.metadata_location)
            wanted = _draw(duck, contract, state, chance, sampling.size)
            places = {_place(contract, row): row for row in wanted}
            _get(sampling, list(places), taken)
            present = {place: taken.items[place] for place in places if place in taken.items}
            present |= {p: i for p, i in scanned.items() if i.get("entity", {}).get("S") == contract.name}
            _keep(duck, lake, contract, list(present.values()))
            _keep_absent(duck, contract, [row for place, row in places.items() if place not in present])
        if not published:
            return None
        ended = int(lake.now().timestamp())
        key = f"{PREFIX}{datetime.fromtimestamp(begun, UTC):%Y%m%dT%H%M%S}-{chance.randrange(2**32):08x}.parquet"
        path = duck.scratch / "sample.parquet"
        duck.run(
            f"COPY (SELECT entity, k::VARCHAR AS k, name, st, {begun} AS begun, {ended} AS ended, "
            f"{taken.units} AS units FROM _sample) TO {literal(str(path))} (FORMAT parquet)"
        )
        lake.store.upload(path, key)
        progress(f"{duck.count('SELECT count(*) FROM _sample')} keys sampled, {taken.units:,.1f} read capacity units")
    return key


def judge_samples(
    lake: Lake, contracts: Contracts, sampling: Sampling, progress: Progress = silent
) -> Iterator[Sampled]:
    """Compare every sample that can be judged by now, entity by entity; a row of the parity log is written for each.
    A sample that nothing is left of is removed."""
    for stored in list(lake.store.list(PREFIX)):
        left = 0
        with connect(lake) as duck:
            path = duck.scratch / "sample.parquet"
            lake.store.download(stored.key, path, stored.etag)
            duck.run(
                "CREATE TEMP TABLE _sample AS SELECT entity, k::UHUGEINT AS k, name, st, begun, ended, units "
                f"FROM read_parquet({literal(str(path))})"
            )
            (ended,) = duck.row("SELECT max(ended) FROM _sample")
            for contract in contracts.of_origin("stream"):
                if ended is None or not duck.count(
                    f"SELECT count(*) FROM _sample WHERE entity = {literal(contract.name)}"
                ):
                    continue
                begun = lake.now()
                sampled = _judge(duck, lake, contract, sampling)
                if sampled is None:
                    left += 1
                    continue
                progress(str(sampled))
                parity_log.record_sample(lake, sampled, begun, sampling.run_id)
                yield sampled
        # Those that are judged are judged again with the others, which says the same.
        if not left or stored.modified < lake.now() - _GIVE_UP:
            lake.store.delete([stored.key])


def _draw(
    duck: Duck, contract: Contract, state: TableState, chance: random.Random, size: int
) -> list[dict[str, Value]]:
    """The fields of which the places of some items are made: half of changes of the newest days, half of any rows."""
    assert contract.keys is not None
    fields = tuple(dict.fromkeys((*contract.primary_key, *contract.keys.fields)))
    newest = sorted(state.changes_files, key=lambda f: f.path)[-_FILES:]
    anywhere = chance.sample(state.files, min(_FILES, len(state.files)))
    found: list[dict[str, Value]] = []
    for shape, files in (
        (schemas.changes(contract).stored_as(state.changes_metadata), newest),
        (schemas.compacted(contract).stored_as(state.metadata), anywhere),
    ):
        found += _drawn(duck, fields, live_rows(shape, files), files, (chance.randrange(2**31), max(size // 2, 1)))
    return found


def _drawn(
    duck: Duck, fields: Sequence[str], rows: str, files: Sequence[LiveFile], seed_and_size: tuple[int, int]
) -> list[dict[str, Value]]:
    if not files:
        return []
    seed, size = seed_and_size
    columns = ", ".join(quoted(name) for name in fields)
    drawn = duck.rows(
        f"SELECT {columns} FROM (SELECT {columns} FROM ({rows})) "
        f"USING SAMPLE reservoir({size} ROWS) REPEATABLE ({seed})"
    )
    return [{n: _value(v) for n, v in zip(fields, row, strict=True)} for row in drawn]


def _value(value: Any) -> Value:
    if isinstance(value, datetime):  # UTC, which the table does not say
        return value.replace(tzinfo=UTC).isoformat()
    return value if isinstance(value, str | int | bool) or value is None else str(value)


def _place(contract: Contract, row: Mapping[str, Value]) -> tuple[str, str]:
    keys = item_keys(contract, row)
    return keys["pk"], keys["sk"]


def _get(sampling: Sampling, places: Sequence[tuple[str, str]], taken: _Taken) -> None:
    """Read items by their places; raises `TimeoutError` where the table answers only some of them again and again."""
    for start in range(0, len(places), _AT_ONCE):
        keys: Any = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in places[start : start + _AT_ONCE]]
        request: Any = {sampling.table: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(_TRIES):
            answer = sampling.dynamodb.batch_get_item(RequestItems=request, ReturnConsumedCapacity="TOTAL")
            taken.units += sum(float(c.get("CapacityUnits", 0)) for c in answer.get("ConsumedCapacity") or ())
            for item in answer["Responses"].get(sampling.table, ()):
                taken.items[item["pk"]["S"], item["sk"]["S"]] = item
            request = answer.get("UnprocessedKeys")
            if not request:
                break
            sampling.pause(0.2 * 2**attempt)
        else:
            raise TimeoutError(
                f"{sampling.table}: expected the items of a sample, found keys unprocessed after {_TRIES} requests; "
                "the table is throttled: the next sample follows in an hour"
            )


def _scan(sampling: Sampling, chance: random.Random, taken: _Taken) -> dict[tuple[str, str], Mapping[str, Any]]:
    """A page of a random segment of the table."""
    answer = sampling.dynamodb.scan(
        TableName=sampling.table,
        Segment=chance.randrange(SEGMENTS),
        TotalSegments=SEGMENTS,
        Limit=_AT_ONCE,
        ConsistentRead=True,
        ReturnConsumedCapacity="TOTAL",
    )
    taken.units += float((answer.get("ConsumedCapacity") or {}).get("CapacityUnits", 0))
    return {(item["pk"]["S"], item["sk"]["S"]): item for item in answer.get("Items", ())}


def _keep(duck: Duck, lake: Lake, contract: Contract, items: Sequence[Mapping[str, Any]]) -> None:
    """Keep the numbers of items; those that break the contract are in quarantine, and not compared."""
    import pyarrow as pa

    contracts, rows = Contracts({contract.name: contract}), []
    for item in items:
        try:
            mapped = change_from_item(item, contracts, event_id="sample", read_at=lake.now())
        except UnmappableRecord:
            continue
        if mapped is not None:
            rows.append(mapped[1])
    if not rows:
        return
    names = text_columns(contract)
    table = pa.table({n: pa.array([row[n] for row in rows], pa.string()) for n in names})
    duck.connection.register("sampled_items", table)
    reading.read_objects(duck, lake, contract, [])
    text = "(SELECT 0::INTEGER AS _no, row_number() OVER () AS _row, NULL::VARCHAR AS _problem, * FROM sampled_items)"
    duck.run(f"INSERT INTO {CHECKED} {validation.check(contract, text)}")
    validation.validate(duck, contract)
    duck.run(
        f"INSERT INTO _sample SELECT {literal(contract.name)}, _k, {naming.shown(contract)}, "
        f"{digests.of_change(contract)} FROM (SELECT {digests.key(contract)} AS _k, * FROM {VALID})"
    )
    duck.connection.unregister("sampled_items")


def _keep_absent(duck: Duck, contract: Contract, rows: Sequence[Mapping[str, Value]]) -> None:
    """Keep the keys that the table has no item of."""
    for row in rows:
        columns = ", ".join(
            f"{literal(str(row[n]))}::{schemas.duckdb_type(contract.field(n).type)} AS {quoted(n)}"
            for n in contract.primary_key
        )
        duck.run(
            f"INSERT INTO _sample SELECT {literal(contract.name)}, _k, {naming.shown(contract)}, NULL "
            f"FROM (SELECT {digests.key(contract)} AS _k, * FROM (SELECT {columns}))"
        )


def _judge(duck: Duck, lake: Lake, contract: Contract, sampling: Sampling) -> Sampled | None:
    """The result of the entity's part of a sample; None while changes of then may be on their way."""
    entry = published_entry(lake, contract)
    of_entity = f"entity = {literal(contract.name)}"
    begun, ended, units = duck.row(f"SELECT min(begun), max(ended), max(units) FROM _sample WHERE {of_entity}")
    at = datetime.fromtimestamp(begun, UTC)
    state = None if entry is None else TableState(lake, entry.metadata_location)
    ripe = datetime.fromtimestamp(ended + _SKEW, UTC) + sampling.lateness
    if state is None or state.watermark is None or state.watermark < ripe:
        return None
    changes = lake_state.changes_of(contract, state)
    naming.prepare(duck, lake, contract)
    name = naming.shown(contract, "k") if contract.key_names_a_person else "name"
    live = f"count(*) FILTER (WHERE st >= {LIVE}) OVER (PARTITION BY k)"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _wanted AS SELECT DISTINCT k, {name} AS name, st, {live} AS items "
        f"FROM _sample WHERE {of_entity}"
    )
    first, last = (begun - _SKEW) * 1_000_000, (ended + _SKEW + 1) * 1_000_000
    wanted = f"{digests.key(contract)} IN (SELECT k FROM _wanted)"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _moved AS SELECT DISTINCT {digests.key(contract)} AS k FROM ({changes}) "
        f"WHERE {wanted} AND _version >= {first} AND _version < {last}"
    )
    order = "struct_pack(v := _version, s := _seq, e := _event_id)"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _was AS SELECT {digests.key(contract)} AS k, "
        f"arg_max({digests.of_change(contract)}, {order}) AS st FROM ({changes}) "
        f"WHERE {wanted} AND _version < {first} GROUP BY ALL"
    )
    compared = duck.rows(
        "SELECT w.name, w.st, h.st, w.items FROM _wanted AS w LEFT JOIN _was AS h USING (k) "
        "WHERE w.k NOT IN (SELECT k FROM _moved) ORDER BY w.name"
    )
    doubled = sorted({name for name, *_, items in compared if items > 1})
    found = [_doubled(contract, name) for name in doubled]
    found += [
        _difference(contract, name, kind) for name, e, h, items in compared if items < 2 and (kind := _kind(e, h))
    ]
    return Sampled(
        contract.name,
        at,
        state.watermark,
        read=duck.count("SELECT count(*) FROM _wanted WHERE st IS NOT NULL"),
        compared=len(compared),
        aside=duck.count("SELECT count(*) FROM _moved"),
        differences=tuple(found),
        capacity_units=float(units or 0),
    )


def _kind(item: int | None, history: int | None) -> DifferenceClass | None:
    """The class of a difference between an item (None: there is none) and what the history says (None: nothing)."""
    if item is None or item == REMOVED:
        return "extra" if history is not None and history >= LIVE else None
    if history is None:
        return "missed"
    if history == REMOVED:
        return "wrongly deleted"
    if history == EXPIRED:
        return "wrongly expired"
    return None if item == history else "unequal"


def _doubled(contract: Contract, name: str) -> Difference:
    evidence = "two items of a sample have the key; compare with an export, which says where they are"
    return Difference(contract.name, SOURCE, name, "doubled by the source", "two items of one key", evidence, False)


def _difference(contract: Contract, name: str, kind: DifferenceClass) -> Difference:
    cause: Cause = "stream or relay"
    evidence = "by a sample; compare with an export, which says the cause and repairs it"
    return Difference(contract.name, contract.name + CHANGES, name, kind, cause, evidence, False)
