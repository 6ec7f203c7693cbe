"""What SQL makes of an export's items is what `contracts.change` makes of them, one by one, whatever they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.change import kind_of
from contracts.item import POINTER, system_attributes
from contracts.types import Field, FieldType, ListType, MapType, StructType
from lakehouse.exports import mapping
from lakehouse.exports.manifest import read
from lakehouse.exports.mapping import Mapper, change_of_line, stretches_of
from lakehouse.storage.duck import Duck, connect
from tests.support.exports import AT, Layout, item_line, record_line, write_export
from tests.support.lakes import local_lake

CONTRACTS = load_contracts()
ENTITIES = CONTRACTS.of_origin("stream")
SECOND = int(AT.timestamp())

text = st.text(max_size=12) | st.sampled_from(["", "é", "a\u0000b", '"', "\\", "😀", ',"S":', "\u2028", "\x1f\x7f"])
number = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1).map(str),
    st.sampled_from(["0", "-0", "1E-130", "12345678901234567890123456789012345678", "0.1", "1.50", "9.99E+125"]),
)
scalar = st.one_of(
    st.builds(lambda v: {"S": v}, text),
    st.builds(lambda v: {"N": v}, number),
    st.builds(lambda v: {"BOOL": v}, st.booleans()),
    st.just({"NULL": True}),
    st.just({"B": "AAECAw=="}),
    st.builds(lambda v: {"SS": sorted(v)}, st.sets(text, min_size=1, max_size=3)),
    st.builds(lambda v: {"NS": sorted(v)}, st.sets(number, min_size=1, max_size=3)),
    st.just({"BS": ["AAE=", "AAI="]}),
)
attribute = st.recursive(
    scalar,
    lambda inner: st.one_of(
        st.builds(lambda v: {"L": v}, st.lists(inner, max_size=3)),
        st.builds(lambda v: {"M": v}, st.dictionaries(text | st.sampled_from(["S", "N"]), inner, max_size=3)),
    ),
    max_leaves=6,
)


def fitting(type_: FieldType) -> st.SearchStrategy[dict[str, Any]]:
    """Attributes of the type that the contract says, all the way down; some members are null."""
    match type_:
        case ListType():
            return st.lists(member(type_.element), max_size=3).map(lambda v: {"L": v})
        case MapType():
            return st.dictionaries(text, member(type_.value), max_size=3).map(lambda v: {"M": v})
        case StructType():
            return struct(type_.fields)
    return {"S": text, "N": number, "BOOL": st.booleans()}[kind_of(type_)].map(lambda v: {kind_of(type_): v})


def member(type_: FieldType) -> st.SearchStrategy[dict[str, Any]]:
    return fitting(type_) | st.just({"NULL": True}) if kind_of(type_) in ("L", "M") else fitting(type_)


def struct(fields: tuple[Field, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={f.name: member(f.type) for f in fields}).map(lambda v: {"M": v})


@st.composite
def images(draw: st.DrawFn) -> dict[str, Any]:
    """An image: mostly as the API writes it, sometimes with drift, other types, nulls, or of no entity."""
    contract = draw(st.sampled_from(ENTITIES))
    image: dict[str, Any] = {"pk": {"S": draw(text)}, "sk": {"S": "X"}, "entity": {"S": contract.name}}
    for field in contract.fields:
        if draw(st.integers(0, 5)):
            image[field.name] = draw(fitting(field.type))
    version = st.sampled_from([0, SECOND - 5, SECOND, SECOND + 5]).map(lambda s: str(s * 1_000_000 + 17))
    system: dict[str, st.SearchStrategy[dict[str, Any]]] = {
        "_version": (version | number | st.sampled_from(["-1", "1.5", "1E3", "9223372036854775807", "9" * 38])).map(
            lambda v: {"N": v}
        ),
        "_contract": st.sampled_from(["", "1.0.0", "é"]).map(lambda v: {"S": v}),
        "_by": text.map(lambda v: {"S": v}),
        "_deleted": st.booleans().map(lambda v: {"BOOL": v}),
        "ttl": st.sampled_from([str(SECOND - 1), str(SECOND), "x"]).map(lambda v: {"N": v}),
        "_field_timestamps": st.just({"M": {"a": {"S": "2026-11-01T00:00:00Z"}}}),
    }
    for name, strategy in system.items():
        if draw(st.booleans()):
            image[name] = draw(strategy)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        names = [f.name for f in contract.fields] + sorted(system_attributes(contract)) + ["drift", "é", "Order_Id"]
        image[draw(st.sampled_from(names))] = draw(attribute)
    if not draw(st.integers(0, 9)):
        image["entity"] = draw(st.sampled_from([{"S": POINTER}, {"S": "unknown"}, {"S": ""}, {"N": "1"}]))
    if not draw(st.integers(0, 19)):
        del image["entity"]
    return image


def doubled(line: bytes, which: int) -> bytes:
    """The line with a member that comes twice: of the item, or of one of its attributes."""
    if which == 1:
        return line.replace(b'{"pk":', b'{"sk":{"S":"first"},"pk":', 1)
    return line.replace(b'"sk":{', b'"sk":{"S":"first",', 1) if which == 2 else line


lines = st.builds(doubled, images().map(item_line), st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]))
broken = st.sampled_from([b"{", b"[]", b'{"Item":{"pk":{"S":"\xff"}}}', b'{"Item":[]}', b"null", b'{"Other":{}}'])
micros = st.one_of(
    st.integers(-3_000_000, 3_000_000).map(lambda more: SECOND * 1_000_000 + more),
    st.sampled_from([0, 10**16, 10**17, 10**19, 10**38]),
)
records = st.builds(record_line, micros, st.none() | images(), st.none() | images())


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Duck, Path]]:
    folder = tmp_path_factory.mktemp("lake")
    with connect(local_lake(folder)) as connection:
        yield connection, folder


def check(where: tuple[Duck, Path], layout: Layout) -> int:
    """Compare each line's row; answers how many were mapped by SQL."""
    duck, folder = where
    store = local_lake(folder).store
    export = read(store, write_export(store, layout))
    expected: dict[tuple[str, int], Any] = {}
    for number, line in enumerate(layout.files[0], start=1):
        try:
            mapped = change_of_line(line, CONTRACTS, export)
        except Exception:  # noqa: BLE001 (whatever keeps it from being a change)
            expected["", number] = line
            continue
        if mapped is not None:
            expected[mapped[0], number] = mapped[1]
    found: dict[tuple[str, int], Any] = {}
    fast = 0
    path = folder / "data" / export.files[0].key
    mapper = Mapper(duck, CONTRACTS, export)
    for stretch in map(mapper.map, stretches_of(export.files[0], path)):
        fast += stretch.items - stretch.slow - stretch.pointers
        found |= {("", aside.line): aside.text for aside in stretch.unmapped}
        for entity, table in stretch.tables.items():
            for row in table.to_pylist():
                found[entity, row.pop("_line")] = row
    assert found == expected
    return fast


