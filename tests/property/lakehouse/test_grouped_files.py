"""What a batch makes of an object does not depend on its neighbours: random Parquet files of random schemas, in any
grouping and order, give the same rows, identities and problems as each of them alone."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from contracts import Contract
from contracts.change import CHANGE_COLUMNS
from lakehouse.intake import reading, validation
from lakehouse.intake.landing import LandedObject
from lakehouse.results import Failure
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.failures import Poison, class_of
from lakehouse.storage.lake import Lake
from tests.support.depth import examples, seeds
from tests.support.lakes import PARCELS, local_lake

DROPPED = dataclasses.replace(
    PARCELS,
    origin="files",
    ordering="part",
    fields=tuple(
        dataclasses.replace(f, aliases=("PRICE",) if f.name == "price" else f.aliases, required=f.name == "parcel_id")
        for f in PARCELS.fields
    ),
)
THEN = datetime(2026, 11, 21, 1, 2, 3, 456789, UTC)
NANOSECONDS = 1767323045123456789

NUMBERS: list[pa.Array] = [
    pa.array([Decimal("0.2"), Decimal("7.0")], pa.decimal128(38, 1)),
    pa.array([Decimal("0.1964"), None], pa.decimal128(5, 4)),
    pa.array([Decimal("12345678901234567890.0123456789"), Decimal(0)], pa.decimal128(38, 10)),
    pa.array([9007199254740993, 16777217], pa.int64()),
    pa.array([1.5, 0.1], pa.float64()),
    pa.array([0.19, 7], pa.float32()),
    pa.array([2**64 - 1, 1], pa.uint64()),
    pa.array([7, None], pa.int8()),
    pa.array(["0.1964", "007"]),
    pa.array([True, None]),
    pa.nulls(2),
    pa.array([Decimal("1.5"), Decimal("2.5")], pa.decimal256(60, 10)),
]
TEXTS: list[pa.Array] = [
    pa.array(["a", "é"]),
    pa.array([7, 8], pa.int64()),
    pa.array([8.0, 1e30]),
    pa.array([b"a", b"\xc3\xa9"]),
    pa.array([b"\xff\xfe", b"b"]),
    pa.array(["a", "a"]).dictionary_encode(),
    pa.array([[1, 2], []], pa.list_(pa.int64())),
    pa.array([{"a": Decimal("1.50")}, None]),
]
TIMES: list[pa.Array] = [
    pa.array([THEN, None], pa.timestamp("us", "UTC")),
    pa.array([THEN, None], pa.timestamp("us", "Europe/Berlin")),
    pa.array([THEN.replace(tzinfo=None), None], pa.timestamp("us")),
    pa.array([NANOSECONDS, -NANOSECONDS], pa.timestamp("ns", "UTC")),
    pa.array([NANOSECONDS // 1000 * 1000, None], pa.timestamp("ns", "UTC")),
    pa.array([date(2026, 11, 21), None]),
    pa.array(["2026-11-21T01:02:03Z", "2026-11-21"]),
    pa.array([1767323045, None]),
]
NESTED: list[pa.Array] = [
    pa.array([[{"name": "n", "worth": Decimal("1.50")}], []]),
    pa.array([[{"name": "n", "worth": 1.5, "checked": True}], None]),
    pa.array([[{"name": "n", "colour": "red"}], None]),
    pa.array([[{"worth": 2}], None]),
    pa.array([['{"name":"n"}'], None]),
    pa.array(['[{"name":"n","worth":"1.5"}]', "[]"]),
    pa.array([{"name": "n"}, None]),
    pa.nulls(2, pa.list_(pa.null())),
]
MAPS: list[pa.Array] = [
    pa.array([[("k", "v")], []], pa.map_(pa.string(), pa.string())),
    pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    pa.array([{"k": "v"}, {"k": None}]),
    pa.array(['{"k":"v"}', "{"]),
]
KINDS = {
    "price": NUMBERS, "exact": NUMBERS, "part": NUMBERS, "fragile": NUMBERS, "state": TEXTS, "recipient": TEXTS,
    "sent_at": TIMES, "due": TIMES, "items": NESTED, "labels": MAPS,
}  # fmt: skip
OTHERS = ["PRICE", "Price", "Recipient", "colour", "Colour", "filename", "FILE_ROW_NUMBER", "path", "_no", "c0", "",
          "a'b", "_deleted", "_event_id", "_extra", "number", "nombre\"é"]  # fmt: skip
ANY = [*NUMBERS, *TEXTS, *TIMES, *NESTED, *MAPS]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A file's content: known columns of a random type, names that nobody knows, any order."""
    more = draw(st.sampled_from([0, 0, 3]))  # files that differ in one column show most of what a neighbour can do
    known = ["exact", *draw(st.lists(st.sampled_from(sorted(set(KINDS) - {"exact"})), max_size=more, unique=True))]
    columns = [(name, draw(st.sampled_from(KINDS[name]))) for name in known]
    columns += [
        (name, draw(st.sampled_from(ANY))) for name in draw(st.lists(st.sampled_from(OTHERS), max_size=min(more, 2)))
    ]
    columns.append(("parcel_id", pa.array([draw(st.sampled_from(["p", "q"])), "r"])))
    columns = draw(st.permutations(columns))
    return pa.table([array for _, array in columns], [name for name, _ in columns])


