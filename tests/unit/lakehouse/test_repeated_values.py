"""Which columns of landed Parquet have few values, each many times."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.api import compact
from lakehouse.intake import parquet_files, weights
from lakehouse.intake.landing import Scope
from lakehouse.results import Counts
from lakehouse.storage.duck import connect
from tests.support.lakes import PARCELS, Landing, change, local_lake

ROWS = 4_000
NAMES = ("few", "plain", "many")


def columns_found(folder: Path) -> frozenset[str]:
    few = ['["collector"]', '["power-seller","collector"]', "[]"]
    values = {
        "few": [few[n % 3] for n in range(ROWS)],
        "plain": [few[n % 3] for n in range(ROWS)],
        "many": [f'["number {n}"]' for n in range(ROWS)],
    }
    pq.write_table(pa.table(values), folder / "0", use_dictionary=["few", "many"])
    with connect(local_lake(folder)) as duck:
        (shape,) = parquet_files.shapes(duck, folder, [0])
        assert parquet_files.repeated(duck, folder, shape, []) == frozenset()
        return parquet_files.repeated(duck, folder, shape, NAMES)


def test_a_column_has_few_values_by_the_size_of_its_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "_WORTH_A_LOOK", 0)
    assert columns_found(tmp_path) == {"few"}


def test_a_small_file_is_not_looked_at(tmp_path: Path) -> None:
    assert columns_found(tmp_path) == frozenset()


@pytest.mark.parametrize("odd", [pa.timestamp("ms"), pa.time32("ms")], ids=str)
def test_statistics_that_the_engine_cannot_hold_cost_no_row(
    odd: pa.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look at those of one column is to read those of all: an error, or the end of the engine and of the process."""
    monkeypatch.setattr(parquet_files, "_WORTH_A_LOOK", 0)
    values = pa.array([0, -1, -(1 << 62) if odd == pa.timestamp("ms") else -2], pa.int64())
    rows = [change(f"p-{n}", version=1, items="[]") for n in range(3)]
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    table = table.append_column("odd", values.cast(pa.int32() if odd.bit_width == 32 else pa.int64()).view(odd))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    lake = local_lake(tmp_path)
    Landing(lake, PARCELS).land_bytes(buffer.getvalue())
    result = compact(lake, PARCELS, Scope.everything())
    assert (result.quarantined_objects, result.failing) == ((), ())
    assert result.counts == Counts(read=3, applied=3)


def test_times_of_day_that_are_none_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGE_COLUMN", 0)
    odd = pa.array([-1, -2], pa.int32()).view(pa.time32("ms"))
    pq.write_table(pa.table({"text": ["a", "b"], "odd": odd}), tmp_path / "odd")
    pq.write_table(pa.table({"text": ["a", "b"], "odd": [1, 2]}), tmp_path / "plain")
    assert weights.largest_column(tmp_path / "odd") > weights.largest_column(tmp_path / "plain") > 0