@settings(max_examples=50)
@given(st.lists(lines, min_size=1, max_size=20))
@example([item_line({"pk": {"S": "a"}, "sk": {"S": "b"}, "entity": {"S": "orders"}, "order_id": {"S": "o"}})])
def test_items_of_a_full_export(duck: tuple[Duck, Path], content: list[bytes]) -> None:
    check(duck, Layout([content]))


@settings(max_examples=40)
@given(st.lists(lines | broken, min_size=1, max_size=8))
def test_lines_that_are_no_items_are_kept_and_the_rest_goes_on(duck: tuple[Duck, Path], content: list[bytes]) -> None:
    check(duck, Layout([content]))


@settings(max_examples=40)
@given(st.lists(records, min_size=1, max_size=20), st.sampled_from(["NEW_AND_OLD_IMAGES", "NEW_IMAGE", "NEW_IMAGES"]))
def test_records_of_an_incremental_export(duck: tuple[Duck, Path], content: list[bytes], view: str) -> None:
    check(duck, Layout([content], incremental=True, view=view))


def test_usual_items_are_mapped_by_sql(duck: tuple[Duck, Path]) -> None:
    image = {
        "pk": {"S": "CUSTOMER#c-1"},
        "sk": {"S": "CUSTOMER"},
        "entity": {"S": "customers"},
        "customer_id": {"S": "c-1"},
        "tags": {"L": [{"S": "é"}, {"NULL": True}]},
        "marketing_consent": {"BOOL": False},
        "feedback_score": {"N": "3"},
        "_version": {"N": str(SECOND * 1_000_000)},
        "_by": {"S": "user:1"},
    }
    assert check(duck, Layout([[item_line(image)] * 10])) == 10
    written = SECOND * 1_000_000 + 5
    plain = json.dumps({"Metadata": {"WriteTimestampMicros": str(written)}, "Keys": {}, "NewImage": image}).encode()
    lines = [record_line(written, image), record_line(written, image, image), plain]
    assert check(duck, Layout([lines], incremental=True)) == 3


@pytest.mark.parametrize(
    "twice", [b'{"S":"first","S":"last"}', b'{"S":"first" , "S" : "last"}', b'{"N":"1","S":"last"}']
)
def test_members_that_come_twice_are_read_as_everywhere(duck: tuple[Duck, Path], twice: bytes) -> None:
    image = {"pk": {"S": "a"}, "sk": {"S": "b"}, "entity": {"S": "orders"}, "order_id": {"S": "o"}}
    of_attribute = item_line(image).replace(b'{"S":"o"}', twice)
    of_item = item_line(image).replace(b'{"pk":', b'{"order_id":{"S":"first"},"pk":', 1)
    check(duck, Layout([[of_attribute, of_item, item_line(image)]]))


def test_stretches_are_cut_between_lines(duck: tuple[Duck, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"pk": {"S": "a"}, "sk": {"S": "b"}, "entity": {"S": "orders"}, "order_id": {"S": "o" * 50}}
    monkeypatch.setattr(mapping, "STRETCH", 100)
    assert check(duck, Layout([[item_line(image)] * 25])) == 25
