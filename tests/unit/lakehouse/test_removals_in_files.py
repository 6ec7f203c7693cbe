"""A row of a dropped file that is marked as deleted removes its key, whatever else stands beside the key."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from tests.support.lakes import PARCELS, local_lake, published_rows

DROPPED = dataclasses.replace(
    PARCELS,
    origin="files",
    ordering="part",
    primary_key=("parcel_id",),
    partition=None,
    sort=(),
    fields=PARCELS.fields[:2],
)
Rows = list[dict[str, str]]


def ndjson(rows: Rows) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def csv_text(rows: Rows) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: Rows) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("more", ["\ufeffcolour", "Parcel_id", "_op", "_key", "part "])
@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
def test_a_member_that_nobody_knows_changes_no_removal(tmp_path: Path, form: str, more: str) -> None:
    lake = local_lake(tmp_path)
    write = {"ndjson": ndjson, "csv": csv_text, "parquet": parquet}[form]
    for place in range(4):
        names = ["parcel_id", "part", "_deleted"]
        names.insert(place, more)
        for part, deleted, keys in (("1", "false", "ab"), ("2", "true", "a")):
            known = {"part": part, "_deleted": deleted, more: "true"}
            rows = [{n: f"{key}{place}" if n == "parcel_id" else known[n] for n in names} for key in keys]
            lake.store.write(f"dropbox/parcels/{place}-{part}.{form}", write(rows))
    result = compact(lake, DROPPED, Scope.everything())
    publish(lake, DROPPED)
    assert (result.counts.quarantined, result.quarantined_objects) == (0, ())
    kept = more.removeprefix("\ufeff")  # a mark at the beginning of a file is none of its first name
    rows_now = published_rows(lake, DROPPED)
    found = {row["parcel_id"]: (row["_deleted"], kept in (row["_extra"] or "")) for row in rows_now}
    assert found == {f"{key}{place}": (key == "a", True) for key in "ab" for place in range(4)}


@pytest.mark.parametrize("form", ["ndjson", "csv", "parquet"])
@pytest.mark.parametrize("edge", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_first_and_the_last_moment_order_rows_and_are_kept(tmp_path: Path, form: str, edge: str) -> None:
    """They are versions, dates of the history's partition and values of a field at once."""
    contract = dataclasses.replace(DROPPED, ordering="sent_at", fields=PARCELS.fields[:3])
    lake = local_lake(tmp_path)
    write = {"ndjson": ndjson, "csv": csv_text, "parquet": parquet}[form]
    middle = "2026-11-21T00:00:00Z"
    rows = [{"parcel_id": "a", "part": str(n), "sent_at": at} for n, at in enumerate((middle, edge, middle))]
    lake.store.write(f"dropbox/parcels/x.{form}", write(rows))
    result = compact(lake, contract, Scope.everything())
    publish(lake, contract)
    assert (result.counts.read, result.counts.quarantined, result.held, result.failing) == (3, 0, (), ())
    assert compact(lake, contract, Scope.everything()).counts.read == 0
    (row,) = published_rows(lake, contract)
    newest = max(edge, middle)
    assert f"{row['sent_at']:%Y-%m-%dT%H:%M:%S}".zfill(19) == newest[:19]
    assert row["part"] == (1 if newest == edge else 2)
