"""Entities of origin `files`: NDJSON, CSV and Parquet drops end in the same rows, and bad ones say what is wrong."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts import Contract, Field, load_contracts
from contracts.types import DecimalType, IntegerType, ListType, MapType, StringType, StructType
from lakehouse.api import compact
from lakehouse.intake import long_values, text_files
from lakehouse.intake.landing import Scope
from lakehouse.intake.quarantine import list_files
from lakehouse.publish.publication import publish
from lakehouse.results import BatchResult, Counts
from lakehouse.storage.lake import Lake
from tests.support.lakes import Clock, published_changes, published_rows, without

COUNTRIES = load_contracts()["countries"]
TARIFFS = Contract(
    name="tariffs",
    version="2.0.0",
    description="Carriers' tariffs.",
    owner="platform",
    domain="auctions",
    origin="files",
    fields=(
        Field("tariff_id", 1, StringType(), required=True),
        Field("edition", 2, IntegerType(), required=True),
        Field("rate", 3, DecimalType(38, 10), aliases=("RATE",)),
        Field(
            "zones", 4, ListType(5, StructType((Field("zone", 6, StringType()), Field("fee", 7, DecimalType(20, 2)))))
        ),
    ),
    primary_key=("tariff_id",),
    partition=None,
    sort=(),
    ordering="edition",
    keys=None,
    retention_days=365,
    freshness_minutes=60,
)
ROWS: list[dict[str, Any]] = [
    {"tariff_id": "a", "edition": 1, "RATE": "1.5"},
    {"tariff_id": "a", "edition": 3, "RATE": "12345678901234567890.0123456789"},
    {"tariff_id": "a", "edition": 2, "RATE": "2.5"},
    {"tariff_id": "b", "edition": 1, "RATE": None},
]


def drop(lake: Lake, name: str, content: bytes, contract: Contract = TARIFFS) -> str:
    key = f"dropbox/{contract.name}/{name}"
    lake.store.write(key, content)
    return key


def run(lake: Lake, contract: Contract = TARIFFS) -> BatchResult:
    result = compact(lake, contract, Scope.everything())
    publish(lake, contract)
    return result


def ndjson(rows: list[dict[str, Any]]) -> bytes:
    # The rate as a bare JSON number: no digit of it may be lost on the way.
    lines = (json.dumps(r).replace(f'"{r["RATE"]}"', str(r["RATE"])) for r in rows)
    return ("\n".join(lines) + "\n").encode()


def csv_text(rows: list[dict[str, Any]]) -> bytes:
    lines = [f"{r['tariff_id']},{r['edition']},{r['RATE'] or ''}" for r in rows]
    return ("\ufefftariff_id,edition,rate\r\n" + "\r\n".join(lines) + "\r\n").encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    rates = [None if r["RATE"] is None else Decimal(r["RATE"]) for r in rows]
    table = pa.table(
        {
            "tariff_id": [r["tariff_id"] for r in rows],
            "edition": pa.array([r["edition"] for r in rows], pa.int32()),
            "RATE": pa.array(rates, pa.decimal128(38, 10)),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.ndjson", ndjson(ROWS)),
        ("t.json.gz", gzip.compress(ndjson(ROWS), mtime=0)),
        ("t.csv", csv_text(ROWS)),
        ("t.csv.gz", gzip.compress(csv_text(ROWS), mtime=0)),
        ("t.parquet", parquet(ROWS)),
    ],
)
def test_each_form_gives_the_same_rows_and_the_ordering_column_decides(lake: Lake, name: str, content: bytes) -> None:
    drop(lake, name, content)
    assert run(lake).counts == Counts(read=4, applied=2, superseded=2)
    first, second = published_rows(lake, TARIFFS)
    assert (first["tariff_id"], first["rate"]) == ("a", Decimal("12345678901234567890.0123456789"))
    assert (first["_version"], first["_op"], first["_contract"]) == (3, "snapshot", "2.0.0")
    written = next(o.modified for o in lake.store.list("dropbox/tariffs/"))
    assert first["_seq"] == f"dropbox/tariffs/{name}#{written:%Y%m%dT%H%M%S%f}#000000000002"
    assert (second["tariff_id"], second["rate"]) == ("b", None)


def test_ties_go_by_object_key_and_row_number(lake: Lake) -> None:
    drop(lake, "b.csv", b"tariff_id,edition,rate\na,1,1\na,1,2\n")
    drop(lake, "a.csv", b"tariff_id,edition,rate\na,1,3\na,1,4\n")
    assert run(lake).counts == Counts(read=4, applied=1, superseded=3)
    assert [r["rate"] for r in published_rows(lake, TARIFFS)] == [Decimal(2)]


def test_an_object_dropped_again_repeats_what_it_said_before(lake: Lake, clock: Clock) -> None:
    drop(lake, "t.csv", b"tariff_id,edition,rate\na,1,1\nb,1,1\n")
    run(lake)
    drop(lake, "t.csv", b"tariff_id,edition,rate\na,1,1\nb,2,5\n")
    assert run(lake).counts == Counts(read=2, applied=1, duplicate=1)
    assert [r["rate"] for r in published_rows(lake, TARIFFS)] == [Decimal(1), Decimal(5)]
    assert len(published_changes(lake, TARIFFS)) == 3


def test_a_row_marked_deleted_removes_and_unknown_columns_are_kept(lake: Lake) -> None:
    drop(
        lake,
        "t.ndjson",
        b'{"tariff_id": "a", "edition": 1, "colour": "red"}\n{"tariff_id": "b", "edition": 1, "_deleted": true}',
    )
    assert run(lake).counts == Counts(read=2, applied=2)
    kept, removed = published_rows(lake, TARIFFS)
    assert (kept["_deleted"], kept["_extra"]) == (False, '{"colour": "red"}')
    assert (removed["_deleted"], removed["_op"]) == (True, "remove")


def test_nested_values_keep_every_digit(lake: Lake) -> None:
    zones = '[{"zone": "EU", "fee": 123456789012345678.25}, {"zone": "US", "fee": null}]'
    drop(lake, "t.ndjson", f'{{"tariff_id": "a", "edition": 1, "zones": {zones}}}'.encode())
    typed = pa.table(
        {
            "tariff_id": ["b"],
            "edition": [1],
            "zones": pa.array(
                [[{"zone": "EU", "fee": Decimal("123456789012345678.25")}, {"zone": "US", "fee": None}]],
                pa.list_(pa.struct([("zone", pa.string()), ("fee", pa.decimal128(20, 2))])),
            ),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(typed, buffer)
    drop(lake, "t.parquet", buffer.getvalue())
    assert run(lake).counts == Counts(read=2, applied=2)
    first, second = published_rows(lake, TARIFFS)
    assert (
        first["zones"]
        == second["zones"]
        == [{"zone": "EU", "fee": Decimal("123456789012345678.25")}, {"zone": "US", "fee": None}]
    )


def test_a_bad_line_is_a_quarantined_row_and_a_bad_object_is_quarantined_whole(lake: Lake) -> None:
    drop(
        lake,
        "lines.ndjson",
        b'{"tariff_id": "a", "edition": 1}\n{"tariff_id": \n[1]\n{"tariff_id": "c", "edition": NaN}\n',
    )
    drop(lake, "cells.csv", b"tariff_id,edition,rate\nd,1,1\ne,1\n")
    drop(lake, "header.csv", b"colour,size\nred,1\n")
    drop(lake, "latin.csv", "tariff_id,edition\né,1\n".encode("latin-1"))
    drop(lake, "compressed.ndjson.gz", b"not compressed")
    drop(lake, "broken.parquet", b"PAR1")
    drop(lake, "what.xlsx", b"PK")

    result = run(lake)

    assert result.counts == Counts(read=7, applied=2, quarantined=5)
    assert [r["tariff_id"] for r in published_rows(lake, TARIFFS)] == ["a", "d"]
    whole = {f.origin.rpartition("/")[2]: next(iter(f.reasons)) for f in list_files(lake, TARIFFS) if f.whole}
    assert sorted(whole) == ["broken.parquet", "compressed.ndjson.gz", "header.csv", "what.xlsx"]
    assert "expected a header with tariff_id" in whole["header.csv"]
    assert "expected an object named .parquet" in whole["what.xlsx"]
    assert sorted(k.rpartition("/")[2] for k in result.quarantined_objects) == sorted(whole)
    (cells,) = [f for f in list_files(lake, TARIFFS) if f.origin.endswith("cells.csv")]
    assert (cells.rows, dict(cells.reasons)) == (1, {"not a row: expected 3 values as in the header": 1})


def test_the_time_of_the_reference_data_orders_it(lake: Lake) -> None:
    header = "country_code,name,region,currency,vat_rate,updated_at\n"
    drop(lake, "new.csv", (header + "DE,Germany,Europe,EUR,0.1900,2026-01-01T00:00:00Z\n").encode(), COUNTRIES)
    drop(lake, "old.csv", (header + "DE,Germany,Europe,DEM,0.1600,1999-01-01T00:00:00+01:00\n").encode(), COUNTRIES)
    drop(lake, "naive.csv", (header + "FR,France,Europe,EUR,0.2000,2026-01-01 00:00:00\n").encode(), COUNTRIES)
    result = run(lake, COUNTRIES)
    assert result.counts == Counts(read=3, applied=1, superseded=1, quarantined=1)
    assert list(result.reasons) == ["updated_at: expected a timestamp with offset like 2026-11-21T01:02:03.4Z"]
    (row,) = published_rows(lake, COUNTRIES)
    assert (row["currency"], row["_version"]) == ("EUR", int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000)
    assert row["_changed_at"] == datetime(2026, 1, 1)  # noqa: DTZ001 (UTC by convention in the lake)


def test_a_corrected_contract_lets_quarantined_rows_in(lake: Lake) -> None:
    from lakehouse.batch.compaction import requeue

    strict = dataclasses.replace(
        TARIFFS,
        fields=(*TARIFFS.fields[:2], dataclasses.replace(TARIFFS.fields[2], type=DecimalType(4, 1)), TARIFFS.fields[3]),
    )
    drop(lake, "t.csv", b"tariff_id,edition,rate\na,1,1.5\nb,1,1.25\n")
    drop(lake, "broken.parquet", b"PAR1")
    assert run(lake, strict).counts == Counts(read=2, applied=1, quarantined=1)
    assert len(list_files(lake, strict)) == 2
    before = without(published_rows(lake, strict), "_batch")

    wider = dataclasses.replace(
        strict,
        version="2.1.0",
        fields=(*strict.fields[:2], dataclasses.replace(strict.fields[2], type=DecimalType(6, 1)), strict.fields[3]),
    )
    drop(lake, "broken.parquet", parquet([{"tariff_id": "c", "edition": 1, "RATE": "7"}]))
    result = requeue(lake, wider)
    publish(lake, wider)
    assert result.counts == Counts(read=3, applied=1, duplicate=1, quarantined=1)
    assert [f.origin.rpartition("/")[2] for f in list_files(lake, wider)] == ["t.csv"]
    assert without(published_rows(lake, wider), "_batch")[0] == before[0]


DELETED = ["true", "false", "True", "TRUE", "1", "0", "yes", "t", "no", "remove", "null"]


@pytest.mark.parametrize("form", ["csv", "ndjson", "ndjson of texts", "parquet"])
@pytest.mark.parametrize("written", DELETED)
def test_a_removal_is_read_right_or_its_row_is_reported(lake: Lake, form: str, written: str) -> None:
    """In each form of file: what is neither true nor false is never taken for a row that lives."""
    if form == "csv":
        name, content = "t.csv", f"tariff_id,edition,_deleted\na,1,{written}\n".encode()
    elif form == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.table({"tariff_id": ["a"], "edition": [1], "_deleted": [written]}), buffer)
        name, content = "t.parquet", buffer.getvalue()
    else:
        bare = written in ("true", "false", "1", "0", "null") and form == "ndjson"
        value = written if bare else json.dumps(written)
        name, content = "t.ndjson", f'{{"tariff_id": "a", "edition": 1, "_deleted": {value}}}\n'.encode()
    drop(lake, name, content)
    counts = run(lake).counts
    missing = written == "null" and form == "ndjson"
    if written in ("true", "false") or missing:
        assert counts == Counts(read=1, applied=1)
        (row,) = published_rows(lake, TARIFFS)
        assert row["_deleted"] == (written == "true")
    else:
        assert counts == Counts(read=1, quarantined=1)
        (file,) = list_files(lake, TARIFFS)
        assert list(file.reasons) == ["_deleted: expected true or false"]


@pytest.mark.parametrize("column", [pa.array([True]), pa.array([1]), pa.array([1.0]), pa.array([None], pa.bool_())])
def test_a_typed_removal_is_a_boolean_or_reported(lake: Lake, column: pa.Array) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"tariff_id": ["a"], "edition": [1], "_deleted": column}), buffer)
    drop(lake, "t.parquet", buffer.getvalue())
    good = pa.types.is_boolean(column.type)
    assert run(lake).counts == (Counts(read=1, applied=1) if good else Counts(read=1, quarantined=1))


HIDDEN = [
    "_SUCCESS",
    "_temporary/0/part-0.csv",
    "spark/_temporary/0/part-0.csv",
    ".DS_Store",
    ".tmp/t.csv",
    "a/._t.csv",
]
PLAIN = ["t.csv", "a_b/c.csv", "a.b/c_.csv", "2026/x_.csv"]


def test_hidden_and_temporary_names_are_no_data(lake: Lake) -> None:
    """What Spark, Hive and desktops put beside data, and what is still being written."""
    for number, name in enumerate([*HIDDEN, *PLAIN]):
        drop(lake, name, f"tariff_id,edition\n{number},1\n".encode())
    result = run(lake)
    assert result.counts == Counts(read=len(PLAIN), applied=len(PLAIN))
    assert list_files(lake, TARIFFS) == []


def test_a_reason_never_quotes_a_file_that_has_no_header(lake: Lake) -> None:
    """Its first row is data, of a person perhaps; reasons go to the ledger, to notes and to alerts."""
    for name, first in (("a.csv", "A-1,Erika Mustermann,erika@example.org"), ("b.csv", "Erika,x,Erika")):
        drop(lake, name, f"{first}\nB-2,Max Mustermann,max@example.org\n".encode())
    run(lake)
    reported = [reason for file in list_files(lake, TARIFFS) for reason in file.reasons]
    assert len(reported) == 2
    assert all(word not in reason for reason in reported for word in ("Erika", "Mustermann", "example"))


BROKEN = {
    "a byte that is no UTF-8": b'{"tariff_id": "x\xe9", "edition": 1}',
    "bytes cut off": b'{"tariff_id": "x", "edition": 1, "n": "\xe2\x82"}',
    "a lone surrogate": rb'{"tariff_id": "x\ud83d", "edition": 1}',
    "a lone surrogate in a name": rb'{"tariff_id": "x", "edition": 1, "n\uDC00": 1}',
    "only a byte": b"\xff",
}


@pytest.mark.parametrize("ending", ["ndjson", "ndjson.gz"])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_one_bad_line_among_good_ones_is_one_bad_row(lake: Lake, broken: bytes, ending: str):
    content = b'{"tariff_id": "a", "edition": 1}\n' + broken + b'\n{"tariff_id": "b", "edition": 1}\n'
    drop(lake, f"x.{ending}", gzip.compress(content) if ending.endswith("gz") else content)
    result = compact(lake, TARIFFS, Scope.everything())
    publish(lake, TARIFFS)
    assert (len(result.quarantined_objects), result.counts.quarantined) == (0, 1)
    assert [row["tariff_id"] for row in published_rows(lake, TARIFFS)] == ["a", "b"]


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_one_bad_row_of_csv_is_one_bad_row(lake: Lake, quote: bytes):
    drop(lake, "x.csv", b"tariff_id,edition\na,1\n" + quote + b"x\xe9" + quote + b",1\nb,1\n")
    result = compact(lake, TARIFFS, Scope.everything())
    publish(lake, TARIFFS)
    assert (len(result.quarantined_objects), result.counts.quarantined) == (0, 1)
    assert [row["tariff_id"] for row in published_rows(lake, TARIFFS)] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.ndjson.gz", b" " * 20_000),
        ("x.ndjson.gz", b'{"tariff_id": "' + b"a" * 20_000),
        ("x.csv.gz", b'tariff_id,edition\na,"' + b"x\n" * 20_000),
        ("x.csv.gz", b"tariff_id,edition\na," + b"x" * 20_000),
        ("x.csv.gz", b"tariff_id,edition\na," + b'"x\n",' * 4_000),
        ("x.csv.gz", b'tariff_id,edition\na"b,1\na,' + b'"x\n",' * 4_000),
        ("x.csv", b'tariff_id,edition\na,"' + b"x\n" * 200_000),
    ],
)
def test_a_line_without_end_is_refused_before_it_is_in_memory(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
):
    monkeypatch.setattr(text_files, "LONGEST_LINE", 8_000)
    drop(lake, name, gzip.compress(content))
    drop(lake, "good.ndjson", b'{"tariff_id": "a", "edition": 1}')
    result = compact(lake, TARIFFS, Scope.everything())
    publish(lake, TARIFFS)
    assert len(result.quarantined_objects) == 1
    assert [row["tariff_id"] for row in published_rows(lake, TARIFFS)] == ["a"]


@pytest.mark.parametrize(
    ("form", "head", "escaped", "tail"),
    [
        ("ndjson", b'{"edition":1,"tariff_id":"', b"x", b'"}'),
        ("ndjson", b'{"edition":1,"tariff_id":"', rb"\u00e9xyz", b'"}'),
        ("csv", b'1,"', b"x,\n" + b"a" * 60, b'"'),
    ],
    ids=["plain", "escapes", "csv"],
)
def test_the_longest_line_passes_with_the_default_memory(
    lake: Lake, form: str, head: bytes, escaped: bytes, tail: bytes
) -> None:
    """As a key, of which the engine makes most copies; a line of one byte more costs its file."""
    before = b"" if form == "ndjson" else b"edition,tariff_id\n"
    room = text_files.LONGEST_LINE - len(head + tail) - (form == "csv")  # the end of its line belongs to a row of CSV
    value = escaped * (room // len(escaped)) + b"y" * (room % len(escaped))
    drop(lake, f"a.{form}", before + head + value + tail + b"\n" + head + b"b" + tail + b"\n")
    bad = drop(lake, f"b.{form}", before + head + b"c" + tail + b"\n" + head + value + b"y" + tail + b"\n")
    result = run(lake)
    assert (result.held, result.failing, result.counts.applied) == ((), (), 2)
    assert result.quarantined_objects == (bad,)


def test_rows_that_are_long_are_handed_on_a_few_at_a_time() -> None:
    rows = [(n, {"tariff_id": "x" * 1_000_000}, None) for n in range(20)]
    assert max(table.num_rows for table in text_files.in_tables(("tariff_id",), rows)) <= 5


@pytest.mark.parametrize("blank", [b" \n", b"\t \r\n", "\u2003\n".encode(), b"\n"])
def test_a_flood_of_blank_lines_is_no_row(lake: Lake, blank: bytes) -> None:
    drop(lake, "x.ndjson", b'{"tariff_id":"a","edition":1}\n' + blank * 50_000 + b'{"tariff_id":"b","edition":1}')
    assert run(lake).counts == Counts(read=2, applied=2)


def compressed(pattern: bytes, times: int) -> bytes:
    """A file of gzip that decompresses to `pattern` as often, written member by member."""
    member = gzip.compress(pattern * (times // 100))
    return member * 100


@pytest.mark.parametrize(
    ("name", "head", "pattern"),
    [
        ("a.ndjson.gz", b"", b'{"tariff_id": "a", "edition": 1}\n'),
        ("a.ndjson.gz", b"", b"\n"),
        ("a.csv.gz", b"tariff_id,edition\n", b"a,1\n"),
        ("a.csv.gz", b'tariff_id,edition\na"b,1\n', b"a,1\n"),
    ],
    ids=["rows", "blank lines", "csv", "csv row by row"],
)
def test_a_file_that_decompresses_without_end_is_refused_before_it_is_read(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str, head: bytes, pattern: bytes
) -> None:
    monkeypatch.setattr(text_files, "MOST_DECOMPRESSED", 100_000)
    monkeypatch.setattr(text_files, "MOST_TIMES", 2)
    bad = drop(lake, name, gzip.compress(head) + compressed(pattern, 200_000))
    drop(lake, "z.ndjson", b'{"tariff_id": "z", "edition": 1}\n')
    run(lake)
    (kept,) = list_files(lake, TARIFFS)
    assert (kept.origin, kept.whole) == (bad, True)
    assert "decompresses to at most" in next(iter(kept.reasons))
    assert [row["tariff_id"] for row in published_rows(lake, TARIFFS)] == ["z"]


@pytest.mark.parametrize(
    ("name", "pattern"), [("a.ndjson.gz", b"\0"), ("a.ndjson.gz", b" "), ("a.csv.gz", b"\0"), ("a.csv.gz", b"\n")]
)
def test_hundreds_of_megabytes_out_of_kilobytes_are_refused(lake: Lake, name: str, pattern: bytes) -> None:
    bad = drop(lake, name, compressed(pattern * 1000, 300_000))
    run(lake)
    (kept,) = list_files(lake, TARIFFS)
    assert (kept.origin, kept.whole) == (bad, True)


def test_what_packs_well_and_is_small_is_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MOST_TIMES", 2)
    drop(lake, "a.ndjson.gz", gzip.compress(b'{"tariff_id": "a", "edition": 1}\n' * 1000))
    run(lake)
    assert list_files(lake, TARIFFS) == []
    assert [row["tariff_id"] for row in published_rows(lake, TARIFFS)] == ["a"]


ZONES = "zones: expected list<struct<zone: string, fee: decimal(20,2)>>"


def list_of(members: int, opening: str = "[ ") -> str:
    """A list that keeps its contract and is not in the form that the relay writes."""
    return opening + ",".join(['{"fee":"1.5","zone":"a"}'] * members) + "]"


@pytest.mark.parametrize("form", ["parquet", "ndjson", "csv"])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (list_of(400_000), None),
        (list_of(3_000, "["), None),
        ('[{"zone":"' + '\\"é' * 40_000 + '"}]', None),
        ("[" * 1_000_000 + "]" * 1_000_000, f"{ZONES} as JSON"),
        ("[" * 2_000_000, f"{ZONES} as JSON"),
        (list_of(3_000)[:-1] + ',{"zone":"a","zone":"b"}]', "zones: a member is given twice"),
        (list_of(3_000)[:-1] + ',{"fee":1}]', "zones: expected numbers as text"),
        (list_of(3_000)[:-1] + ',{"fee":"secret"}]', ZONES),
        (list_of(750_000), "zones: expected at most 16777216 bytes"),
    ],
    ids=["members", "order", "escapes", "deep", "open", "twice", "number", "type", "size"],
)
def test_one_long_value_costs_its_row_at_most(lake: Lake, form: str, value: str, problem: str | None) -> None:
    if form != "parquet" and len(value) > 12 << 20:
        pytest.skip("takes seconds, and the rules are those for Parquet")
    rows = [
        {"tariff_id": key, "edition": "1", "zones": zones} for key, zones in (("a", None), ("b", value), ("c", None))
    ]
    match form:
        case "parquet":
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows), buffer)
            content = buffer.getvalue()
        case "ndjson":
            content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        case _:
            quoted = (f'{r["tariff_id"]},1,"' + (r["zones"] or "").replace('"', '""') + '"\n' for r in rows)
            content = ("tariff_id,edition,zones\n" + "".join(quoted)).encode()
    drop(lake, f"x.{form}", content)
    result = run(lake)
    assert (result.held, result.failing) == ((), ())
    assert result.counts.applied == (3 if problem is None else 2)
    if problem is None:
        found = {row["tariff_id"]: row["zones"] for row in published_rows(lake, TARIFFS)}
        assert len(found["b"]) == value.count("{")
        assert found["b"][-1] == {"fee": Decimal("1.50"), "zone": "a"} or "é" in found["b"][-1]["zone"]
    else:
        (reason,) = result.reasons
        assert reason == problem
        assert "secret" not in str(list_files(lake, TARIFFS)[0].reasons)


@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_a_long_value_has_integers_as_a_short_one_has(lake: Lake, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_values, "LONG", 100)
    stop = StructType((Field("days", 6, IntegerType()), Field("hours", 7, MapType(8, 9, IntegerType()))))
    contract = dataclasses.replace(TARIFFS, fields=(*TARIFFS.fields[:3], Field("zones", 4, ListType(5, stop))))
    stops = {"short": [{"days": "2"}], "long": [{"hours": {"x": "-3", "y": "4.0"}, "days": "2"}] * 20}
    wrong = {"text": [*stops["long"], {"days": "two"}], "part": [*stops["long"], {"hours": {"x": "0.5"}}]}
    rows = [{"tariff_id": k, "edition": "1", "zones": json.dumps(v)} for k, v in (stops | wrong).items()]
    if form == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        drop(lake, "x.parquet", buffer.getvalue())
    else:
        drop(lake, "x.ndjson", "".join(json.dumps(row) + "\n" for row in rows).encode())
    counts = run(lake, contract).counts
    assert (counts.applied, counts.quarantined) == (2, 2)
    (found,) = (row["zones"] for row in published_rows(lake, contract) if row["tariff_id"] == "long")
    assert found == [{"days": 2, "hours": [("x", -3), ("y", 4)]}] * 20


@pytest.mark.parametrize("between", [":", " :", ": ", " : ", "  :", "\t:", " \t : "])
@pytest.mark.parametrize("before", [0, 30])
def test_digits_are_kept_wherever_white_space_stands(lake: Lake, between: str, before: int) -> None:
    """And wherever in the file the line stands: the way of reading is chosen by what comes first."""
    rate = "12345678901234567890.0123456789"
    others = "".join(f'{{"tariff_id":"o-{n}","edition":1,"rate":1}}\n' for n in range(before))
    line = f'{{"tariff_id"{between}"T", "edition"{between}1, "rate"{between}{rate}}}\n'
    drop(lake, "t.ndjson", (others + line).encode())
    assert run(lake).counts == Counts(read=before + 1, applied=before + 1)
    assert {r["tariff_id"]: r["rate"] for r in published_rows(lake, TARIFFS)}["T"] == Decimal(rate)


@pytest.mark.parametrize("form", ["parquet", "ndjson", "csv"])
@pytest.mark.parametrize(
    ("column", "value", "named"),
    [("tariff_id", "x", "tariff_id"), ("unknown", "x", "_extra"), ("zones", "", "zones")],
)
def test_no_value_may_be_longer_than_any(
    lake: Lake, form: str, column: str, value: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_values, "MOST_BYTES", 2_000)
    texts = {n: value * n if value else '[{"zone":"' + "z" * (n - 13) + '"}]' for n in (1_900, 2_100)}
    rows = [{"tariff_id": str(n), "edition": "1"} | {column: text} for n, text in texts.items()]
    match form:
        case "parquet":
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(rows), buffer)
            content = buffer.getvalue()
        case "ndjson":
            content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        case _:
            text = io.StringIO()
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
            content = text.getvalue().encode()
    drop(lake, f"x.{form}", content)
    result = run(lake)
    assert (result.counts.applied, result.counts.quarantined, result.held) == (1, 1, ())
    assert [reason.partition(",")[0] for reason in result.reasons] == [f"{named}: expected at most 2000 bytes"]


def test_an_object_that_cannot_be_read_is_set_aside_once_however_many_parts_it_has(lake: Lake) -> None:
    """A quote that never ends, over so many lines that the object would be ingested in parts."""
    key = "dropbox/tariffs/x.csv"
    lake.store.write(key, b'tariff_id,edition,rate\na,1,"' + b"xxxxxxxxxxxxxxx\n" * (1100 << 10))
    assert compact(lake, TARIFFS, Scope.everything()).quarantined_objects == (key,)
    publish(lake, TARIFFS)
    assert len(list_files(lake, TARIFFS)) == 1
    assert compact(lake, TARIFFS, Scope.everything()).objects == 0
