"""An object that is cut into parts, by weight or because memory ran out, leaves what it leaves when taken whole."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.types import NestedType
from lakehouse.api import compact
from lakehouse.intake import reading, validation, weights
from lakehouse.intake.landing import LandedObject, Scope, list_objects
from lakehouse.intake.ledger import Ledger
from lakehouse.intake.quarantine import list_files
from lakehouse.intake.text_files import Content
from lakehouse.intake.weights import Weight, shared_out
from lakehouse.publish.publication import publish
from lakehouse.results import BatchResult
from lakehouse.storage.duck import Duck, connect
from lakehouse.storage.failures import ATTEMPTS
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import LocalStore
from lakehouse.table.tables import TableState, published_entry
from tests.support.depth import examples
from tests.support.lakes import PARCELS, Landing, change, local_lake, published_changes, published_rows

THEN = datetime(2026, 11, 21, tzinfo=UTC)
DROPPED = replace(
    PARCELS,
    origin="files",
    ordering="part",
    fields=tuple(replace(f, required=f.name in PARCELS.primary_key) for f in PARCELS.fields),
)

changes = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 6), st.sampled_from(["1.00", "2.50", "1.005", "much"])), min_size=4,
    max_size=7,
)  # fmt: skip


def landed(first: int = 0, end: int | None = None, key: str = "k") -> LandedObject:
    return LandedObject(key, "e", 1, THEN, THEN, first=first, end=end)


@given(st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 5_000)), max_size=12), st.integers(1, 1 << 24))
def test_chunks_hold_each_row_of_each_object_once_and_little_enough(sizes: list[tuple[int, int]], limit: int) -> None:
    weights = {n: Weight(rows, rows * each) for n, (rows, each) in enumerate(sizes)}
    objects = [landed(key=str(n)) for n in range(len(sizes))]
    chunks = shared_out(objects, weights, limit)
    taken: dict[str, list[tuple[int, int | None]]] = {}
    for chunk in chunks:
        assert len(chunk) == 1 or all(part.whole for part in chunk)
        weight = 0
        for part in chunk:
            taken.setdefault(part.key, []).append((part.first, part.end))
            rows, each = sizes[int(part.key)]
            weight += each * ((rows if part.end is None else part.end) - part.first)
            assert part.whole or part.end is None or part.end > part.first
        small = len(chunk) == 1 and len(range(chunk[0].first, chunk[0].end or sizes[int(chunk[0].key)][0])) <= 2_048
        assert small or weight <= limit + max(sizes[int(p.key)][1] for p in chunk)
    assert list(taken) == [o.key for o in objects]
    for stretches in taken.values():
        assert stretches[0][0] == 0
        assert stretches[-1][1] is None
        assert all(one[1] == other[0] for one, other in pairwise(stretches))


def test_a_chunk_of_rows_with_lists_is_smaller() -> None:
    scalars = replace(PARCELS, fields=tuple(f for f in PARCELS.fields if not isinstance(f.type, NestedType)))
    assert weights.most_of(PARCELS) < weights.most_of(scalars)


@pytest.mark.parametrize("name", ["a.parquet", "a.ndjson"])
def test_a_chunk_of_parquet_takes_some_times_what_one_with_text_takes(tmp_path: Path, name: str) -> None:
    table = pa.table({"parcel_id": [f"p-{n}" for n in range(5_000)], "state": ["open"] * 5_000})
    content = io.BytesIO()
    if name == "a.parquet":
        pq.write_table(table, content)
    else:
        content.write(b"".join(json.dumps(row).encode() + b"\n" for row in table.to_pylist()))
    lake = local_lake(tmp_path)
    lake.store.write(f"dropbox/{DROPPED.name}/{name}", content.getvalue())
    objects = list_objects(lake, DROPPED, Scope.everything())

    def parts(most: int) -> int:
        with connect(lake) as duck:
            try:
                reading.read_objects(duck, lake, DROPPED, objects, most)
            except weights.TooHeavy as heavy:
                return len(heavy.chunks)
            return 1

    path = tmp_path / name
    path.write_bytes(content.getvalue())
    weighed = reading.weight_of(DROPPED, objects[0], path if name == "a.parquet" else Content(path, compressed=False))
    assert weighed is not None
    times = weights.PARQUET_TIMES if name == "a.parquet" else 1
    assert parts(weighed.bytes // times + 1) == 1
    assert parts(weighed.bytes // times - 1) > 1


def test_a_long_key_weighs_as_often_as_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "WORTH_A_LOOK", 0)
    landed = LandedObject("o.parquet", "e", 1, THEN, THEN)

    def weigh(key: str) -> int:
        table = pa.table({"key": [f"{n:03}{key}" for n in range(100)], "text": [f"{n:03}{key}" for n in range(100)]})
        pq.write_table(table, tmp_path / "o.parquet", use_dictionary=False, compression=None)
        one, other = (weights.weight_of_table(tmp_path / "o.parquet", landed, keys) for keys in (["key"], []))
        assert one is not None
        assert other is not None
        return one.bytes - other.bytes

    assert weigh("x") == 0
    assert weigh("x" * 1_000) == pytest.approx(2 * 100 * (1_003 - 64), rel=0.05)


@contextmanager
def cut(limit: int | None, most_rows: int | None = None) -> Iterator[None]:
    """Chunks of at most `limit` bytes; memory runs out where more than `most_rows` are taken at once."""
    check = validation.validate

    def runs_out(duck: Duck, *rest: Any) -> None:
        if most_rows is not None and duck.count("SELECT count(*) FROM checked") > most_rows:
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate (61.0 MiB/61.0 MiB used)")
        check(duck, *rest)

    with pytest.MonkeyPatch.context() as patch:
        if limit is not None:
            patch.setattr(weights, "CHUNK_WEIGHT", limit)
        patch.setattr(weights, "PARQUET_TIMES", 1)
        patch.setattr(weights, "FEWEST_ROWS", 1)
        patch.setattr(validation, "validate", runs_out)
        yield


def seen(lake: Lake, contract: Any, result: BatchResult) -> dict[str, Any]:
    publish(lake, contract)
    entry = published_entry(lake, contract)
    assert entry is not None
    ledger = Ledger.load(lake, TableState(lake, entry.metadata_location).ledger)
    counts = result.counts
    return {
        "rows": [{k: v for k, v in r.items() if k != "_batch"} for r in published_rows(lake, contract)],
        "changes": sorted(
            [{k: v for k, v in r.items() if k != "_batch"} for r in published_changes(lake, contract)],
            key=lambda row: row["_event_id"],
        ),
        "counts": (counts.read, counts.applied + counts.superseded, counts.duplicate, counts.quarantined),
        "objects": result.objects,
        "watermark": result.watermark,
        "ledger": sorted((t.key, t.status, t.rows, t.quarantined) for t in ledger.every()),
        "aside": sum(f.rows for f in list_files(lake, contract)),
    }


def take(contract: Any, name: str, content: Any, limit: int | None, most_rows: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, cut(limit, most_rows):
        lake = local_lake(Path(folder))
        if isinstance(content, bytes):
            lake.store.write(f"dropbox/{contract.name}/{name}", content)
            (dropped,) = Path(folder).rglob(name)
            os.utime(dropped, (THEN.timestamp(), THEN.timestamp()))  # what is in a row says when its file was dropped
        else:
            Landing(lake, contract).land(content, name=name)
        result = compact(lake, contract, Scope.everything())
        assert not result.held
        return seen(lake, contract, result)


@settings(max_examples=examples(2), deadline=None)
@given(changes, st.integers(1_000, 4_000), st.integers(2, 4))
def test_a_landed_object_in_any_parts_leaves_the_same(rows: list[Any], limit: int, most_rows: int) -> None:
    content = [change(f"p-{k}", version=v, seq=v, price=p, event=f"{k}/{v}/{p}") for k, v, p in rows]
    whole = take(PARCELS, "a.parquet", content, None, None)
    assert take(PARCELS, "a.parquet", content, limit, None) == whole
    assert take(PARCELS, "a.parquet", content, None, most_rows) == whole


@settings(max_examples=examples(2), deadline=None)
@given(
    changes,
    st.integers(2, 4),
    st.integers(400, 1_500),
    st.sampled_from(["a.csv", "a.ndjson", "a.csv.gz", "a.ndjson.gz"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_dropped_text_in_any_parts_leaves_the_same(
    rows: list[Any], most_rows: int, limit: int, name: str, end: str
) -> None:
    listed = [{"parcel_id": f"p-{k}", "part": str(v), "price": p} for k, v, p in rows]
    if "csv" in name:
        text = "parcel_id,part,price\n" + "".join(",".join(row.values()) + "\n" for row in listed)
    else:
        text = "".join(json.dumps(row) + "\n" for row in listed)
    text = text.replace("\n", end)
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    whole = take(DROPPED, name, content, None, None)
    assert take(DROPPED, name, content, None, most_rows) == whole
    assert take(DROPPED, name, content, limit, None) == whole


BAD_TEXTS = {
    "a.ndjson": b'{"parcel_id": "p-1", "part": "1", "price": "1.00"}\n\n  \nno JSON\n{"parcel_id": "p-2", "part": 1.0}',
    "b.ndjson": b'{"parcel_id": "p-3", "part": "1"}\n{"part": "2", "parcel_id": "p-\xff"}\n{"part": 3, "new": [1]}\n',
    "c.ndjson": b"",
    "d.ndjson.gz": gzip.compress(b'{"parcel_id": "p-4", "part": "1"}\n' * 3),
    "e.ndjson.gz": gzip.compress(b'{"parcel_id": "p-5", "part": "1"}\n')[:-9],
    "f.csv": b"parcel_id,part,price\np-6,1,1.00\np-6,2\np-7,1,much\n",
    "g.csv": b"part,parcel_id\n1,p-8\n2,\xff\n",
    "h.csv": b"no,header,that,fits\n1,2,3,4\n",
    "i.csv.gz": b"no gzip",
    "j.csv": b'parcel_id,part,price\n"p-9,1,1.00\n',
    "k.ndjson": b'{"parcel_id": "p-1", "part": "7", "price": "2.00"}',
}


def together(texts: dict[str, bytes], alone: bool, at_once: int = 16_384) -> tuple[dict[str, Any], int]:
    """What is left of these dropped texts, and how many statements read them."""
    statements, run = 0, Duck.run

    def counted(duck: Duck, sql: str, parameters: Any = None) -> None:
        nonlocal statements
        statements += sql.startswith("INSERT INTO checked")
        run(duck, sql, parameters)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Duck, "run", counted)
        patch.setattr(reading, "_ROWS_AT_ONCE", at_once)
        if alone:
            patch.setattr(reading, "_SMALL_BYTES", -1)
        lake = local_lake(Path(folder))
        for name, content in texts.items():
            lake.store.write(f"dropbox/{DROPPED.name}/{name}", content)
        for dropped in Path(folder).rglob("dropbox/*/*"):
            os.utime(dropped, (THEN.timestamp(), THEN.timestamp()))
        said = list[str]()
        result = compact(lake, DROPPED, Scope.everything(), progress=said.append)
        assert not [line for line in said if "halving" in line]
        left = {**seen(lake, DROPPED, result), "quarantined": sorted(result.quarantined_objects)}
        left["reasons"] = result.reasons
        return left, statements


def lines_of(name: str) -> st.SearchStrategy[bytes]:
    """A small file: lines that are as usual, odd but right, and wrong, with and without an end of the last one."""
    if "csv" in name:
        pool = [b"p-{},1,1.00", b'"p-{}",2,', b"p-{},3,much", b"p-{}", b"\xff,4,1.00", b""]
        first, ends = b"parcel_id,part,price", [b"\n", b"\r\n"]
    else:
        pool = [
            b'{"parcel_id": "p-{}", "part": "1"}', b'{"parcel_id":"p-{}","part":2,"price":1.50}', b"no JSON", b"  ",
            b'{"part": "3", "parcel_id": "p-\\u00e9{}", "sent_at": "2026-11-21T10:00:00+01:00"}',
            b'{"parcel_id": "\xff"}',
            b'{"parcel_id": "p-{}", "part": "4", "price": "much"}',
        ]  # fmt: skip
        first, ends = None, [b"\n", b"\r\n", b"\r"]

    def file(lines: list[tuple[bytes, int]], end: bytes, last: bytes) -> bytes:
        written = [line.replace(b"{}", str(number).encode()) for line, number in lines]
        return end.join([*([first] if first else []), *written]) + last

    line = st.tuples(st.sampled_from(pool), st.integers(0, 3))
    return st.builds(file, st.lists(line, max_size=6), st.sampled_from(ends), st.sampled_from([b"", b"\n"]))


ODD = b'{"parcel_id": "p-1", "part": "4", "price": "much"}'
NAMED = ["a.ndjson", "b.ndjson", "c.ndjson", "d.ndjson.gz", "f.csv", "g.csv.gz"]


@settings(max_examples=examples(8), deadline=None)
@given(st.fixed_dictionaries({name: lines_of(name) for name in NAMED}), st.integers(1, 9))
@example({"a.ndjson": b"\n".join([ODD] * 3), "b.ndjson": ODD + b"\n"}, 2)  # the last line without an end is read apart
def test_small_texts_read_together_leave_what_each_leaves_by_itself(files: dict[str, bytes], at_once: int) -> None:
    texts = {name: gzip.compress(content) if name.endswith("gz") else content for name, content in files.items()}
    assert together(texts, alone=False, at_once=at_once)[0] == together(texts, alone=True)[0]


@settings(max_examples=examples(3), deadline=None)
@given(st.lists(st.sampled_from(sorted(BAD_TEXTS)), min_size=2, unique=True), st.sampled_from([1, 2, 5, 16_384]))
@example(sorted(BAD_TEXTS), 3)
def test_broken_texts_read_together_leave_what_each_leaves_by_itself(names: list[str], at_once: int) -> None:
    texts = {name: BAD_TEXTS[name] for name in names}
    assert together(texts, alone=False, at_once=at_once)[0] == together(texts, alone=True)[0]


@pytest.mark.parametrize(("name", "most"), [("{}.ndjson", 2), ("{}.csv", 1)])
def test_many_small_texts_take_few_statements(name: str, most: int) -> None:
    rows = "parcel_id,part\np-{0},1\n" if "csv" in name else '{{"parcel_id": "p-{0}", "part": "1"}}\n'
    texts = {name.format(n): rows.format(n).encode() for n in range(50)}
    left, statements = together(texts, alone=False)
    assert (left["counts"][0], left["objects"]) == (50, 50)
    assert statements <= most


@pytest.mark.parametrize("name", ["a.csv", "k.ndjson"])
def test_a_text_of_which_a_row_gets_lost_is_not_committed(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    run = Duck.run

    def loses(duck: Duck, sql: str, parameters: Any = None) -> None:
        run(duck, sql, parameters)
        if sql.startswith("INSERT INTO checked"):
            run(duck, "DELETE FROM checked WHERE _row = 2")

    monkeypatch.setattr(Duck, "run", loses)
    lake, content = local_lake(tmp_path), BAD_TEXTS["f.csv"] if "csv" in name else BAD_TEXTS["k.ndjson"] + b"\n{}"
    lake.store.write(f"dropbox/{DROPPED.name}/{name}", content)
    result = compact(lake, DROPPED, Scope.everything())
    assert (result.counts.read, len(result.failing)) == (0, 1)
    assert "rows of dropbox" in result.failing[0].reason


def test_a_statement_that_fails_over_several_texts_is_tried_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    run, failed = Duck.run, []

    def fails(duck: Duck, sql: str, parameters: Any = None) -> None:
        several = "rows_read" in sql and duck.row("SELECT count(DISTINCT _no) FROM rows_read")[0] > 1
        if several and sql.startswith("INSERT INTO checked"):
            run(duck, sql, parameters)  # rows of it may be there already
            failed.append(sql)
            raise duckdb.InvalidInputException("Invalid Input Error: no such value")
        run(duck, sql, parameters)

    texts = {name: BAD_TEXTS[name] for name in ("a.ndjson", "b.ndjson", "f.csv", "g.csv")}
    expected, _ = together(texts, alone=True)
    monkeypatch.setattr(Duck, "run", fails)
    assert together(texts, alone=False)[0] == expected
    assert len(failed) == 2


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
@pytest.mark.parametrize(("limit", "most_rows"), [(1_000, None), (None, 2)])
def test_an_object_in_parts_is_downloaded_once(
    tmp_path: Path, name: str, limit: int | None, most_rows: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = local_lake(tmp_path)
    contract = DROPPED if name == "a.csv" else PARCELS
    if contract is PARCELS:
        Landing(lake, PARCELS).land([change(f"p-{n}", version=1) for n in range(9)], name=name)
    else:
        lake.store.write(f"dropbox/parcels/{name}", b"parcel_id,part\n" + b"".join(b"p-%d,1\n" % n for n in range(9)))
    downloads = []
    download = LocalStore.download
    monkeypatch.setattr(LocalStore, "download", lambda *given: (downloads.append(given[1]), download(*given)))
    with cut(limit, most_rows):
        result = compact(lake, contract, Scope.everything())
    assert (result.counts.applied, len(downloads)) == (9, 1)
    assert result.batch > 2  # in parts
    assert lake.scratch is not None
    assert not list(lake.scratch.glob("gavel-parts-*"))


def test_what_runs_out_of_memory_with_one_row_is_held_and_the_rest_goes_on(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    landing = Landing(lake, PARCELS)
    landing.land([change("p-1", version=1)])
    bad = landing.land([change("huge", version=1), change("p-2", version=1)])
    check = validation.validate

    def runs_out(duck: Duck, *rest: Any) -> None:
        if duck.count("SELECT count(*) FROM checked WHERE parcel_id = 'huge'"):
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate (61.0 MiB/61.0 MiB used)")
        check(duck, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "validate", runs_out)
        for _ in range(ATTEMPTS):
            result = compact(lake, PARCELS, Scope.everything())
    assert [h.key for h in result.held] == [bad]
    publish(lake, PARCELS)
    assert "p-1" in {row["parcel_id"] for row in published_rows(lake)}


def test_a_run_that_ends_between_two_parts_is_healed_by_the_next(tmp_path: Path) -> None:
    content = [change(f"p-{n}", version=1, price="much" if n in (1, 6) else "1.00") for n in range(8)]
    whole = take(PARCELS, "a.parquet", content, None, None)
    lake = local_lake(tmp_path)
    Landing(lake, PARCELS).land(content, name="a.parquet")
    calls: list[int] = []

    with cut(None, 2):
        with pytest.MonkeyPatch.context() as patch:
            inner = validation.validate

            def stops(duck: Duck, *rest: Any) -> None:
                inner(duck, *rest)
                calls.append(1)
                if len(calls) == 2:
                    raise OSError(28, "No space left on device")

            patch.setattr(validation, "validate", stops)
            with pytest.raises(OSError, match="No space"):
                compact(lake, PARCELS, Scope.everything())
        found = seen(lake, PARCELS, compact(lake, PARCELS, Scope.everything()))
    del whole["counts"], found["counts"]  # what the ended run ingested is a duplicate
    assert found == whole


@given(
    st.lists(st.tuples(st.text(max_size=9), st.none() | st.text(max_size=400)), min_size=1, max_size=60),
    st.integers(1, 70),
)
def test_a_file_in_small_row_groups_has_the_same_rows(rows: list[tuple[str, str | None]], group: int) -> None:
    table = pa.table({"a": [a for a, _ in rows], "b": pa.array([b for _, b in rows], pa.string())})
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "LARGE_COLUMN", 0)
        patch.setattr(weights, "_RECUT", 500)
        path = Path(folder) / "0"
        pq.write_table(table, path, row_group_size=group)
        weights.recut(path)
        assert pq.read_table(path).equals(table)
        assert [p.name for p in Path(folder).iterdir()] == ["0"]
        read = pq.ParquetFile(path)
        groups = [read.read_row_group(n) for n in range(read.num_row_groups)]
        assert all(len(each) == 1 or each.nbytes <= 500 + 2 * 8 for each in groups)  # the places of no text, too


def test_one_file_at_a_time_is_recut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are downloaded by some threads, and what recuts one holds a page of its largest column."""
    alone, groups = [], weights._groups

    def watched(batches: Any) -> Iterator[pa.Table]:
        alone.append(weights._one_recuts.locked())
        yield from groups(batches)

    monkeypatch.setattr(weights, "LARGE_COLUMN", 0)
    monkeypatch.setattr(weights, "_groups", watched)
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "0")
    assert weights.recut(tmp_path / "0")
    assert alone == [True]
    assert not weights._one_recuts.locked()


