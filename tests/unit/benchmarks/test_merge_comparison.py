"""The comparison of engines believes no engine: a row that is stale, missing, doubled or damaged is found."""

from pathlib import Path

import duckdb
import pytest

from benchmarks.merge import expected
from benchmarks.merge.data import ChangeSet, Data, build_changes, build_table
from benchmarks.merge.entity import COLUMNS, row_of_change

ROWS = 3_000
CHANGES = ChangeSet(ROWS, 300, "uniform")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Data, Path]:
    """A table merged with a full window, as one file."""
    data = Data(tmp_path_factory.mktemp("bench"), ROWS)
    build_table(data)
    build_changes(data, CHANGES)
    right = data.folder / "right.parquet"
    row = ", ".join(f"{expression} AS {name}" for name, expression in row_of_change(2).items())
    duckdb.execute(
        f"COPY (SELECT {', '.join(COLUMNS)} FROM (SELECT * FROM '{data.base}/*.parquet' "
        f"UNION ALL SELECT {row} FROM '{data.changes(CHANGES)}') QUALIFY row_number() OVER "
        f"(PARTITION BY order_id ORDER BY _version DESC, _seq DESC) = 1) TO '{right}' (FORMAT parquet)"
    )
    return data, right


def comparison(merged: tuple[Data, Path], rows: str) -> expected.Comparison:
    data, right = merged
    return expected.compare(expected.compute(data, [CHANGES]), f"({rows.format(right=right, data=data)})")


def test_the_right_rows_are_right_in_any_order(merged: tuple[Data, Path]):
    found = comparison(merged, "FROM '{right}' ORDER BY hash(order_id)")
    assert found.right
    assert found.rows > ROWS


@pytest.mark.parametrize(
    "rows",
    [
        "FROM '{right}' ORDER BY order_id OFFSET 1",
        "FROM '{right}' UNION ALL (FROM '{right}' LIMIT 1)",
        "FROM '{right}' WHERE _batch = 1 OR order_id <> (SELECT min(order_id) FROM '{right}' WHERE _batch = 2)",
        "FROM '{right}' UNION ALL (FROM '{right}' WHERE _batch = 2 LIMIT 1)",
        "SELECT * REPLACE (CASE WHEN _batch = 2 THEN 0 ELSE total_amount END AS total_amount) FROM '{right}'",
        "SELECT * REPLACE (CASE WHEN _batch = 1 THEN NULL ELSE note END AS note) FROM '{right}'",
        "FROM '{data.base}/*.parquet'",
    ],
    ids=["first row lost", "one twice", "change lost", "change twice", "change damaged", "others damaged", "unmerged"],
)
def test_wrong_rows_are_found(merged: tuple[Data, Path], rows: str):
    assert not comparison(merged, rows).right


def test_changes_that_are_older_than_the_stored_row_are_among_the_data(merged: tuple[Data, Path]):
    data, _ = merged
    found = expected.compute(data, [CHANGES])
    assert found.applied < found.keys


def test_data_are_always_alike(merged: tuple[Data, Path], tmp_path: Path):
    data, _ = merged
    again = Data(tmp_path, ROWS)
    build_table(again)
    build_changes(again, CHANGES)
    assert expected.compute(again, [CHANGES]).hash == expected.compute(data, [CHANGES]).hash


def test_what_lands_says_the_same_as_the_typed_changes(merged: tuple[Data, Path]):
    data, _ = merged
    landed, typed = (
        duckdb.execute(
            f"SELECT count(*), sum(hash(_event_id, total_amount::DECIMAL(12,2), {moment}, is_gift::BOOLEAN)::HUGEINT) "
            f"FROM '{source}'"
        ).fetchone()
        for source, moment in (
            (f"{data.landed(CHANGES)}/*.parquet", "rtrim(updated_at, 'Z')::TIMESTAMP"),
            (data.changes(CHANGES), "updated_at"),
        )
    )
    assert landed == typed
