"""What a writer of Parquet typed is kept to the last digit, whatever the type and however deep: as `_extra`, which is
valid JSON always, and as the fields of a contract."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from contracts import Contract, Field
from contracts.change import CHANGE_COLUMNS
from contracts.types import DateType, DecimalType, ListType, MapType, StringType, StructType, TimestampType
from lakehouse.intake import reading, validation
from lakehouse.intake.landing import LandedObject
from lakehouse.storage.duck import connect
from tests.support.depth import examples
from tests.support.lakes import PARCELS, change, local_lake

THEN = datetime(2026, 11, 21, tzinfo=UTC)
EPOCH, LAST_SECOND = -62135596800, 253402300799  # years 1 and 9999, seconds
FIRST = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DROPPED = dataclasses.replace(
    PARCELS, origin="files", ordering="part", partition=None, sort=(), fields=PARCELS.fields[:2]
)
TYPED = dataclasses.replace(
    DROPPED,
    fields=(
        *DROPPED.fields,
        Field("moments", 20, ListType(21, TimestampType())),
        Field(
            "stops",
            22,
            ListType(
                23,
                StructType(
                    (
                        Field("at", 24, TimestampType()),
                        Field("day", 25, DateType()),
                        Field("fee", 26, DecimalType(38, 10)),
                    )
                ),
            ),
        ),
        Field("seen", 27, MapType(28, 29, TimestampType())),
        Field("rate", 30, DecimalType(20, 4)),
    ),
)
Pair = tuple[pa.DataType, Any]
BIG = Context(prec=80)


def moments(unit: str, zone: str | None) -> st.SearchStrategy[Pair]:
    """Counts of the unit since 1970; those of nanoseconds fit into 64 bits."""
    first, last = (EPOCH, LAST_SECOND) if unit != "ns" else (-8_000_000_000, 8_000_000_000)
    count = st.integers(first * TICKS[unit], last * TICKS[unit])
    return st.tuples(st.just(pa.timestamp(unit, zone)), count)


def times(unit: str) -> st.SearchStrategy[Pair]:
    kind = pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    return st.tuples(st.just(kind), st.integers(0, 86_400 * TICKS[unit] - 1))


def decimals(kind: pa.DataType) -> st.SearchStrategy[Pair]:
    limit = 10**kind.precision - 1
    return st.tuples(st.just(kind), st.integers(-limit, limit).map(lambda n: Decimal(n).scaleb(-kind.scale, BIG)))


LEAVES = [
    *(moments(unit, zone) for unit in TICKS for zone in (None, "UTC", "Europe/Berlin")),
    *(times(unit) for unit in TICKS),
    *(decimals(k) for k in (pa.decimal128(5, 2), pa.decimal128(38, 10), pa.decimal256(39, 0), pa.decimal256(76, 20))),
    st.tuples(st.just(pa.date32()), st.dates()),
    st.tuples(st.just(pa.int64()), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(pa.uint64()), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(pa.float64()), st.floats()),
    st.tuples(st.just(pa.float32()), st.floats(width=32)),
    st.tuples(st.just(pa.bool_()), st.booleans()),
    st.tuples(
        st.just(pa.string()), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    ),
    st.tuples(st.just(pa.binary()), st.sampled_from([b"", b"ab", "é".encode()])),
]


def nested(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return st.one_of(
        inner.map(lambda p: (pa.list_(p[0]), [p[1], None])),
        inner.map(lambda p: (pa.large_list(p[0]), [p[1]])),
        inner.map(lambda p: (pa.list_(p[0], 2), [p[1], p[1]])),
        st.tuples(inner, inner).map(
            lambda p: (pa.struct([("a", p[0][0]), ("B c", p[1][0])]), {"a": p[0][1], "B c": p[1][1]})
        ),
        inner.map(lambda p: (pa.map_(pa.string(), p[0]), [("k", p[1]), ("é", None)])),
    )


VALUE = st.recursive(st.one_of(LEAVES), nested, max_leaves=4)
QUICK = settings(
    max_examples=examples(60),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def parquet(columns: dict[str, pa.Array]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def ingested(contract: Contract, content: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """The valid rows in their order, and what is wrong with the others."""
    with TemporaryDirectory() as folder, connect(lake := local_lake(Path(folder))) as duck:
        lake.store.write("landed/0.parquet", content)
        (stored,) = lake.store.list("landed/")
        landed = LandedObject(stored.key, stored.etag, stored.size, THEN, THEN)
        assert reading.read_objects(duck, lake, contract, [landed]).unreadable == {}
        validation.validate(duck, contract)
        found = duck.connection.execute("SELECT * FROM valid ORDER BY _row")
        names = [name for name, *_ in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return rows, [row[0] for row in duck.rows("SELECT _reason FROM rejected ORDER BY _row")]


def strict(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse)


def ticks(text: str, unit: str) -> int:
    """The count of a moment or a time of day, of however many digits."""
    found = re.fullmatch(r"(?:([\d-]{10})[T ])?(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|\+00)?", text)
    assert found, text
    day, hour, minute, second, fraction, _ = found.groups()
    days = (date.fromisoformat(day) - date(1970, 1, 1)).days if day else 0
    nanoseconds = int((fraction or "").ljust(9, "0"))
    whole = ((days * 24 + int(hour)) * 60 + int(minute)) * 60 + int(second)
    rest, lost = divmod(nanoseconds * TICKS[unit], 10**9)
    assert lost == 0
    return whole * TICKS[unit] + rest


def check(kind: pa.DataType, value: Any, found: Any) -> None:
    """Whether a member of `_extra` says what was written."""
    if value is None:
        assert found is None
    elif pa.types.is_struct(kind):
        assert list(found) == [f.name for f in kind]
        for f in kind:
            check(f.type, value[f.name], found[f.name])
    elif pa.types.is_map(kind):
        assert list(found) == [k for k, _ in value]
        for k, v in value:
            check(kind.item_type, v, found[k])
    elif pa.types.is_nested(kind):
        assert len(found) == len(value)
        for one, other in zip(value, found, strict=True):
            check(kind.value_type, one, other)
    elif pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        assert ticks(found, kind.unit) == value
        assert found.endswith("Z") == bool(pa.types.is_timestamp(kind) and kind.tz)
    elif pa.types.is_floating(kind):
        read = float(np.float32(found)) if kind == pa.float32() else float(found)
        assert read == value or (math.isnan(read) and math.isnan(value))
    elif pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        assert Decimal(found) == Decimal(value)
    elif pa.types.is_boolean(kind):
        assert found is value
    else:
        assert found == (value.decode() if isinstance(value, bytes) else str(value))


@QUICK
@given(VALUE)
@example((pa.decimal256(60, 10), Decimal("1.5")))
@example((pa.list_(pa.timestamp("ns", "UTC")), [1767323045123456789, None]))
@example((pa.time64("ns"), 3_600_000_000_001))
@example((pa.list_(pa.float64()), [math.nan, math.inf]))
@example((pa.float64(), -math.inf))
@example((pa.struct([("a", pa.map_(pa.string(), pa.time64("ns")))]), {"a": [("k", 1)]}))
def test_a_column_that_nobody_knows_is_kept_as_it_is(pair: Pair) -> None:
    kind, value = pair
    column = pa.array([value, None], kind)
    rows, wrong = ingested(
        DROPPED, parquet({"parcel_id": pa.array(["a", "b"]), "part": pa.array([1, 2]), "colour": column})
    )
    assert wrong == []
    for row, written in zip(rows, (value, None), strict=True):
        check(kind, written, strict(row["_extra"])["colour"])


BARE = dataclasses.replace(DROPPED, fields=(*DROPPED.fields, Field("note", 31, StringType())))
BYTES = st.sampled_from([None, b"", b"ab", "é".encode(), b"\xff", b"a\xe9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])


def is_text(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("wrapped", [lambda t: t, pa.list_, lambda t: pa.struct([("x", t)])])
def test_members_that_only_case_tells_apart_are_refused_and_others_are_not(wrapped: Any) -> None:
    def reported(names: list[str]) -> dict[str, str]:
        kind = wrapped(pa.struct([(name, pa.string()) for name in names]))
        content = parquet({"parcel_id": pa.array(["a"]), "part": pa.array([1]), "colour": pa.nulls(1, kind)})
        return unreadable(DROPPED, content)

    assert reported(["size", "Sizes", "é", "É"]) == {}
    (reason,) = reported(["size", "depth", "SIZE"]).values()
    assert reason == "NotReadable: expected members that differ by more than upper and lower case, found colour: SIZE"


def unreadable(contract: Contract, content: bytes) -> dict[str, str]:
    """The objects that cannot be read, with the reason."""
    with TemporaryDirectory() as folder, connect(lake := local_lake(Path(folder))) as duck:
        lake.store.write("landed/0.parquet", content)
        (stored,) = lake.store.list("landed/")
        return reading.read_objects(
            duck, lake, contract, [LandedObject(stored.key, stored.etag, stored.size, THEN, THEN)]
        ).unreadable


def as_text(values: list[bytes | None], type_: pa.DataType) -> pa.Array:
    """Text that may be none, as some writer makes it."""
    if not pa.types.is_dictionary(type_):
        return pc.cast(pa.array(values, pa.binary()), type_, safe=False)
    encoded = pa.array(values, pa.binary()).dictionary_encode()
    words = pc.cast(encoded.dictionary, pa.string(), safe=False)
    return pa.DictionaryArray.from_arrays(encoded.indices, words)


def test_bad_text_beside_old_times_and_in_a_dictionary_that_no_row_uses_costs_no_good_row() -> None:
    then = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC).replace(tzinfo=None)
    columns = {
        "parcel_id": pa.array(["a", "b"]),
        "part": pa.array([1, 1]),
        "note": as_text([b"\xff", b"fine"], pa.string()),
        "beside": pa.array([then, then], pa.timestamp("us")),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, use_deprecated_int96_timestamps=True)
    rows, wrong = ingested(BARE, buffer.getvalue())
    assert wrong == ["note: expected text in UTF-8, found other bytes"]
    assert [(row["parcel_id"], strict(row["_extra"])) for row in rows] == [
        ("b", {"beside": "2026-01-02 03:04:05.678901"})
    ]

    words = pa.DictionaryArray.from_arrays(pa.array([1, 1], pa.int32()), as_text([b"\xff", b"fine"], pa.string()))
    rows, wrong = ingested(BARE, parquet({"parcel_id": pa.array(["a", "b"]), "part": pa.array([1, 1]), "note": words}))
    assert (wrong, [row["note"] for row in rows]) == ([], ["fine", "fine"])


@QUICK
@given(
    st.lists(st.tuples(BYTES, BYTES), min_size=1, max_size=6),
    VALUE,
    st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]),
)
@example([(b"\xff", None), (b"ab", b"\xff")], (pa.int64(), 1), pa.dictionary(pa.int32(), pa.string()))
@example([(b"\xff", b"\xff"), (b"ab", None)], (pa.timestamp("ns", "UTC"), 1767323045123456789), pa.string())
@example([(b"\xff", None), (b"ab", b"\xff")], (pa.list_(pa.string()), ["a"]), pa.string())
@example([(b"\xff", None), (b"ab", b"\xff")], (pa.list_(pa.list_(pa.binary()), 2), [["é".encode()], None]), pa.string())
@example(
    [(b"\xff", None), (b"ab", b"\xff")],
    (pa.struct([("a", pa.binary()), ("b", pa.large_list(pa.binary(2)))]), {"a": b"x", "b": [b"ab"]}),
    pa.string(),
)
@example(
    [(b"\xff", None), (b"ab", b"\xff")], (pa.map_(pa.binary(), pa.large_binary()), [(b"x", b"y")]), pa.large_string()
)
def test_a_text_that_is_no_utf8_costs_its_row_whatever_stands_beside(
    texts: list[tuple[bytes | None, bytes | None]], pair: Pair, text: pa.DataType
) -> None:
    kind, value = pair

    def content(numbers: list[int]) -> bytes:
        notes, colours = ([texts[n][column] for n in numbers] for column in (0, 1))
        return parquet(
            {
                "parcel_id": pa.array([str(n) for n in numbers], pa.string()),
                "part": pa.array([1] * len(numbers)),
                "note": as_text(notes, text),
                "colour": as_text(colours, text),
                "beside": pa.array([value] * len(numbers), kind),
            }
        )

    bad = [n for n, (note, _) in enumerate(texts) if not is_text(note)]
    rows, wrong = ingested(BARE, content([*range(len(texts))]))
    assert wrong == ["note: expected text in UTF-8, found other bytes"] * len(bad)
    good = [n for n in range(len(texts)) if n not in bad]
    assert [(row["parcel_id"], row["note"]) for row in rows] == [
        (str(n), note.decode() if note is not None else None) for n in good for note in (texts[n][0],)
    ]
    plain = [n for n in good if is_text(texts[n][1])]
    alone, _ = ingested(BARE, content(plain)) if plain else ([], [])
    beside = {row["parcel_id"]: strict(row["_extra"]) for row in alone}
    for row in rows:
        extra = strict(row["_extra"])
        if int(row["parcel_id"]) in plain:
            assert extra == beside[row["parcel_id"]]
        else:
            assert "\\x" in extra["colour"]


ANY_TIME = st.sampled_from(
    [*(pa.timestamp(unit, zone) for unit in ("ms", "us", "ns") for zone in (None, "UTC")),
     pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.date32()]
)  # fmt: skip
WRAPPED = st.sampled_from(
    [
        (lambda a: a, lambda found: found),
        (lambda a: pa.ListArray.from_arrays(np.arange(len(a) + 1, dtype=np.int32), a), lambda found: found[0]),
        (lambda a: pa.StructArray.from_arrays([a], ["m"]), lambda found: found["m"]),
        (
            lambda a: pa.MapArray.from_arrays(
                np.arange(len(a) + 1, dtype=np.int32), pa.array(["k"] * len(a), pa.string()), a
            ),
            lambda found: found["k"],
        ),
    ]
)
EDGES = (2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63), 1 - 2**63, 86_400_000, 86_400_000_000, LAST_SECOND * 10**6)


@settings(QUICK, max_examples=examples(25))
@given(ANY_TIME, st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EDGES), WRAPPED, st.booleans())
@example(pa.time64("us"), 2**62, (lambda a: a, lambda found: found), False)
@example(pa.time32("ms"), -3, (lambda a: a, lambda found: found), True)
@example(pa.timestamp("ms", "UTC"), 2**62, (lambda a: a, lambda found: found), True)
@example(pa.timestamp("us"), -(2**63), (lambda a: a, lambda found: found), True)
@example(pa.timestamp("ns"), 1 - 2**63, (lambda a: a, lambda found: found), True)
@example(pa.date32(), 2**31 - 1, (lambda a: a, lambda found: found), True)
def test_a_time_that_the_engine_cannot_hold_costs_its_row_at_most(
    kind: pa.DataType, count: int, wrapped: Any, statistics: bool
) -> None:
    wrap, unwrap = wrapped
    bits = kind.bit_width
    count = (count + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    stored = pa.array([count, 0], pa.int32() if bits == 32 else pa.int64()).view(kind)
    known = {"parcel_id": pa.array(["a", "b"]), "part": pa.array([1, 2])}

    def written(columns: dict[str, pa.Array]) -> bytes:
        buffer = io.BytesIO()
        pq.write_table(pa.table(known | columns), buffer, write_statistics=statistics)
        return buffer.getvalue()

    rows, wrong = ingested(DROPPED, written({"colour": wrap(stored)}))
    assert wrong == []
    far, near = (unwrap(strict(row["_extra"])["colour"]) for row in rows)
    alone, _ = ingested(DROPPED, written({"colour": wrap(stored.take([1, 1]))}))
    assert near == unwrap(strict(alone[1]["_extra"])["colour"])
    if pa.types.is_date32(kind):
        assert np.datetime64(far, "D").astype(int) == count
    elif pa.types.is_timestamp(kind):
        day, clock = re.fullmatch(r"(-?\d+-\d\d-\d\d)[ T](.*)", far).groups()  # type: ignore[union-attr]
        assert int(np.datetime64(day, "D").astype(int)) * 86_400 * TICKS[kind.unit] + ticks(clock, kind.unit) == count
    else:
        assert far == f"{count} {kind.unit}" or ticks(far, kind.unit) == count

    if pa.types.is_timestamp(kind) and kind.tz:
        rows, wrong = ingested(TYPED, written({"moments": pa.array([[count], [0]], pa.list_(pa.int64())).cast(
            pa.list_(kind))}))  # fmt: skip
        second, rest = divmod(count, TICKS[kind.unit])
        good = EPOCH <= second <= LAST_SECOND and rest * 10**6 % TICKS[kind.unit] == 0
        assert [row["parcel_id"] for row in rows] == (["a", "b"] if good else ["b"])
        assert len(wrong) == (not good)
        assert all("moments[0]: expected a timestamp with offset" in reason for reason in wrong)


@settings(QUICK, max_examples=examples(25))
@given(st.sampled_from(["us", "ns"]), st.integers(-60 * 10**15, 2**60), WRAPPED)
@example("ns", 1, (lambda a: a, lambda found: found))
@example("ns", 1767323045123456789, (lambda a: a, lambda found: found))
@example("us", 240_000_000_000_000_001, (lambda a: a, lambda found: found))
def test_an_old_time_is_kept_to_its_nanosecond(unit: str, count: int, wrapped: Any) -> None:
    count = min(count, LAST_SECOND * TICKS[unit])
    wrap, unwrap = wrapped
    buffer = io.BytesIO()
    columns = {"parcel_id": pa.array(["a", "b"]), "part": pa.array([1, 2])}
    columns["colour"] = wrap(pa.array([count, 0], pa.int64()).view(pa.timestamp(unit)))
    pq.write_table(pa.table(columns), buffer, use_deprecated_int96_timestamps=True)
    rows, wrong = ingested(DROPPED, buffer.getvalue())
    assert wrong == []
    assert [ticks(unwrap(strict(row["_extra"])["colour"]), unit) for row in rows] == [count, 0]


KEYS = st.sampled_from([pa.string(), pa.int64(), pa.decimal128(38, 2), pa.date32()])


@settings(QUICK, max_examples=examples(25))
@given(KEYS, st.sampled_from([pa.string(), pa.timestamp("us", "UTC"), pa.time64("us")]), WRAPPED, st.booleans())
@example(pa.string(), pa.timestamp("us", "UTC"), (lambda a: a, lambda found: found), False)
@example(pa.string(), pa.string(), (lambda a: a, lambda found: found), True)
def test_a_map_that_has_a_key_twice_costs_its_row(
    key: pa.DataType, value: pa.DataType, wrapped: Any, deeper: bool
) -> None:
    wrap, _ = wrapped
    keys = pa.array([1, 1, 1, 2]).cast(key) if key != pa.date32() else pa.array([1, 1, 1, 2], pa.int32()).view(key)
    values = pa.array(["x"] * 4) if value == pa.string() else pa.array([1, 2, 3, 4]).view(value)
    maps = pa.MapArray.from_arrays(np.array([0, 2, 4], np.int32), keys, values)
    if deeper:
        maps = pa.MapArray.from_arrays(np.array([0, 1, 2], np.int32), pa.array(["k", "k"]), maps)
    known = {"parcel_id": pa.array(["a", "b"]), "part": pa.array([1, 2])}
    rows, wrong = ingested(DROPPED, parquet(known | {"colour": wrap(maps)}))
    assert ([row["parcel_id"] for row in rows], len(wrong)) == (["b"], 1)
    assert "colour: expected each key of a map once" in wrong[0]
    if key == pa.string() and value == pa.timestamp("us", "UTC") and not deeper:
        rows, wrong = ingested(TYPED, parquet(known | {"seen": maps}))
        assert ([row["parcel_id"] for row in rows], len(wrong)) == (["b"], 1)


NAMES = st.sampled_from(
    ["parcel_id", "PARCEL_ID", "part", "Part", "_deleted", "_op", "_row", "_no", "_problem", "_extra", "filename", "é",
     "file_row_number", "a", "A", "a.b", "", 'q"', "x'y", "c0", "t1", "path", "finer", "landed_file", "\0", "a\0b",
     "moments", "stops", "rate", "_version", "x" * 300, "$.a", "\n", "rowid"]
)  # fmt: skip
TYPES = st.recursive(
    st.sampled_from(
        [pa.string(), pa.int64(), pa.float16(), pa.bool_(), pa.binary(4), pa.date32(), pa.timestamp("ns", "UTC"),
         pa.time64("us"), pa.decimal256(60, 2), pa.null(), pa.duration("ns"), pa.dictionary(pa.int8(), pa.string()),
         pa.uuid(), pa.json_(), pa.string_view()]
    ),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(lambda t: pa.map_(pa.binary(), t)),
        st.lists(st.tuples(NAMES, inner), min_size=1, max_size=2).map(pa.struct),
    ),
    max_leaves=3,
)  # fmt: skip


@settings(QUICK, max_examples=examples(40))
@given(st.lists(st.tuples(NAMES, TYPES), min_size=1, max_size=4), st.sampled_from([DROPPED, TYPED, PARCELS]))
@example([("a\0b", pa.int64())], DROPPED)
@example([("a", pa.struct([("\0", pa.int64())]))], PARCELS)
@example([("a", pa.int64()), ("a", pa.string())], DROPPED)
def test_no_schema_that_can_be_read_is_tried_again(fields: list[tuple[str, pa.DataType]], contract: Contract) -> None:
    buffer = io.BytesIO()
    arrays = [pa.nulls(2, kind) if kind != pa.int64() else pa.array([1, 2]) for _, kind in fields]
    pq.write_table(pa.Table.from_arrays(arrays, names=[name for name, _ in fields]), buffer)
    reasons = unreadable(contract, buffer.getvalue())  # raises what is no fault of data
    assert all("\0" not in reason and "/tmp" not in reason for reason in reasons.values())


UNITS = st.sampled_from(list(TICKS))
ZONES = st.sampled_from(["UTC", "Europe/Berlin"])


@QUICK
@given(
    st.lists(st.integers(-4_000_000_000, 8_000_000_000), min_size=1, max_size=3),
    UNITS,
    ZONES,
    st.integers(0, 999_999_999),
    st.dates(),
    st.sampled_from([pa.decimal128(38, 10), pa.decimal256(60, 10)]),
    st.sampled_from([Decimal("1.5"), Decimal("-12345678901234567890.0123456789"), None]),
)
def test_typed_values_inside_of_others_are_those_of_the_contract(
    seconds: list[int], unit: str, zone: str, rest: int, day: date, money: pa.DataType, fee: Decimal | None
) -> None:
    counts = [s * TICKS[unit] + rest * TICKS[unit] // 10**9 for s in seconds]
    moment = pa.timestamp(unit, zone)
    stop = pa.struct([("at", moment), ("day", pa.date32()), ("fee", money)])
    content = parquet(
        {
            "parcel_id": pa.array(["a"]),
            "part": pa.array([1]),
            "moments": pa.array([counts], pa.list_(moment)),
            "stops": pa.array([[{"at": c, "day": day, "fee": fee} for c in counts]], pa.list_(stop)),
            "seen": pa.array([[("k", counts[0])]], pa.map_(pa.string(), moment)),
            "rate": pa.array([fee], money) if fee is None or abs(fee) < 2 else pa.nulls(1, money),
        }
    )
    rows, wrong = ingested(TYPED, content)
    if unit == "ns" and rest % 1000:
        assert rows == []
        assert "moments[0]: expected a timestamp with offset" in wrong[0]
        return
    assert wrong == []
    then = [FIRST + timedelta(microseconds=c * 10**6 // TICKS[unit]) for c in counts]
    (row,) = rows
    assert row["moments"] == then
    assert row["stops"] == [{"at": t, "day": day, "fee": fee} for t in then]
    assert row["seen"] == {"k": then[0]}


EXTRA = st.sampled_from(
    [None, "{}", "{ }", " {} \n", '{"a":{"S":"b"}}', '{"a":{"S":"b"}}  ', '\t{ "a":{"S":"}"} }\n', "null", "[1]", "",
     "{", '{"a":1,}', "}"]
)  # fmt: skip


@QUICK
@given(EXTRA, st.sampled_from([None, "x", "", '"', "}", "é\n"]), st.sampled_from(["colour", 'col"our', "é }"]))
def test_what_the_relay_kept_and_what_the_lake_does_not_know_is_one_object(
    extra: str | None, value: str | None, name: str
) -> None:
    row = change(version=1, _extra=extra)
    columns = {n: pa.array([row.get(n)], pa.string()) for n in (*PARCELS.field_names, *CHANGE_COLUMNS)}
    rows, wrong = ingested(PARCELS, parquet(columns | {name: pa.array([value], pa.string())}))
    assert wrong == []
    found = rows[0]["_extra"]
    if value is None:
        assert found == extra
        return
    members = strict(found)
    assert members.pop(name) == {"S": value}
    try:
        said = strict("{}" if extra is None else extra)
        assert members == (said if isinstance(said, dict) else {"_extra": {"S": extra}})
    except ValueError:
        assert members == {"_extra": {"S": extra}}
