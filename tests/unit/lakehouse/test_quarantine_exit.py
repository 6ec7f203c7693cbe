"""A file that was corrected and put again under its key leaves the quarantine, on whatever day and in whatever form it
was wrong: no file of it stays there, and nothing asks for attention any more."""

from __future__ import annotations

import dataclasses
import io
import os
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.intake.ledger import Ledger
from lakehouse.intake.quarantine import list_files
from lakehouse.publish.publication import publish
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState, published_entry
from tests.support.lakes import NOON, PARCELS, Clock, local_lake, published_rows

DROPPED = dataclasses.replace(
    PARCELS, origin="files", ordering="part", primary_key=("parcel_id",), partition=None, sort=()
)
Table = list[dict[str, str]]


def parquet(rows: Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def csv_text(rows: Table) -> bytes:
    return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]).encode()


def ndjson(rows: Table) -> bytes:
    return "\n".join("{" + ",".join(f'"{n}":"{v}"' for n, v in row.items()) + "}" for row in rows).encode()


def put(lake: Lake, name: str, content: bytes, days: int) -> None:
    lake.store.write(key := f"dropbox/parcels/{name}", content)
    at = (NOON + timedelta(days=days)).timestamp()
    os.utime(lake.store.uri(key), (at, at))


def run(lake: Lake) -> int:
    """A batch; returns the objects that ask for attention after it."""
    compact(lake, DROPPED, Scope.everything())
    publish(lake, DROPPED)
    entry = published_entry(lake, DROPPED)
    assert entry is not None
    return len(Ledger.load(lake, TableState(lake, entry.metadata_location).ledger).attention())


def rows(price: str) -> Table:
    return [
        {"parcel_id": "a", "part": "1", "sent_at": "2026-11-01T00:00:00Z", "price": "1.00"},
        {"parcel_id": "b", "part": "1", "sent_at": "2026-11-01T00:00:00Z", "price": price},
    ]


@pytest.mark.parametrize("days", [0, 1], ids=["same day", "another day"])
@pytest.mark.parametrize("whole", [False, True], ids=["a row", "the object"])
@pytest.mark.parametrize(
    ("name", "write"), [("x.parquet", parquet), ("x.csv", csv_text), ("x.ndjson.gz", ndjson), ("x.ndjson", ndjson)]
)
def test_a_corrected_file_leaves_the_quarantine(
    tmp_path: Path, name: str, write: object, whole: bool, days: int
) -> None:
    assert callable(write)
    lake = local_lake(tmp_path, Clock())
    compresses = name.endswith(".gz")

    def content(price: str) -> bytes:
        import gzip

        return gzip.compress(write(rows(price)), mtime=0) if compresses else write(rows(price))

    unreadable = {"x.csv": b"other,columns\n1,2\n"}.get(name, content("2.00")[: -len(content("2.00")) // 3])
    if name == "x.ndjson" and whole:
        pytest.skip("a plain file of lines has no way to be wrong as a whole but by its length")
    put(lake, name, unreadable if whole else content("much"), 0)
    assert run(lake) == 1
    (kept,) = list_files(lake, DROPPED)
    assert (kept.whole, kept.rows) == (whole, 0 if whole else 1)
    put(lake, name, content("2.00"), days)
    assert run(lake) == 0
    assert list(lake.store.list("quarantine/")) == []
    assert [(row["parcel_id"], str(row["price"])) for row in published_rows(lake, DROPPED)] == [
        ("a", "1.00"),
        ("b", "2.00"),
    ]