@pytest.mark.parametrize("chunk", [None, 60_000])
def test_a_file_whose_row_groups_do_not_fit_is_recut_once_and_read(
    tmp_path: Path, chunk: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer makes one group of many columns, or of a few heavy rows: no part of its rows is lighter to read."""
    recut, run = [], Duck.run
    cut_again = weights.recut

    def fits(duck: Duck, sql: str, parameters: object = None) -> None:
        files = (path for path in (duck.scratch / "landed").glob("*") if sql.startswith("INSERT INTO checked"))
        for path in files:
            footer = pq.read_metadata(path)
            if any(footer.row_group(n).total_byte_size > 20_000 for n in range(footer.num_row_groups)):
                raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data of size 4.0 MiB")
        run(duck, sql, parameters)

    def counted(path: Path, **how: bool) -> bool:
        done = cut_again(path, **how)
        recut.append(done)
        return done

    lake = local_lake(tmp_path)
    Landing(lake, PARCELS).land([change(f"p-{n}", version=1) for n in range(1_000)])
    monkeypatch.setattr(Duck, "run", fits)
    monkeypatch.setattr(weights, "recut", counted)
    monkeypatch.setattr(weights, "_RECUT", 8_000)
    with cut(chunk):
        result = compact(lake, PARCELS, Scope.everything())
    assert (result.counts.applied, result.held, result.failing) == (1_000, (), ())
    assert sum(recut) == 1


def test_many_small_objects_are_read_at_once_in_little_memory(tmp_path: Path) -> None:
    """The engine keeps the rows of each file that a statement reads apart, a few pages a column: too many fill it."""
    lake, said = replace(local_lake(tmp_path), memory_limit="200MB", threads=2), list[str]()
    landing = Landing(lake, PARCELS)
    for n in range(900):
        landing.land([change(f"p-{n}", version=1)])
    result = compact(lake, PARCELS, Scope.everything(), progress=said.append)
    assert (result.counts.applied, result.held, result.failing) == (900, (), ())
    assert not [line for line in said if "halving" in line]


@pytest.mark.parametrize("types", ["text", "typed"])
def test_many_row_groups_of_few_rows_are_read_at_once_in_little_memory(tmp_path: Path, types: str) -> None:
    lake, said = replace(local_lake(tmp_path), memory_limit="200MB", threads=2), list[str]()
    columns = {name: [change(f"p-{n}", version=1)[name] for n in range(1_200)] for name in change("p", version=1)}
    rows, buffer = pa.table(columns), io.BytesIO()
    if types == "typed":
        rows = rows.set_column(rows.column_names.index("part"), "part", pc.cast(rows["part"], pa.int64()))
    pq.write_table(rows, buffer, row_group_size=2)
    Landing(lake, PARCELS).land_bytes(buffer.getvalue())
    result = compact(lake, PARCELS, Scope.everything(), progress=said.append)
    assert (result.counts.applied, result.held, result.failing) == (1_200, (), ())
    assert not [line for line in said if "halving" in line]


@pytest.mark.parametrize(
    ("how", "recut"),
    [
        ({}, True),
        ({"store_decimal_as_integer": True}, True),
        ({"use_deprecated_int96_timestamps": True}, False),
        ({"use_compliant_nested_type": False}, False),
    ],
)
def test_a_file_in_pieces_is_recut_where_each_value_keeps_its_type(
    tmp_path: Path, how: dict[str, Any], recut: bool
) -> None:
    values: dict[str, tuple[Any, pa.DataType]] = {
        "short": (Decimal("1.50"), pa.decimal128(9, 2)),
        "long": (Decimal("1.50"), pa.decimal128(38, 10)),
        "count": (2**64 - 1, pa.uint64()),
        "plain": (-1, pa.int64()),
        "share": (0.1, pa.float32()),
        "day": (THEN.date(), pa.date32()),
        "zoned": (THEN, pa.timestamp("us", "UTC")),
        "bare": (THEN.replace(tzinfo=None), pa.timestamp("ns")),
        "bytes": (b"\xff", pa.binary()),
        "listed": ([{"a": Decimal("1.5")}, None], pa.list_(pa.struct([("a", pa.decimal128(9, 1))]))),
    }
    rows = pa.table({name: pa.array([value, None] * 40, type_) for name, (value, type_) in values.items()})
    pq.write_table(rows, path := tmp_path / "0", row_group_size=2, **how)
    before, described = pq.read_table(path), duckdb.sql(f"DESCRIBE FROM read_parquet('{path}')").fetchall()
    assert weights.recut(path) == recut
    assert pq.ParquetFile(path).num_row_groups == (1 if recut else 40)
    assert pq.read_table(path).to_pylist() == before.to_pylist()
    assert duckdb.sql(f"DESCRIBE FROM read_parquet('{path}')").fetchall() == described


@pytest.mark.parametrize("chunk", [None, 20_000])
def test_a_file_in_an_encoding_that_the_engine_does_not_know_is_read(tmp_path: Path, chunk: int | None) -> None:
    """Parquet 2.11 splits the bytes of integers and decimals, too."""
    lake, buffer = local_lake(tmp_path), io.BytesIO()
    columns = {name: [change(f"p-{n}", version=1)[name] for n in range(200)] for name in change("p", version=1)}
    rows = pa.table(columns)
    rows = rows.set_column(rows.column_names.index("part"), "part", pc.cast(rows["part"], pa.int64()))
    pq.write_table(rows, buffer, use_dictionary=False, column_encoding={"part": "BYTE_STREAM_SPLIT"})
    Landing(lake, PARCELS).land_bytes(buffer.getvalue())
    with cut(chunk):
        result = compact(lake, PARCELS, Scope.everything())
    assert (result.counts.applied, result.quarantined_objects, result.held, result.failing) == (200, (), (), ())


DAMAGED = """
import io, os, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from datetime import UTC, datetime
from lakehouse.intake import weights
from lakehouse.intake.landing import LandedObject
buffer, path = io.BytesIO(), Path(sys.argv[1])
landed = LandedObject("k", "e", 1, datetime.now(UTC), datetime.now(UTC))
weights.WORTH_A_LOOK = weights.SHORT_KEY = 0
pq.write_table(pa.table({"parcel_id": ["a", None], "part": [1, 1]}), buffer)
content = buffer.getvalue()
footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
for place in range(footer, len(content) - 8):
    for value in (content[place] ^ 1, content[place] ^ 4, content[place] ^ 16, 0):
        path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
        weights._footer_of.cache_clear()
        weights.largest_column(path)
        weights.recut(path)
    if place < footer + 150:  # the schema: what is behind it ends nothing, and to look takes 5 ms
        weights.weight_of_table(path, landed, ["parcel_id"])
print("alive")
"""


def test_no_damaged_footer_ends_the_process(tmp_path: Path) -> None:
    """Each of its bytes is changed in four ways, in a process of its own."""
    program = [sys.executable, "-c", DAMAGED, str(tmp_path / "damaged.parquet")]
    ended = subprocess.run(program, capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert (ended.returncode, ended.stdout) == (0, "alive\n"), ended.stderr[-500:]


@pytest.mark.parametrize("rows", [10**12, 10**9, 2**62, -1])
def test_a_footer_that_lies_about_its_rows_costs_its_object_once(
    tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = local_lake(tmp_path)
    landing = Landing(lake, PARCELS)
    bad = landing.land([change("p-1", version=1)])
    landing.land([change("p-2", version=1)])
    read = pq.read_metadata

    class Lying:
        """A footer as it would be with another number of rows."""

        def __init__(self, footer: Any) -> None:
            self._footer = footer

        def __getattr__(self, name: str) -> Any:
            return rows if name == "num_rows" else getattr(self._footer, name)

    def metadata(source: Any) -> Any:
        lies = b"p-1" in Path(source.name).read_bytes()
        return Lying(read(source)) if lies else read(source)

    monkeypatch.setattr(pq, "read_metadata", metadata)
    result = compact(lake, PARCELS, Scope.everything())
    publish(lake, PARCELS)
    assert [row["parcel_id"] for row in published_rows(lake)] == ["p-2"]
    (file,) = list_files(lake, PARCELS)
    assert (file.origin, file.whole, result.held) == (bad, True, ())
    assert "expected rows of at most" in next(iter(file.reasons))


def no_text(values: list[bytes]) -> pa.Array:
    return pc.cast(pa.array(values, pa.binary()), pa.string(), safe=False)


BROKEN = {
    "a column twice": lambda: pa.Table.from_arrays([pa.array(["p"]), pa.array(["x"]), pa.array(["y"])], NAMES),
    "bad text, also in a list": lambda: pa.table(
        {"parcel_id": no_text([b"\xff"]), "items": pa.ListArray.from_arrays([0, 1], no_text([b"\xff"]))}
    ),
}
NAMES = ["parcel_id", "state", "state"]


@pytest.mark.parametrize("wrong", BROKEN)
def test_an_unreadable_object_is_kept_byte_for_byte_also_if_it_was_recut_to_be_read(
    tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "LARGE_COLUMN", 0)  # any file is cut into small row groups
    table, buffer = BROKEN[wrong](), io.BytesIO()
    pq.write_table(table, buffer, compression="gzip")
    lake = local_lake(tmp_path)
    key = Landing(lake, PARCELS).land_bytes(buffer.getvalue(), THEN, "bad.parquet")
    compact(lake, PARCELS, Scope.everything())
    publish(lake, PARCELS)
    (file,) = list_files(lake, PARCELS)
    assert (file.origin, file.whole) == (key, True)
    assert lake.store.read(f"{file.key}.object") == buffer.getvalue()
