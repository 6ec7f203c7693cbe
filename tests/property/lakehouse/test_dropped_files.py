"""Dropped files are read at once as they are row by row: text, row numbers, problems, and what is no file at all."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lakehouse.intake import reading, text_files, validation, weights
from lakehouse.intake.landing import LandedObject
from lakehouse.storage.duck import Duck, connect
from lakehouse.table.relations import text_columns
from tests.support.depth import examples
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
COLUMNS = text_columns(DROPPED)
QUICK = settings(
    max_examples=examples(60),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

Found = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


@contextmanager
def reader(content: bytes, name: str) -> Iterator[tuple[Duck, Path, Callable[[], str]]]:
    """A connection where `content` is the only object ingested, its path, and a call that reads it as a batch does
    and says why it could not."""
    with tempfile.TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        lake.store.write(f"dropbox/parcels/{name}", content)
        (stored,) = lake.store.list("dropbox/")
        landed = LandedObject(stored.key, stored.etag, stored.size, datetime(2026, 11, 21, tzinfo=UTC), stored.modified)

        def read() -> str:
            return reading.read_objects(duck, lake, DROPPED, [landed]).unreadable.get(landed.key, "")

        with connect(lake) as duck:
            yield duck, Path(lake.store.uri(landed.key)), read


def rows(duck: Duck) -> Found:
    """The rows that hold and those that do not, with their text."""
    validation.validate(duck, DROPPED)
    valid = duck.rows("SELECT * FROM valid ORDER BY _row")
    texts = ", ".join(COLUMNS)
    return valid, duck.rows(f"SELECT _row, _reason, {texts} FROM rejected JOIN unusual USING (_no, _row) ORDER BY _row")


def rows_of(duck: Duck, tables: Iterator[Any]) -> Found:
    """The same for rows of text, put in without any short cut."""
    validation.begin(duck, DROPPED)
    for table in tables:
        duck.connection.register("given", table)
        source = "(SELECT 0::INTEGER AS _no, * FROM given)"
        duck.run(f"INSERT INTO checked {validation.check(DROPPED, source)}")
    return rows(duck)


# ---- NDJSON

WRITTEN = st.sampled_from(
    ["1", "-1", "0", "-0", "1.50", "0.10", "12345678901234567890.0123456789", "1e2", "1E-2", "01", "-", "1.", ".5",
     "+1", "NaN", "-Infinity", "nan", "inf", "null", "nul", "true", "True", '"1.5"', '"text"', '"a, 12"', '"é"',
     '"a: 12"', '"\\u00e9"',
     '"\\"price\\": 7"', '"\\\\"', '"', "[1.50, 2]", '["a",1.50]', '{"a": 1.50}', '{"a":"1","a":"2"}',
     '{"a":"b"}', '[{"name":"n","worth":"1.5"}]', '[{"name": "n", "worth": 1.50}]', '[{"worth":"1","worth":"2"}]', "[",
     '"2026-11-21T01:02:03Z"', '"2026-11-21"', '" "', '"\t"', '""']
)  # fmt: skip
NAME = st.sampled_from(
    ["parcel_id", "part", "sent_at", "price", "PRICE", "exact", "state", "fragile", "due", "items", "labels",
     "recipient", "_deleted", "colour", "a", "", "par\\u0074", "é"]
)  # fmt: skip
MEMBER = st.builds(
    '{}"{}"{}:{}{}{}'.format,
    st.sampled_from(["", "", "", " ", "  "]),
    NAME,
    st.sampled_from(["", "", "", " ", "  ", "\t"]),
    st.sampled_from(["", " ", " ", "  ", "\t"]),
    WRITTEN,
    st.sampled_from(["", "", "", " "]),
)
USUAL = st.builds(
    '{{"parcel_id": "{}", "part": {}, "price": {}, "exact": {}, "fragile": {}, "items": {}, "labels": {}}}'.format,
    st.sampled_from(["p-1", "é", "a, 1.50", "a: 1"]),
    st.integers(-5, 5),
    st.sampled_from(["1", "1.5", "1.50", "-0.10", "null", "1.505", '"2.50"']),
    st.sampled_from(["1", "0.10", "12345678901234567890.0123456789", "12345678901234567890123456789"]),
    st.sampled_from(["true", "false", "null", '"true"', "1"]),
    st.sampled_from(["null", "[]", '[{"name":"n","worth":"1.5"}]', '[{"name": "n", "worth": 1.50}]', "[1]"]),
    st.sampled_from(["null", "{}", '{"a":"b"}', '{"a": 1.50}', '{"a":"b","a":"c"}', '{"a":null}']),
)
LINE = st.one_of(
    USUAL,
    USUAL,
    st.lists(MEMBER, max_size=4).map(lambda members: "{" + ",".join(members) + "}"),
    st.lists(MEMBER, max_size=3).map(lambda members: "{" + ",".join([*members, ""]) + " }"),
    st.sampled_from(["", " ", "\t", "\u2028", "\ufeff", "[1]", "1", '{"a":1', "{}{}", '{"part": 1} x', "\x00", "\x1f"]),
)
END = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "\n\n"])
JSON_FILE = st.builds(
    lambda mark, lines, last: (mark + "".join(line + end for line, end in lines) + last).encode(),
    st.sampled_from(["", "", "\ufeff"]),
    st.lists(st.tuples(LINE, END), max_size=25),
    st.one_of(st.just(""), LINE),
)


# What a reader that puts numbers between quotes must not take for text.
ALMOST_NUMBERS = b"".join(
    b'{"parcel_id": "a", "part": 1, "sent_at": "2026-11-21T01:02:03Z", "recipient": %s}\n' % number
    for number in (
        b"1",
        b"01",
        b"1.",
        b"1.2.3",
        b"-",
        b"--1",
        b"-.5",
        b"1 2",
        b"NaN",
        b"nan",
        b"Infinity",
        b"1,",
        b"1 ,",
    )
)


def json_expected(content: bytes) -> list[tuple[int, dict[str, str | None], str | None]]:
    """Rows of a file of JSON, its lines by the standard library alone."""
    source = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="", errors="surrogateescape")
    lines = [line.rstrip("\r\n").encode(errors="surrogateescape") for line in source if line.strip()]
    table = pa.table({"_row": pa.array(range(1, len(lines) + 1), pa.int64()), "raw": pa.array(lines, pa.binary())})
    return list(text_files.json_rows(DROPPED, table))


@QUICK
@given(JSON_FILE, st.sampled_from([64, 1 << 22]))
@example(b'{"parcel_id": "a", "part": 1}\n' * 3 + b"\xff\n", 1 << 22)
@example(b'{"parcel_id": "a", "part": 1, "colour": "red", "price": 1.50}\n', 1 << 22)
@example(ALMOST_NUMBERS, 1 << 22)
@example('{"parcel_id": "a", "part": 1}\n\u2028\n{"parcel_id": "b", "part": 1}'.encode(), 1 << 22)
def test_json_is_read_at_once_as_it_is_line_by_line(content: bytes, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch, reader(content, "t.ndjson") as (duck, path, read):
        patch.setattr(text_files, "_BLOCK", block)
        assert read() == ""
        found = rows(duck)
        assert rows_of(duck, text_files.in_tables(COLUMNS, json_expected(content))) == found
        content_read = text_files.Content(path, compressed=False)
        assert rows_of(duck, text_files.read_text(DROPPED, COLUMNS, "t.ndjson", content_read)) == found


INNER = st.recursive(
    st.sampled_from(['"x"', "1.50", "null", "true"]),
    lambda value: st.one_of(
        st.lists(value, max_size=3).map(lambda values: "[" + ",".join(values) + "]"),
        st.lists(st.tuples(st.sampled_from(["a", "b", "\\u0061", "name", "worth"]), value), max_size=3).map(
            lambda members: "{" + ",".join(f'"{name}":{each}' for name, each in members) + "}"
        ),
    ),
    max_leaves=8,
)


def is_given_twice(line: str) -> bool:
    """Whether any object in a text of JSON has a member twice, by keeping the objects as lists of members."""

    class Members(list[Any]):
        pass

    def twice(value: Any) -> bool:
        if isinstance(value, Members):
            return len({name for name, _ in value}) < len(value) or any(twice(each) for _, each in value)
        return isinstance(value, list) and any(map(twice, value))

    return twice(json.loads(line, object_pairs_hook=Members))


@QUICK
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.sampled_from(["price", "recipient", "labels", "items", "colour"]), INNER), max_size=3
            ),
            st.booleans(),
        ),
        min_size=1,
        max_size=12,
    )
)
@example([([("recipient", '{"a":"x","a":"y"}')], False)])
@example([([("recipient", '[{"a":"x","a":"y"}]')], False)])
@example([([("labels", '{"a":"x","a":"y"}')], False), ([("items", '[{"name":"n","name":"m"}]')], False)])
@example([([], True)])
def test_a_member_that_is_given_twice_costs_its_row(given: list[tuple[list[tuple[str, str]], bool]]) -> None:
    lines = []
    for members, key_twice in given:
        key = '"parcel_id":"p",' * (1 + key_twice)
        rest = "".join(f',"{name}":{value}' for name, value in members)
        lines.append(f'{{{key}"part":1,"sent_at":"2026-11-21T01:02:03Z"{rest}}}')
    with reader("\n".join(lines).encode(), "t.ndjson") as (duck, _, read):
        assert read() == ""
        _, rejected = rows(duck)
        reported = {row[0] for row in rejected if "given twice" in row[1]}
        assert reported == {number for number, line in enumerate(lines, start=1) if is_given_twice(line)}


def test_json_in_the_usual_form_is_not_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = '{{"parcel_id": "p-{0}", "part": {0}, "sent_at": "2026-11-21T01:02:03Z", "price": {0}.50}}'
    content = "\n".join(line.format(n) for n in range(50)).encode()
    with reader(content, "t.ndjson") as (duck, _, read):
        monkeypatch.setattr(reading, "json_rows", None)  # calling it would fail
        assert read() == ""
        valid, rejected = rows(duck)
        assert (len(valid), rejected) == (50, [])


# ---- CSV

CELL = st.one_of(
    st.sampled_from(
        [
            "",
            "a",
            "1.50",
            '"a"',
            '"a,b"',
            '"a\nb"',
            '"a\r\nb"',
            '"a""b"',
            '""',
            '""""',
            "é",
            " a",
            "a ",
            "\ufeff",
            "\ufeffa",
        ]
    ),
    st.sampled_from(['a"b', '"a"b', '"a" ', ' "a"', '"', '"a', "\x00"]),
)
REGULAR = st.sampled_from(["", "a", "1.50", '"a"', '"a,b"', '"a\nb"', '"a\r\nb"', '"a""b"', '""', '""""', "é", " a "])
RECORD = st.one_of(
    st.lists(REGULAR, min_size=3, max_size=3), st.lists(REGULAR, max_size=5), st.lists(CELL, min_size=3, max_size=3)
).map(",".join)
CSV_FILE = st.builds(
    lambda mark, header, records, last: (mark + header + "".join(r + e for r, e in records) + last).encode(),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from(
        ["parcel_id,part,PRICE\n", 'parcel_id,"part",colour\r\n', "part,parcel_id,_deleted\r", "parcel_id\n",
         "part,part,parcel_id\n", "price,PRICE,parcel_id,part\n", "\n", 'parcel_id,part,"x\ny"\n']
    ),
    st.lists(st.tuples(RECORD, END), max_size=25),
    st.one_of(st.just(""), RECORD),
)  # fmt: skip


