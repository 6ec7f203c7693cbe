"""Fields may have any name that contracts allow: no table of the engine's own has a column of that name."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

from contracts import Contract, Field
from contracts.types import DecimalType, FieldType, IntegerType, ListType, MapType, StringType, StructType
from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.table import key_index
from tests.support.lakes import PARCELS, Landing, change, local_lake, published_rows

NAMES = (
    ("number", "file", "pos", "version", "changes"),
    ("found", "kept", "newest", "op", "rid"),
    ("place", "part", "k", "keys", "known"),
    ("path", "low", "high", "no", "table_name"),
    ("prints", "proof", "digest", "n", "d"),
)


def entity(names: tuple[str, ...]) -> Contract:
    fields = [Field(n, i, StringType() if i % 2 else IntegerType(), required=True) for i, n in enumerate(names, 1)]
    value = Field("title", len(names) + 1, StringType())
    return dataclasses.replace(PARCELS, fields=(*fields, value), primary_key=names, partition=None, sort=names)


def row(contract: Contract, number: int, version: int) -> dict[str, str | None]:
    keys = {name: str(number + place) for place, name in enumerate(contract.primary_key)}
    return {**keys, "title": f"{number} {version}", "_event_id": f"{number}/{version}", "_op": "modify",
        "_version": str(version), "_seq": str(version).rjust(40, "0"), "_changed_at": "2026-11-21T11:59:00Z",
        "_contract": "1.0.0"}  # fmt: skip


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
def test_a_key_may_have_the_name_of_what_the_engine_works_with(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded, indexed, merged by the index with changes of keys that come twice, once more without it."""
    monkeypatch.setattr(key_index, "FEWEST_ROWS", 1)
    monkeypatch.setattr(key_index, "ROWS_PER_KEY", 0)
    contract, lake = entity(names), local_lake(tmp_path)
    landing = Landing(lake, contract)
    expected = {}
    for version, numbers in ((1, range(40)), (2, (3, 5)), (4, (3, 41)), (3, (3, 7))):
        for number in numbers:
            expected[number] = max(expected.get(number, 0), version)
        landing.land([row(contract, n, version) for n in numbers] + [row(contract, numbers[0], 0)])
        result = compact(lake, contract, Scope.everything())
        assert result.audit_result is not None, result
        assert (result.held, result.counts.quarantined, result.audit_result.failures) == ((), 0, "")
        publish(lake, contract)
        assert maintain(lake, contract).same_rows
    assert {int(r["title"].split()[0]): r["_version"] for r in published_rows(lake, contract)} == expected


def of_text(text: str, element: int) -> FieldType:
    if text.startswith("["):
        return ListType(element, StringType())
    return DecimalType(10, 2) if text.startswith("1") else StringType()


@pytest.mark.parametrize("text", ["a", "1e1", '[ "a"]'])
def test_a_field_may_have_the_name_of_what_rules_call_a_member(text: str, tmp_path: Path) -> None:
    """Also where nested values and numbers come in an odd form, which the full rules look into member by member."""
    names = ("e0", "e1", "i0", "k", "p", "n", "x")
    nested = StructType((Field("n", 30, MapType(31, 32, ListType(33, DecimalType(10, 2)))),))
    fields = [
        Field("id", 1, StringType(), required=True),
        *(Field(name, number, of_text(text, 100 + number)) for number, name in enumerate(names, 2)),
        Field("nested", 20, ListType(21, nested)),
    ]
    contract = dataclasses.replace(PARCELS, fields=tuple(fields), primary_key=("id",), partition=None, sort=())
    odd = {**dict.fromkeys(names, text), "nested": '[ {"n": {"k": ["1e1"]}}]'}
    stamps = {name: value for name, value in change(version=1).items() if name.startswith("_")}
    lake = local_lake(tmp_path)
    Landing(lake, contract).land([{"id": "1", **odd, **stamps}])
    result = compact(lake, contract, Scope.everything())
    assert (result.failing, result.held, result.reasons) == ((), (), {})
    publish(lake, contract)
    (found,) = published_rows(lake, contract)
    assert found["nested"] == [{"n": [("k", [Decimal(10)])]}]
