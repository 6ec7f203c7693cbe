"""TPC-H with refresh pairs: what lands is what a pair changes, answers compare as they are, failures are kept."""

from pathlib import Path

import duckdb
import pytest

from benchmarks.tpch import data as tpch
from benchmarks.tpch.data import ENTITIES, Data
from benchmarks.tpch.summary import degradation, lines, medians

ORDER = "0 AS o_custkey, 'O' AS o_orderstatus, 1.5 AS o_totalprice, DATE '1998-07-06' AS o_orderdate, "
ORDER += "'1' AS o_orderpriority, 'c' AS o_clerk, 0 AS o_shippriority, 'x' AS o_comment"
LINE = "l_linenumber, 1 AS l_partkey, 1 AS l_suppkey, 2.00 AS l_quantity, 3.5 AS l_extendedprice, 0.1 AS l_discount, "
LINE += "0 AS l_tax, 'N' AS l_returnflag, 'O' AS l_linestatus, DATE '1998-07-06' AS l_shipdate, "
LINE += "DATE '1998-07-07' AS l_commitdate, DATE '1998-07-08' AS l_receiptdate, 'a' AS l_shipinstruct, "
LINE += "'b' AS l_shipmode, 'y' AS l_comment"


def rows_of(table: str, keys: str) -> str:
    """Orders with the keys, or two lines of each, as SQL."""
    if table == "orders":
        return f"SELECT k AS o_orderkey, {ORDER} FROM unnest({keys}) AS r (k)"
    return f"SELECT k AS l_orderkey, {LINE} FROM unnest({keys}) AS r (k), unnest([1, 2]) AS l (l_linenumber)"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Data, duckdb.DuckDBPyConnection]:
    """Orders 1, 2, 3; a pair that inserts 10 and 11 and deletes 1 and 11."""
    data = Data(tmp_path, tmp_path / "refresh")
    for folder in ("refresh", "landed", "stamped/orders", "stamped/lineitem"):
        (tmp_path / folder).mkdir(parents=True)
    duck = duckdb.connect()
    for table in ENTITIES:
        duck.execute(f"CREATE TABLE {table} AS {rows_of(table, '[1, 2, 3]')}")
        duck.execute(f"COPY ({rows_of(table, '[10, 11]')}) TO '{data.inserts(table, 1)}' (FORMAT parquet)")
    duck.execute(f"COPY (SELECT unnest([1, 11]) AS o_orderkey) TO '{data.deletes(1)}' (FORMAT parquet)")
    return data, duck


def test_a_pair_inserts_and_then_deletes_orders_with_their_lines(pair: tuple[Data, duckdb.DuckDBPyConnection]):
    data, duck = pair
    tpch.apply(duck, data, 1)
    assert duck.execute("SELECT o_orderkey FROM orders ORDER BY 1").fetchall() == [(2,), (3,), (10,)]
    assert duck.execute("SELECT count(*), count(DISTINCT l_orderkey) FROM lineitem").fetchone() == (6, 3)


@pytest.mark.parametrize("table", list(ENTITIES))
def test_the_newest_landed_change_of_each_key_says_what_the_pair_left(
    pair: tuple[Data, duckdb.DuckDBPyConnection], table: str
):
    data, duck = pair
    tpch._land(duck, data, table, 1)
    keys = ENTITIES[table].keys
    newest = (
        f"SELECT * FROM '{data.landed(table, 1)}' QUALIFY row_number() OVER (PARTITION BY {keys} "
        "ORDER BY _version::BIGINT DESC, _seq DESC) = 1"
    )
    numbers = ", ".join(f"{key}::BIGINT" for key in ENTITIES[table].key)
    changed = duck.execute(f"SELECT {numbers}, _op FROM ({newest}) ORDER BY ALL").fetchall()
    wanted = [(1, "remove"), (10, "insert"), (11, "remove")]
    lines_of_an_order = [()] if table == "orders" else [(1,), (2,)]
    assert changed == [(order, *line, op) for order, op in wanted for line in lines_of_an_order]


def test_what_lands_is_text_with_the_columns_of_a_change(pair: tuple[Data, duckdb.DuckDBPyConnection]):
    data, duck = pair
    tpch._land(duck, data, "orders", 1)
    types = {row[1] for row in duck.execute(f"DESCRIBE FROM '{data.landed('orders', 1)}'").fetchall()}
    assert types == {"VARCHAR"}
    first = duck.execute(f"SELECT o_orderdate, length(_seq), _changed_at FROM '{data.landed('orders', 1)}'").fetchone()
    assert first == ("1998-07-06", 40, "2026-09-22T00:01:00.000Z")


def test_rows_are_compared_whatever_their_order_and_a_changed_value_is_seen(
    pair: tuple[Data, duckdb.DuckDBPyConnection],
):
    _, duck = pair
    before = tpch.rows(duck)
    duck.execute("CREATE OR REPLACE TABLE orders AS FROM orders ORDER BY o_orderkey DESC")
    assert tpch.rows(duck) == before
    duck.execute("UPDATE orders SET o_comment = 'z' WHERE o_orderkey = 2")
    assert tpch.rows(duck) != before


def test_answers_are_alike_in_six_digits_and_in_any_order():
    assert tpch.answer([(1.00000001, "b"), (2, "a")]) == tpch.answer([(2, "a"), (1.0, "b")])
    assert tpch.answer([(1.001, "b")]) != tpch.answer([(1.0, "b")])


def test_the_degradation_rate_is_the_mean_growth_from_look_to_look():
    assert degradation([2.0, 2.2, 1.1]) == pytest.approx((0.1 - 0.5) / 2)


def run_of(seconds: float, wrong: bool = False) -> dict[str, object]:
    took = {"seconds": seconds, "processor seconds": 2 * seconds}
    looks = [{**took, "queries": [], "rows right": not wrong, "wrong answers": [4] if wrong else []}] * 2
    return {
        "load": 9.1,
        "processor seconds": 3.0,
        "peak MB": 500,
        "scratch MB": 1.0,
        "pairs": [{**took, "written MB": 2.0}],
        "looks": looks,
        "maintenance": None,
        "look after maintenance": None,
    }


def test_medians_leave_failed_runs_out_and_keep_what_any_run_had_wrong():
    found = medians([run_of(1.0), run_of(5.0, wrong=True), run_of(2.0), {"failed": "out of memory"}])
    assert found["pairs"] == [{"seconds": 2.0, "processor seconds": 4.0, "written MB": 2.0}]
    assert (found["runs"], found["rows right"], found["wrong answers"]) == (3, False, [4])


def test_the_table_says_the_load_failures_and_wrong_answers():
    failed = {"failed": "out of memory", "load": 2.0}
    runs = {"ours": [run_of(1.0)], "other": [run_of(1.0, wrong=True)], "third": [failed]}
    document = {
        "machine": {"cores": 2, "duckdb": "1", "at": "today"},
        "scale": 1.0,
        "runs": runs,
        "medians": {name: medians(some) for name, some in runs.items()},
    }
    text = "\n".join(lines(document))
    assert "load before a run was at most 9.1" in text
    assert "| third | failed: out of memory |" in text
    assert "**wrong**, queries [4]" in text
    assert "| right |" in text
    assert "| 2.00 (1.00) | 2.0 |" in text