def csv_expected(content: bytes) -> list[tuple[int, dict[str, str | None], str | None]]:
    """Rows of a CSV file by the standard library alone."""
    records = csv.reader(io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline=""), strict=True)
    header = next(records, None) or []
    if len(set(header)) < len(header):
        raise ValueError("a column twice")
    "".join(header).encode()
    names = text_files.resolve(DROPPED, header)
    if not {"parcel_id", "part"} <= set(names.values()):
        raise ValueError("no key")
    found: list[tuple[int, dict[str, str | None], str | None]] = []
    for record in records:
        number = len(found) + 1
        foreign = next((c for c in "".join(record) if 0xDC80 <= ord(c) <= 0xDCFF), None)
        if foreign:
            problem = f"not a row: expected text in UTF-8, found the byte 0x{ord(foreign) - 0xDC00:02x}"
            text = json.dumps(record, ensure_ascii=False).encode(errors="surrogateescape").decode(errors="replace")
            found.append((number, {"_extra": text}, problem))
        elif len(record) == len(header):
            row: dict[str, str | None] = {}
            for name, value in zip(header, record, strict=True):
                if names[name] == "_op":
                    row["_op"] = text_files.removal(value)
                elif names[name] is None:
                    row["_extra"] = json.dumps({name: value or None}, ensure_ascii=False)
                else:
                    row[names[name] or ""] = value or None
            found.append((number, row, None))
        elif record:
            problem = f"not a row: expected {len(header)} values as in the header, found {len(record)}"
            found.append((number, {"_extra": json.dumps(record, ensure_ascii=False)}, problem))
    return found


