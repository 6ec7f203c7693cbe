"""The comparison of engines believes no engine: a row that is stale, missing, doubled or damaged is found."""

from pathlib import Path

import duckdb
import pytest

from benchmarks.merge import expected
from benchmarks.merge.cases import CELLS, Case
from benchmarks.merge.data import ChangeSet, Data, build_changes, build_table
from benchmarks.merge.entity import ENTITIES

ROWS = 3_000
CHANGES = ChangeSet(ROWS, 300, "uniform")


def merge_by_window(data: Data, changes: ChangeSet) -> Path:
    """The table merged with a full window, as one file."""
    right, entity = data.folder / f"{changes.name}.parquet", data.entity
    columns = ", ".join(entity.columns)
    row = ", ".join(f"{expression} AS {name}" for name, expression in entity.row_of_change(2).items())
    duckdb.execute(
        f"COPY (SELECT {columns} FROM (SELECT {columns} FROM '{data.base}/*.parquet' "
        f"UNION ALL SELECT {row} FROM '{data.changes(changes)}') QUALIFY row_number() OVER "
        f"(PARTITION BY {entity.keys} ORDER BY _version DESC, _seq DESC) = 1) TO '{right}' (FORMAT parquet)"
    )
    return right


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Data, Path]:
    data = Data(tmp_path_factory.mktemp("bench"), ROWS)
    build_table(data)
    build_changes(data, CHANGES)
    return data, merge_by_window(data, CHANGES)


def comparison(merged: tuple[Data, Path], rows: str) -> expected.Comparison:
    data, right = merged
    return expected.compare(data, expected.compute(data, [CHANGES]), f"({rows.format(right=right, data=data)})")


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


def small(cell: str) -> Case:
    """A cell of a few hundred rows."""
    case = CELLS[cell]
    rows = case.rows or case.count
    return case.of_share(400 / rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cells")


def built(root: Path, cell: str) -> tuple[Data, ChangeSet]:
    case = small(cell)
    (changes,), data = case.sets, case.data(root)
    build_table(data)
    build_changes(data, changes)
    return data, changes


@pytest.mark.parametrize(
    "cell",
    [
        "random-1m-one-key",
        "random-1m-20-times",
        "random-deletes",
        "wide-150k",
        "lists-100k",
        "keys-first",
        "micro-100k",
    ],
)
def test_the_right_rows_of_each_shape_are_right_and_others_are_not(made: Path, cell: str):
    data, changes = built(made, cell)
    wanted = expected.compute(data, [changes])
    right = merge_by_window(data, changes)
    assert expected.compare(data, wanted, f"'{right}'").right
    assert not expected.compare(data, wanted, f"(FROM '{right}' ORDER BY _batch DESC OFFSET 1)").right


@pytest.mark.parametrize("entity", [name for name in ENTITIES if name != "sales"])
def test_keys_of_a_table_are_unique_and_sorted(made: Path, entity: str):
    data, _ = built(made, f"{entity}-10k")
    keys = data.entity.keys
    assert duckdb.execute(
        f"SELECT count(*), count(DISTINCT ({keys})), list(({keys})) = list(({keys}) ORDER BY {keys}) "
        f"FROM '{data.base}/*.parquet'"
    ).fetchone() == (data.rows, data.rows, True)


def test_half_of_the_changes_are_on_one_key(made: Path):
    data, changes = built(made, "random-1m-one-key")
    (most,) = duckdb.execute(
        f"SELECT max(n) FROM (SELECT count(DISTINCT _event_id) AS n FROM '{data.changes(changes)}' GROUP BY id)"
    ).fetchone() or (0,)
    assert changes.count // 2 <= most <= changes.count // 2 + 3


def test_each_key_changes_twenty_times_and_some_are_new(made: Path):
    data, changes = built(made, "random-1m-20-times")
    counts = duckdb.execute(
        "SELECT DISTINCT n, b.id IS NULL FROM (SELECT id, count(DISTINCT _event_id) AS n "
        f"FROM '{data.changes(changes)}' GROUP BY id) LEFT JOIN '{data.base}/*.parquet' b USING (id)"
    ).fetchall()
    assert sorted(counts) == [(20, False), (20, True)]


def test_half_of_the_changes_are_of_new_keys(made: Path):
    data, changes = built(made, "micro-100k")
    found = duckdb.execute(
        "SELECT c._op, b.id IS NULL, count(DISTINCT c._event_id) "
        f"FROM '{data.changes(changes)}' c LEFT JOIN '{data.base}/*.parquet' b USING (id) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert found == [("insert", True, 10), ("modify", False, 10)]


def test_half_of_the_table_is_deleted(made: Path):
    data, changes = built(made, "wide-deletes")
    right = merge_by_window(data, changes)
    assert duckdb.execute(f"SELECT count(*), count(*) FILTER (_deleted) FROM '{right}'").fetchone() == (400, 200)


def test_a_first_load_makes_as_many_rows_as_the_table_has(made: Path):
    data, changes = built(made, "lists-first")
    assert data.rows == 0
    assert expected.compute(data, [changes]).rows == 400


def test_long_keys_are_longer_than_the_bounds_that_parquet_keeps(made: Path):
    data, _ = built(made, "keys-10k")
    longest, same = duckdb.execute(
        f"SELECT max(strlen(path)), count(DISTINCT path[:40]) FROM '{data.base}/*.parquet'"
    ).fetchone() or (0, 0)
    assert longest > 256
    assert same == 1