@st.composite
def landed_tables(draw: st.DrawFn) -> pa.Table:
    """The same as Firehose writes it: text, with columns that another contract knows, or writes otherwise."""
    names = [*draw(st.lists(st.sampled_from(OTHERS), max_size=2, unique=True)), *PARCELS.field_names, *CHANGE_COLUMNS]
    for old, new in draw(st.lists(st.sampled_from([("price", "PRICE"), ("state", "STATE"), ("_ttl", "_TTL")]))):
        names = [new if name == old else name for name in names]
    usual = {"parcel_id": "p", "part": "1", "sent_at": "2026-11-01T10:00:00Z", "price": "10.50", "_event_id": "e",
             "_op": "modify", "_version": "1", "_seq": "1", "_changed_at": "2026-11-21T11:59:00Z"}  # fmt: skip
    values = {name: [usual.get(name.lower()), usual.get(name.lower(), "x")] for name in names}
    if "_extra" in values:
        values["_extra"] = [draw(st.sampled_from([None, "{}", '{"a":{"S":"b"}}'])), None]
    return pa.table([pa.array(values[n], pa.string()) for n in names], names)


def parquet(table: pa.Table, compression: str = "snappy") -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression)
    return buffer.getvalue()


def ingested(duck: Duck, lake: Lake, contract: Contract, objects: Sequence[LandedObject]) -> dict[str, Any]:
    """What a batch of these objects finds: its valid rows, its rejected ones with their text, what is unreadable."""
    read = reading.read_objects(duck, lake, contract, objects)
    validation.validate(duck, contract)
    valid = duck.rows("SELECT * EXCLUDE (_rid, _no) FROM valid")
    rejected = duck.rows(
        "SELECT key, _row, _reason, unusual.* EXCLUDE (_no, _row) FROM rejected JOIN unusual USING (_no, _row) "
        "JOIN objects USING (_no)"
    )
    assert sum(read.rows.values()) == len(valid) + len(rejected)
    return {
        "valid": sorted(map(repr, valid)),
        "rejected": sorted(map(repr, rejected)),
        "unreadable": sorted(read.unreadable.items()),
    }


def batch_of(lake: Lake, contract: Contract, objects: Sequence[LandedObject]) -> dict[str, Any]:
    """A batch has a folder of its own: the engine remembers what it read under a path."""
    with connect(lake) as duck:
        return ingested(duck, lake, contract, objects)


def together(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: sorted(row for one in found for row in one[name]) for name in ("valid", "rejected", "unreadable")}


GROUPS = settings(
    max_examples=examples(12),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BROKEN = st.sampled_from([b"PAR1", b"no Parquet", b"PAR1" + b"x" * 40 + b"PAR1"])


@pytest.mark.parametrize("contract", [DROPPED, PARCELS], ids=["files", "stream"])
@GROUPS
@given(st.data())
def test_neighbours_change_nothing(contract: Contract, data: st.DataObject) -> None:
    content = (tables() if contract.origin == "files" else landed_tables()).map(parquet)
    files = data.draw(st.lists(st.one_of(content, content, content, content, BROKEN), min_size=2, max_size=4))
    with TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        for n, file in enumerate(files):
            lake.store.write(f"landed/{n}.parquet", file)
        objects = [LandedObject(s.key, s.etag, s.size, THEN, THEN) for s in lake.store.list("landed/")]
        alone = together([batch_of(lake, contract, [landed]) for landed in objects])
        mixed = data.draw(st.permutations(objects))
        cut = data.draw(st.integers(0, len(mixed)))
        groups = [group for group in (mixed[:cut], mixed[cut:]) if group]
        assert together([batch_of(lake, contract, group) for group in groups]) == alone


@pytest.mark.parametrize("seed", seeds(3))
def test_a_broken_file_speaks_for_itself(seed: int) -> None:
    """Bytes that are changed or missing anywhere: never a failure of the environment, which would stop the entity."""
    random = Random(seed)
    times = pa.array([NANOSECONDS + 1000 * n for n in range(2000)], pa.timestamp("ns", "UTC"))
    table = pa.table({"parcel_id": [str(n) for n in range(2000)], "sent_at": times, "items": [[{"name": "n"}]] * 2000})
    raised = set()
    with TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        for _ in range(60):
            content = bytearray(parquet(table, random.choice(["snappy", "zstd", "gzip", "none"])))
            if random.random() < 0.2:
                content = content[: random.randrange(1, len(content))]
            for _ in range(random.choice([1, 3, 20])):
                first = random.choice([0, max(0, len(content) - 2000)])
                content[random.randrange(first, len(content))] = random.randrange(256)
            lake.store.write("landed/0.parquet", bytes(content))
            (stored,) = lake.store.list("landed/")
            try:
                with connect(lake) as duck:
                    landed = LandedObject(stored.key, stored.etag, stored.size, THEN, THEN)
                    ingested(duck, lake, DROPPED, [landed])
            except (duckdb.Error, Poison) as error:
                raised.add(class_of(error))
    assert raised <= {Failure.POISON}