@QUICK
@given(CSV_FILE, st.sampled_from([16, 1 << 22]))
@example(b"parcel_id,part,price\na,1,\xff\n", 1 << 22)
@example(b'parcel_id,part,price\n"a\n', 1 << 22)
@example("parcel_id,part,price\n\ufeffa,1,\n\ufeffb,1,\n".encode(), 1 << 22)
@example("\ufeffparcel_id,part,price\n\ufeffa,1,\n".encode(), 16)
@example(b'parcel_id,part,recipient\nk,1,a"b\nl,2,c"d\nm,3,"e"\n', 1 << 22)
@example(b'parcel_id,part,recipient\nk,1,a"b"\n', 1 << 22)
@example(b'parcel_id,part,recipient\nk,1,"a"b\n', 1 << 22)
def test_csv_is_read_at_once_as_it_is_row_by_row(content: bytes, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch, reader(content, "t.csv") as (duck, _, read):
        patch.setattr(text_files, "_BLOCK", block)
        broken = read()
        found = rows(duck)
        try:
            every = csv_expected(content)
        except (ValueError, csv.Error):
            assert broken
            assert found == ([], [])
            return
        assert broken == ""
        assert rows_of(duck, text_files.in_tables(COLUMNS, every)) == found


def test_csv_in_the_usual_form_is_not_read_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "parcel_id,part,recipient\n" + "".join(f'p-{n},{n},"a ""{n}"",\nb"\n' for n in range(500))
    monkeypatch.setattr(text_files, "_BLOCK", 1_000)
    monkeypatch.setattr(text_files, "in_tables", None)  # calling it would fail
    with reader(content.encode(), "t.csv") as (duck, _, read):
        assert read() == ""
        assert duck.rows("SELECT count(*), count(_text), max(recipient) FROM checked") == [(500, 0, 'a "99",\nb')]


# ---- Parts


@pytest.mark.parametrize("name", ["t.ndjson", "t.ndjson.gz", "t.csv", "t.csv.gz"])
@pytest.mark.parametrize("odd", ["", 'a"b'], ids=["usual", "odd"])
def test_each_part_is_read_from_where_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, odd: str
) -> None:
    count = 2_000
    if "json" in name:
        lines = [json.dumps({"parcel_id": f"p-{n}", "part": n, "recipient": odd}) for n in range(count)]
    else:
        lines = ["parcel_id,part,recipient", *(f"p-{n},{n},{odd}" for n in range(count))]
    text = "\n".join(lines).encode()
    lake = local_lake(tmp_path)
    lake.store.write(f"dropbox/parcels/{name}", gzip.compress(text) if name.endswith(".gz") else text)
    (stored,) = lake.store.list("dropbox/")
    landed = LandedObject(stored.key, stored.etag, stored.size, datetime(2026, 11, 21, tzinfo=UTC), stored.modified)
    monkeypatch.setattr(text_files, "_BLOCK", 1_000)
    monkeypatch.setattr(weights, "FEWEST_ROWS", 1)
    taken: list[int] = []
    opened = text_files.Content.open

    class Counted:
        def __init__(self, content: text_files.Content) -> None:
            self.source = opened(content)
            self.seek = self.source.seek

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *_: object) -> None:
            self.source.close()

        def read(self, size: int) -> bytes:
            found = self.source.read(size)
            taken.append(len(found))
            return found

    monkeypatch.setattr(text_files.Content, "open", lambda content: Counted(content))
    found: list[tuple[Any, ...]] = []
    parts, reads = [[landed]], 0
    with weights.Shelf(lake.scratch) as shelf:
        while parts:
            with connect(lake) as duck:
                try:
                    read = reading.read_objects(duck, lake, DROPPED, parts[0], 60_000, shelf)
                except weights.TooHeavy as heavy:
                    shelf.keep(landed, reading.path_of(duck, 0))
                    parts[:1] = heavy.chunks
                    continue
                assert read.unreadable == {}
                reads += 1
                found += duck.rows("SELECT _row, part FROM checked ORDER BY _row")
                parts = parts[1:]
    assert found == [(n + 1, n) for n in range(count)]
    # Once to count, once to decompress, once in parts; a block for the header and one on either side of each.
    assert sum(taken) < 3 * len(text) + 4 * 1_000 * reads
