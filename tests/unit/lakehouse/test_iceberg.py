"""What this engine expects of pyiceberg, and that independent readers see the same table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.table import StaticTable

from contracts.types import DecimalType
from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge import planning
from lakehouse.publish.publication import publish
from lakehouse.storage.duck import extension
from lakehouse.storage.iceberg_io import files_of
from lakehouse.storage.lake import Lake
from lakehouse.table import iceberg, iceberg_commit, schemas
from lakehouse.table.tables import TableState
from tests.support.lakes import PARCELS, Landing, change, published_rows

EVERYTHING = Scope.everything()


def run(lake: Lake) -> TableState:
    compact(lake, PARCELS, EVERYTHING)
    return TableState(lake, publish(lake, PARCELS).published.metadata_location)


def by_duckdb(location: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        for name in ("avro", "iceberg"):
            connection.execute(f"LOAD '{extension(name)}'")
        rows: list[dict[str, Any]] = (
            connection.execute(f"SELECT * FROM iceberg_scan('{location}') ORDER BY parcel_id, part")
            .to_arrow_table()
            .to_pylist()
        )
        return rows


def by_pyiceberg(location: str) -> list[dict[str, Any]]:
    table = StaticTable.from_metadata(location).scan().to_arrow()
    rows: list[dict[str, Any]] = table.sort_by([("parcel_id", "ascending"), ("part", "ascending")]).to_pylist()
    return rows


@pytest.mark.parametrize("small_file", [planning.SMALL_FILE, 0])
def test_independent_readers_see_the_same_rows_after_every_kind_of_commit(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, small_file: int
) -> None:
    """Once with rewriting; and with files that count as big, so that rows are marked and rewritten by turns."""
    monkeypatch.setattr(planning, "SMALL_FILE", small_file)
    monkeypatch.setattr(planning, "TINY_FILE", small_file)
    monkeypatch.setattr(planning, "FULL_FILE", small_file)
    rich = change(
        "p-1",
        version=1,
        exact="1.5",
        items='[{"name": "x", "worth": "1.25"}]',
        labels='{"a": "b"}',
        due="2026-01-01",
        fragile="true",
    )
    batches = [
        [rich, change("p-2", version=1, sent_at="2026-09-01T00:00:00Z"), *some(9)],  # first files, two partitions
        [change("p-3", version=1)],  # joins a small file
        [change("p-1", version=2, op="remove")],  # replaces a row
        [change("p-2", version=2, sent_at="2026-11-02T00:00:00Z")],  # moves a row, its partition ends up empty
        [change("p-1", version=1, event="late")],  # changes no row
        [change("x-1", version=2, op="remove"), change("x-2", version=2)],  # with a row that is marked already
        [change(f"x-{n}", version=3) for n in range(2, 6)],  # dense
    ]
    for rows in batches:
        landing.land(rows)
        state = run(lake)
        expected = published_rows(lake)
        assert by_duckdb(state.location) == expected
        assert lenient(by_pyiceberg(state.location)) == lenient(expected)


def some(count: int) -> list[dict[str, str | None]]:
    return [change(f"x-{n}", version=1) for n in range(count)]


def lenient(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """pyiceberg 0.12 reads a null list of records as an empty one; the file has a null, as DuckDB reads it."""
    return [{**row, "items": row["items"] or []} for row in rows]


def test_field_ids_are_those_of_the_contract_in_table_and_files(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1, items="[]", labels="{}")])
    state = run(lake)
    schema = state.metadata.schema()
    assert schema.find_field("items").field_id == 9
    assert schema.find_field("items.element.worth").field_id == 12
    assert schema.find_field("labels.value").field_id == 16
    assert {name: schema.find_field(name).field_id for name in ("_event_id", "_batch")} == {
        "_event_id": 1001,
        "_batch": 1011,
    }
    stored = pq.read_schema(state.files[0].path)
    ids = {name: int(stored.field(name).metadata[b"PARQUET:field_id"]) for name in stored.names}
    assert ids == {c.name: c.field_id for c in schemas.compacted(PARCELS).columns}
    worth = stored.field("items").type.value_type.field("worth")
    assert int(worth.metadata[b"PARQUET:field_id"]) == 12


def test_a_new_field_and_a_wider_decimal_read_old_files(lake: Lake, landing: Landing) -> None:
    landing.land([change("p-1", version=1, price="10.50"), change("p-2", version=1)])
    run(lake)
    fields = [dataclasses.replace(f, type=DecimalType(20, 2)) if f.name == "price" else f for f in PARCELS.fields]
    wider = dataclasses.replace(PARCELS, version="1.1.0", fields=tuple(fields))
    landing.land([change("p-1", version=2, price="123456789012345678.50")])
    compact(lake, wider, EVERYTHING)
    location = publish(lake, wider).published.metadata_location
    assert [str(r["price"]) for r in by_duckdb(location)] == ["123456789012345678.50", "10.50"]
    assert len(TableState(lake, location).metadata.schemas) == 2


def test_a_commit_against_a_pointer_that_moved_is_refused_and_changes_nothing(lake: Lake, landing: Landing) -> None:
    landing.land([change(version=1)])
    before = run(lake)
    catalog = iceberg.EntryCatalog(lake, lake.work_database)
    first, second = (catalog.load_table("parcels") for _ in range(2))
    iceberg_commit.commit(first, properties={"who": "first"}, summary={})
    with pytest.raises(CommitFailedException, match=r"gavel_work_unit\.parcels"):
        iceberg_commit.commit(second, properties={"who": "second"}, summary={})
    assert catalog.load_table("parcels").metadata.properties["who"] == "first"
    assert published_rows(lake) == by_duckdb(before.location)


def test_manifests_and_snapshots_stay_few_however_many_batches_came_before(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iceberg_commit, "_SNAPSHOTS_KEPT", 5)
    for number in range(14):
        landing.land(
            [
                change(f"p-{number}", version=1, sent_at=f"2026-{1 + number % 12:02d}-05T00:00:00Z"),
                change("p-0", version=number + 2),
            ]
        )
        state = run(lake)
    snapshot = state.metadata.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(files_of(lake))) <= 10
    assert len(state.metadata.snapshots) == 5
    assert len(by_duckdb(state.location)) == 14 == sum(f.rows for f in state.files)

    # Snapshots that another engine made are forgotten with the commit of properties that follows them.
    monkeypatch.setattr(iceberg_commit, "_SNAPSHOTS_KEPT", 3)
    table = iceberg.EntryCatalog(lake, lake.work_database).table("parcels", state.location)
    committed = iceberg_commit.commit(table, properties={"some": "property"}, summary={})
    assert len(committed.metadata.snapshots) == 3
    assert len(by_duckdb(committed.metadata_location)) == 14


def test_small_files_are_joined_so_that_ticks_do_not_leave_one_each(lake: Lake, landing: Landing) -> None:
    for number in range(6):
        landing.land([change(f"p-{number}", version=1)])
        state = run(lake)
    assert (len(state.files), len(state.changes_files)) == (1, 1)


def test_equality_deletes_of_another_tool_stop_the_engine(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.land([change(version=1)])
    state = run(lake)
    lake.kept.pop("files")
    monkeypatch.setattr(DataFile, "content", property(lambda self: DataFileContent.EQUALITY_DELETES))
    with pytest.raises(ValueError, match="expected data files and position deletes, found the equality deletes"):
        TableState(lake, state.location).files  # noqa: B018


def test_a_failed_write_leaves_no_file(lake: Lake, tmp_path: Path) -> None:
    location = lake.store.uri("warehouse/x/metadata/half.json")

    def write() -> None:
        with files_of(lake).new_output(location).create() as stream:
            stream.write(b"half")
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write()
    assert not files_of(lake).new_input(location).exists()
