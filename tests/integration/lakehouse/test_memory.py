"""The memory limit of a batch is honoured: a table many times as big is merged into, in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from contracts import Contract, Field
from contracts.types import IntegerType, StringType
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish import audit, publication
from lakehouse.results import AuditResult, Check
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import quoted
from lakehouse.table import iceberg, iceberg_commit, schemas, tables
from tests.support.lakes import PARCELS, Landing, change, local_lake

LIMIT = 48 << 20
ROWS, PER_FILE, CHANGED = 1_400_000, 200_000, 20_000
WIDE_ROWS, WIDE_COLUMNS = 40_000, 80
VALUES = {
    "parcel_id": "printf('p-%08d', i)",
    "part": "1",
    "sent_at": "TIMESTAMP '2026-11-01 10:00:00'",
    "recipient": "md5(i::VARCHAR) || md5('b' || i)",
    "state": "'sent'",
    "items": "[{'name': md5('c' || i), 'worth': 1.5, 'checked': true}]",
    "_event_id": "md5('e' || i) || md5('f' || i)",
    "_op": "'insert'",
    "_version": "1",
    "_seq": "lpad(i::VARCHAR, 40, '0')",
    "_changed_at": "TIMESTAMP '2026-11-01 10:00:00'",
    "_deleted": "false",
    "_expired": "false",
    "_batch": "1",
}


def load_table(lake: Lake) -> int:
    """Publish a table of `ROWS` parcels; returns its size in bytes when decompressed."""
    state, _ = tables.prepare(lake, PARCELS)
    shape = schemas.compacted(PARCELS)
    columns = ", ".join(
        f"({VALUES.get(c.name, 'NULL')})::{schemas.duckdb_type(c.type)} AS {quoted(c.name)}" for c in shape.columns
    )
    files, size = [], 0
    with duckdb.connect() as connection:
        for start in range(0, ROWS, PER_FILE):
            path = Path(f"{lake.table_location('parcels')}/data/base-{start:08d}.parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(
                f"COPY (SELECT {columns} FROM range({start}, {start + PER_FILE}) r(i)) TO '{path}' "
                f"(FORMAT parquet, COMPRESSION zstd, FIELD_IDS {shape.field_ids()})"
            )
            files.append(iceberg.data_file(shape, path, str(path), 682))
            footer = pq.read_metadata(path)
            size += sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))
    table = iceberg_commit.commit(
        iceberg.EntryCatalog(lake, lake.work_database).table("parcels", state.location),
        added=files,
        shape=shape,
        properties={tables.BATCH: "1"},
        summary={},
    )
    audit.save(lake, AuditResult("parcels", table.metadata_location, (Check("loaded", True, ""),)))
    publication.publish(lake, PARCELS)
    return size


def peak() -> int:
    """The largest resident set of this process so far, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def merge_scattered_changes(folder: Path) -> None:
    """What the test runs in a process of its own: one batch that changes rows in every file; prints what it took."""
    lake = dataclasses.replace(local_lake(folder), memory_limit=f"{LIMIT >> 10}KiB", threads=2)
    before = peak()
    result = compact(lake, PARCELS, Scope.everything())
    print(json.dumps({"grown": peak() - before, "applied": result.counts.applied, "rows": result.rows}))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
def test_a_table_many_times_larger_than_the_limit_is_merged_within_it(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    size = load_table(lake)
    assert size > 6 * LIMIT
    Landing(lake, PARCELS).land([change(f"p-{n * 7919 % ROWS:08d}", version=2) for n in range(CHANGED)])

    found = run_alone("scattered", tmp_path)
    assert (found["applied"], found["rows"]) == (CHANGED, ROWS)
    # Libraries and row groups that are cut come on top of DuckDB's limit; a table kept in memory would show.
    assert found["grown"] < 4 * LIMIT


def wide() -> Contract:
    """A row of 80 columns."""
    texts = tuple(Field(f"text_{n:02d}", 10 + n, StringType()) for n in range(WIDE_COLUMNS - 2))
    keyed = (Field("id", 1, StringType(), required=True), Field("edition", 2, IntegerType(), required=True))
    reported = {"primary_key": ("id",), "partition": None, "sort": (), "ordering": "edition", "keys": None}
    return dataclasses.replace(PARCELS, name="wide", origin="files", fields=(*keyed, *texts), **reported)


def merge_wide_rows(folder: Path) -> None:
    """What the test runs in a process of its own: one batch with the memory and threads of the default setting."""
    result = compact(dataclasses.replace(local_lake(folder), threads=2), wide(), Scope.everything())
    print(json.dumps({"peak": peak(), "applied": result.counts.applied, "held": len(result.held)}))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
def test_wide_rows_are_merged_within_a_gigabyte_at_the_default_setting(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    path = tmp_path / "wide.parquet"
    texts = ", ".join(f"left(md5(i || '/{n}'), 26) AS text_{n:02d}" for n in range(WIDE_COLUMNS - 2))  # 2 KB a row
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT 'k' || i AS id, 1 AS edition, {texts} FROM range({WIDE_ROWS}) r(i)) TO '{path}' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
    lake.store.upload(path, "dropbox/wide/wide.parquet")
    found = run_alone("wide", tmp_path)
    assert (found["applied"], found["held"]) == (WIDE_ROWS, 0)
    assert found["peak"] < 1 << 30


def run_alone(what: str, folder: Path) -> dict[str, int]:
    """What a function of this file prints in a process of its own."""
    reported = subprocess.run(
        [sys.executable, __file__, what, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ).stdout
    found: dict[str, int] = json.loads(reported.splitlines()[-1])
    return found


if __name__ == "__main__":
    {"scattered": merge_scattered_changes, "wide": merge_wide_rows}[sys.argv[1]](Path(sys.argv[2]))
