"""Which columns of landed Parquet have few values, each many times."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.intake import parquet_files
from lakehouse.storage.duck import connect
from tests.support.lakes import local_lake

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
