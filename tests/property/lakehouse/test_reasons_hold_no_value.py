"""Whatever is wrong with a dropped file, what is reported of it shows no personal value and no path here."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from assets.compacted import materialized
from contracts import Field
from contracts.types import ListType, StringType, StructType
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.intake.ledger import Ledger
from lakehouse.publish.publication import publish
from lakehouse.storage.failures import without_values
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import published_entry
from tests.support.depth import examples
from tests.support.lakes import PARCELS, local_lake

MARK = "Zqx9Erika"
NUMBER = "7319420586"
PERSONAL = ("recipient", "labels", "items", "exact", "due", "fragile", "sent_at")
CONTRACT = dataclasses.replace(
    PARCELS,
    origin="files",
    ordering="part",
    partition=None,
    fields=tuple(
        dataclasses.replace(f, classification="personal" if f.name in PERSONAL else f.classification, required=False)
        if f.name not in PARCELS.primary_key
        else f
        for f in PARCELS.fields
    ),
)
VALUE = st.sampled_from(
    [MARK, f"O'{MARK}", f'a "{MARK}', f"x\n{MARK}", f"{MARK}," * 20, NUMBER, f"2026-13-{NUMBER}", f"\x00{MARK}",
     {MARK: MARK}, {MARK: 1}, {MARK: {MARK: MARK}}, {"name": MARK, MARK: MARK}, [{"name": MARK, MARK: 1}],
     [{"name": [MARK]}], [{"name": "n", "worth": MARK}], [MARK], [{MARK * 40: MARK}], {MARK * 40: MARK}, None, 1]
)  # fmt: skip
ROW = st.dictionaries(st.sampled_from(PERSONAL), VALUE, max_size=3)
ROWS = st.lists(ROW, min_size=1, max_size=6)
Break = Callable[[bytes], bytes]
BREAK: st.SearchStrategy[Break] = st.sampled_from(
    [lambda b: b, lambda b: b, lambda b: b[: len(b) // 2], lambda b: b[:-3], lambda b: b + b"\xff",
     lambda b: b.replace(b'"', b"'"), lambda b: b.replace(b":", b""), lambda b: b.replace(MARK.encode(), b"\xff\xfe"),
     lambda b: b.replace(b",", b'"'), lambda b: MARK.encode() + b, lambda b: b[4:], lambda b: b.replace(b"\n", b"\x00")]
)  # fmt: skip


def with_keys(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"parcel_id": f"p-{n}", "part": 1, **row} for n, row in enumerate(rows)]


def ndjson(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in with_keys(rows)).encode()


def csv_text(rows: list[dict[str, Any]]) -> bytes:
    names = ("parcel_id", "part", *PERSONAL)

    def cell(value: Any) -> str:
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
        return '"' + text.replace('"', '""') + '"'

    lines = [",".join(cell(row.get(name)) for name in names) for row in with_keys(rows)]
    return "\r\n".join([",".join(names), *lines, ""]).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    texts = [
        {"parcel_id": row["parcel_id"], "part": row["part"]}
        | {p: v if isinstance(v := row.get(p), str) or v is None else json.dumps(v) for p in PERSONAL}
        for row in with_keys(rows)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(texts), buffer, compression="none")
    return buffer.getvalue()


def everything_reported(lake: Lake) -> list[str]:
    """What a batch and its publication say of themselves."""
    lines: list[str] = []
    result = compact(lake, CONTRACT, Scope.everything(), progress=lines.append)
    publish(lake, CONTRACT)
    entry = published_entry(lake, CONTRACT)
    assert entry is not None
    from lakehouse.table.tables import TableState

    ledger = Ledger.load(lake, TableState(lake, entry.metadata_location).ledger)
    found = [*lines, repr(dataclasses.replace(result, preview=None)), *map(repr, ledger.attention())]
    shown = materialized(result, CONTRACT, lake)  # as Dagster keeps and shows it, with the preview
    found += [f"{name}: {value}" for name, value in (shown.metadata or {}).items()]
    found += map(repr, shown.check_results or ())
    for stored in lake.store.list("quarantine/"):
        if stored.key.endswith(".parquet"):
            note = pq.read_table(io.BytesIO(lake.store.read(stored.key)), columns=["_reason"])
            found += note.column("_reason").to_pylist()
    return found


@settings(
    max_examples=examples(12),
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.tuples(ROWS, BREAK, st.booleans()), min_size=4, max_size=4))
def test_nothing_that_is_reported_shows_a_personal_value(
    files: list[tuple[list[dict[str, Any]], Break, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        for number, (rows, damage, compressed) in enumerate(files):
            for name, write in (("ndjson", ndjson), ("csv", csv_text), ("parquet", parquet)):
                content = damage(write(rows))
                compresses = compressed and name != "parquet"
                key = f"dropbox/parcels/{number}.{name}" + (".gz" if compresses else "")
                lake.store.write(key, gzip.compress(content) if compresses else content)
        for line in everything_reported(lake):
            assert MARK not in line
            assert NUMBER not in line
            assert str(lake.scratch) not in line, "a path of this machine"


def test_a_personal_member_of_another_field_is_not_previewed(tmp_path: Path) -> None:
    name = Field("name", 11, StringType(), classification="personal")
    contract = dataclasses.replace(
        CONTRACT,
        fields=tuple(
            Field("items", 9, ListType(10, StructType((name,)))) if f.name == "items" else f for f in CONTRACT.fields
        ),
    )
    lake = local_lake(tmp_path)
    lake.store.write("dropbox/parcels/a.ndjson", ndjson([{"items": [{"name": MARK}]}, {"items": [{"name": [MARK]}]}]))
    shown = materialized(compact(lake, contract, Scope.everything()), contract, lake)
    assert (shown.metadata or {})["applied"] == 1
    assert "p-0" in str((shown.metadata or {})["preview"])
    assert MARK not in str(shown.metadata)


@pytest.mark.parametrize("value", ["Erika", "O'Erika", 'Er"Erika', "x\nErika", "Erika\n' to", "'Erika'", '"Erika" x'])
@pytest.mark.parametrize("form", ["Could not convert string '{}' to INT32", 'found "{}"'])
def test_no_form_of_quoting_lets_a_value_through(value: str, form: str) -> None:
    assert "Erika" not in without_values(duckdb.ConversionException(form.format(value)))
