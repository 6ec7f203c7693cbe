"""Helpers in queries: exact values, rows that are refused with line, column and reason, whatever DuckDB's plan."""

import re
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.replay.cells import CellError, Settings, read_cell
from local.replay.engine import Engine
from local.replay.helpers import HELPERS, identity, located
from local.replay.lines import Record
from local.replay.mapping import Folder, Format, Query
from local.replay.run import ReplayError
from tests.support.depth import examples


def at(*parts):
    """A moment as DuckDB gives it: UTC, without a zone."""
    return datetime(*parts)  # noqa: DTZ001


@pytest.fixture
def engine():
    """A DuckDB with the rows (a, b, kind) of three lines."""
    engine = Engine(("a", "b", "kind"))
    cells = [("7", "x", "bid"), ("", "y", "lot"), ("1.50", "x", "bid")]
    engine.load([Record(n, c) for n, c in enumerate(cells, 2)], Format())
    return engine


def value(engine, expression, **options):
    """What an expression gives for the row of line 2."""
    sql = located(f"SELECT {expression} FROM rows WHERE _line = 2", engine.header)
    return engine.connection.execute(sql, options).fetchall()[0][0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("as_money('$1,234.567891')", Decimal("1234.567891")),
        ("as_money('-999999999999999999.999999')", Decimal("-999999999999999999.999999")),
        ("as_money('1.234,50 €', decimal_mark := ',')", Decimal("1234.50")),
        ("as_number('0.0000000001')", Decimal("0.0000000001")),
        ("as_number('999999999999999999')", Decimal("999999999999999999")),
        ("round(as_money('2.345') , 2)", Decimal("2.35")),
        ("round(as_money('1250') * 0.01, 2)", Decimal("12.50")),
        ("as_money('999999999') * as_number('1.1') * as_number('1.1')", Decimal("1209999998.79")),
        ("as_integer('999999999999999999')", 999999999999999999),
        ("as_time('2025-07-02 03:04', timezone := 'Europe/Berlin')", at(2025, 7, 2, 1, 4)),
        ("as_time('2025-10-26 02:30', timezone := 'Europe/Berlin', ambiguous := 'later')", at(2025, 10, 26, 1, 30)),
        ("as_time('31.01.2025 1', timezone := 'UTC', format := '%d.%m.%Y %H')", at(2025, 1, 31, 1)),
        ("as_time('9999-12-31T23:59:59.999999Z')", at(9999, 12, 31, 23, 59, 59, 999999)),
        ("as_time('0001-01-01T00:00:00Z')", at(1, 1, 1)),
        ("make_timestamp(as_integer('1735689600') * 1000000)", at(2025, 1, 1)),
        ("as_date('0001-01-01')::VARCHAR", "0001-01-01"),
        ("TIMESTAMP '2025-01-01' + days('1.5') - minutes(30)", at(2025, 1, 2, 11, 30)),
        ("TIMESTAMP '2025-01-01' + days('2.230949')", at(2025, 1, 1) + timedelta(microseconds=192753993600)),
        ("days('3652059') = to_microseconds(3652059 * 86400000000)", True),
        ("$start + hours(as_number('2'))", at(2025, 1, 1, 2)),
        ("divide(10, 3)", Decimal("3.33")),
        ("divide(as_money('1'), 1.2, digits := 4)", Decimal("0.8333")),
        ("divide(-1, 8, 2)", Decimal("-0.13")),
        ("divide(1, 0)", None),
        ("as_money(NULL)", None),
        ("as_money('  ')", None),
        ("id('Mr. Ito')", identity("Mr. Ito")),
        ("id(7)", "7"),
        ("as_money(coalesce(nullif(a, '7'), '8'))", Decimal("8")),
        ("typeof(as_money(a)) || typeof(as_number(a))", "DECIMAL(24,6)DECIMAL(28,10)"),
    ],
)  # fmt: skip
def test_values_are_exact(engine, expression, expected):
    options = {"start": at(2025, 1, 1)} if "$start" in expression else {}
    assert value(engine, expression, **options) == expected
    assert not engine.refusals.cells


@given(st.sampled_from(["money", "number", "integer"]), st.decimals(-(10**18) + 1, 10**18 - 1, places=6).filter(bool))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50), deadline=None)
def test_duckdb_takes_exactly_what_was_read(engine, kind, number):
    """Between Python's reading and DuckDB's type nothing is rounded."""
    engine.refusals.cells.clear()
    text = f"{int(number)}" if kind == "integer" else f"{number:f}"
    assert value(engine, f"as_{kind}('{text}')") == Decimal(text)
    assert not engine.refusals.cells


ITEMS = """\
SELECT 'c' || _line AS customer_id, 'active' AS status, TIMESTAMP '2025-01-01' AS registered_at, _line, {} FROM rows"""
NO_LOTS = """\
SELECT kind AS lot_id, kind AS seller_id, kind AS title, kind AS category, kind AS currency, kind AS status,
       NULL AS listed_at, _line
FROM rows WHERE false"""


def rejects(made):
    return [(r.line, r.entity, r.field) for r in made.result.rejects]


CONTENT = "kind,value\nbid,5\nlot,five\nbid,x\nbid,\nlot,6\n"


@pytest.mark.parametrize(
    "sql",
    [
        f"{ITEMS.format('as_integer(value) AS feedback_score')} WHERE kind = 'bid'",
        f"{ITEMS.format('NULL AS name')} WHERE kind = 'bid' AND as_integer(value) IS DISTINCT FROM 0",
        ITEMS.format("CASE kind WHEN 'bid' THEN as_integer(value) END AS feedback_score"),
        ITEMS.format("coalesce(if(kind = 'lot', 0, NULL), as_integer(value)) AS feedback_score"),
        """WITH bids AS (SELECT * FROM rows WHERE kind = 'bid'),
        read AS (SELECT *, as_integer(value) AS score FROM bids)
        SELECT 'c' || _line AS customer_id, 'active' AS status, TIMESTAMP '2025-01-01' AS registered_at, score AS
        feedback_score, _line FROM read WHERE score > 0 OR score IS NULL""",
        f"{ITEMS.format('as_integer(r.value) AS feedback_score')} r JOIN (VALUES ('bid')) AS k(k) ON r.kind = k.k",
        f"{ITEMS.format('max(as_integer(value)) OVER (PARTITION BY _line) AS feedback_score')} WHERE kind = 'bid'",
    ],
)
def test_a_query_decides_which_cells_are_looked_at(run, sql):
    """The row `lot,five` is none of the query's business; the row `bid,x` is, and no other query takes it."""
    made = run(CONTENT, customers=sql, lots=NO_LOTS)
    assert rejects(made) == [(4, "", "value")]
    keys = {i.key for i in made.result.items}
    assert {("c2",), ("c5",)} <= keys <= {("c2",), ("c3",), ("c5",), ("c6",)}


def test_no_plan_of_duckdb_looks_at_cells_that_a_condition_leaves_out():
    """Left to itself, DuckDB changes the order of conditions while it runs, by how long they take."""
    engine = Engine(("kind", "value"))
    rows = (Record(n, ("lot", "x") if n % 100 == 0 else ("bid", str(n % 7))) for n in range(2, 60_000))
    engine.load(rows, Format())
    slow, fast = "md5(kind || repeat(kind, 300)) <> '' AND kind = 'bid'", "as_integer(value) > 5"
    both = f"WITH t AS (SELECT *, as_integer(value) AS n FROM rows WHERE {slow}) SELECT _line FROM t WHERE n > 5"
    queries = (Query("x", "1.sql", f"SELECT _line FROM rows WHERE {slow} AND {fast}"), Query("x", "2.sql", both))
    made = engine.run(Folder("m", Format(), {}, queries), {})
    assert not engine.rejects
    expected = sum(n % 7 > 5 for n in range(2, 60_000) if n % 100)
    assert [len(of_query) for of_query in made] == [expected] * 2


def test_a_row_that_one_query_refuses_is_in_no_item_of_another(run):
    made = run(
        "who,value\nann,1\nann,x\nbob,2\n",
        customers__a=ITEMS.format("as_integer(value) AS feedback_score"),
        customers__b="SELECT who AS customer_id, 'active' AS status, TIMESTAMP '2025-01-01' AS registered_at, "
        "count(*) AS feedback_score, list(_line) AS _line FROM rows GROUP BY who",
    )
    assert rejects(made) == [(3, "", "value")]
    assert {i.key[0]: i.payload["feedback_score"] for i in made.result.items} == {"c2": 1, "c4": 2, "ann": 1, "bob": 1}


def test_rows_that_are_refused_only_after_others_were_are_found(run):
    """Without line 3, line 2 is the first of its group, and is looked at."""
    made = run(
        "who,n,value\nann,2,y\nann,1,x\nann,3,5\n",
        customers="WITH first AS (SELECT *, row_number() OVER (ORDER BY n) AS place FROM rows)"
        "SELECT who AS customer_id, 'active' AS status, TIMESTAMP '2025-01-01' AS registered_at, _line, "
        "CASE place WHEN 1 THEN as_integer(value) END AS feedback_score FROM first WHERE place = 1",
    )
    assert rejects(made) == [(2, "", "value"), (3, "", "value")]
    assert [i.payload["feedback_score"] for i in made.result.items] == [5]


def test_reject_and_the_columns_that_are_named(run):
    made = run(
        'Sale No,b\nx,1\ny,2\n"z ü",q\n',
        customers=ITEMS.format(
            """CASE "Sale No" WHEN 'y' THEN NULL WHEN 'z ü' THEN NULL ELSE reject('no sale ü') END AS name,
            as_integer(nullif(b, '1')) AS feedback_score, as_money(substr('q' || "sale no", 1, 0)) IS NULL AS x"""
        ).replace("IS NULL AS x", "::VARCHAR AS kind"),
    )
    found = [(r.line, r.field, r.reason) for r in made.result.rejects]
    assert found[0] == (2, "", "no sale ü")
    assert found[1][:2] == (4, "b")
    assert [i.key for i in made.result.items] == [("c3",)]


@pytest.mark.parametrize(
    ("expression", "reported"),
    [
        ("CAST(value AS BIGINT)", r"Could not convert string 'xxxx xxxxx' to INT64.*as_money"),
        (
            "CAST(as_number(if(value[1] = 'A', '999999999999', '1')) * as_number('99999999') AS BIGINT) % 100",
            "Overflow",
        ),
        ("year(strptime(value, '%Y'))", "Could not parse string 'xxxx xxxxx'"),
        ("error('no ' || value)", "error gives another"),
    ],
)
def test_a_row_that_makes_duckdb_fail_costs_that_row_only(run, expression, reported):
    content = "kind,value\n" + "".join(f"bid,{'Anna Smith' if n in (5, 6, 33) else 2000 + n}\n" for n in range(2, 50))
    items = ITEMS.format(f"{expression} AS feedback_score")
    if "another" in reported:
        with pytest.raises(ReplayError, match=reported):
            run(content, customers=items)
        return
    made = run(content, customers=items)
    assert [r.line for r in made.result.rejects] == [5, 6, 33]
    assert len(made.result.items) == 45
    reasons = {r.reason for r in made.result.rejects}
    assert all(re.search(rf"customers.sql, line 1: .*({reported})", reason) for reason in reasons), reasons
    assert not any(reported in reason for reason in reasons for reported in ("Anna", "Smith", "9999"))


def test_a_query_that_fails_on_many_rows_is_wrong(run):
    content = "kind,value\n" + "".join(f"bid,x{n}\n" for n in range(2, 50))
    with pytest.raises(ReplayError, match=r"customers.sql, line 1: Could not convert string 'x99?'"):
        run(content, customers=ITEMS.format("CAST(value AS BIGINT) AS feedback_score"))


def test_reasons_do_not_tell_what_stands_in_a_cell(run):
    made = run("a,b\nann@example.net,1\n", customers=ITEMS.format("as_integer(a) AS feedback_score"))
    (reject,) = made.result.rejects
    assert "ann" not in reject.reason
    assert "'xxx@xxxxxxx.xxx'" in reject.reason
    assert "ann" not in made.summary()
    made = run("a,b\n1,Ann Smith-Jones\n", customers=ITEMS.format("upper(b) || repeat('!', 300) AS name, b AS email"))
    assert "Ann" not in made.summary()
    assert "ANN" not in made.summary()


CELL = st.sampled_from(["1", "2.5", "x", "", "1e3", "7 ", "٣", "1,5", "$3", "-4"])


@given(st.lists(st.tuples(CELL, CELL, st.sampled_from(["p", "q"])), min_size=1, max_size=12))
@settings(max_examples=examples(25), deadline=None)
def test_exactly_the_rows_that_cannot_be_read_are_refused(rows):
    """Any cells, in queries of several forms: no item holds a row of which a cell that was looked at cannot be read,
    every other row is in one, and the sums are those of the rows that stay."""

    def readable(text, kind):
        try:
            read_cell(kind, text, Settings())
        except CellError:
            return False
        return True

    bad = set()
    for n, (a, b, kind) in enumerate(rows, 2):
        if not readable(a, "number") or (kind == "p" and not readable(b, "money")):
            bad.add(n)
    engine = Engine(("a", "b", "kind"))
    engine.load([Record(n, row) for n, row in enumerate(rows, 2)], Format())
    queries = (
        Query("x", "1.sql", "SELECT kind, sum(as_number(a)) AS s, list(_line) AS _line FROM rows GROUP BY kind"),
        Query("x", "2.sql", "SELECT _line, as_money(b) AS b FROM rows WHERE kind = 'p' ORDER BY as_money(b)"),
        Query("x", "3.sql", "WITH t AS (SELECT *, as_number(a) AS n FROM rows) SELECT _line, n + n AS m FROM t"),
    )
    made = engine.run(Folder("m", Format(), {}, queries), {})
    refused = {reject.line for reject in engine.rejects}
    stay = {n: row for n, row in enumerate(rows, 2) if n not in bad}
    assert refused == bad
    assert {item.lines[0] for item in made[2]} == stay.keys()
    for item in made[0]:
        known = [Decimal(stay[n][0].strip()) for n in item.lines if stay[n][0].strip()]
        assert item.values["s"] == (sum(known) if known else None)
        assert item.lines == [n for n, row in stay.items() if row[2] == item.values["kind"]]


def test_settings_may_differ_from_row_to_row(engine):
    sql = "SELECT as_money('1.500', decimal_mark := if(b = 'y', ',', '.')) FROM rows"
    found = engine.connection.execute(located(sql, engine.header)).fetchall()
    assert found == [(Decimal("1.5"),), (Decimal("1500"),), (Decimal("1.5"),)]


def test_values_of_a_group_keep_the_order_of_the_file_and_missing_ones_decide_nothing(engine):
    sql = "SELECT first({0} ORDER BY as_number(a) DESC, _line), last({0} ORDER BY as_number(a), _line) FROM rows"
    found = engine.connection.execute(located(sql.format("_line"), engine.header)).fetchall()
    assert found == [(2, 3)], "first skips what is missing; the last of an order is what is missing, as SQL says"


def test_rows_that_differ_are_no_value(run):
    grouped = (
        "SELECT who AS customer_id, 'active' AS status, TIMESTAMP '2025-01-01' AS registered_at, "
        "single(as_integer(score)) AS feedback_score, list(_line) AS _line FROM rows GROUP BY who"
    )
    made = run("who,score\nann,1\nbob,3\nann,2\nbob,\nbob,3\n", customers=grouped)
    assert [(i.key[0], i.payload["feedback_score"], i.rows) for i in made.result.items] == [("bob", 3, 3)]
    found = [(r.line, r.entity, r.field, r.text) for r in made.result.rejects]
    assert found == [(2, "", "score", "ann,1"), (4, "", "score", "ann,2")]
    reason = made.result.rejects[0].reason
    assert "score has 2 different values in the 2 rows of this item; say which to take: min(score)" in reason


def test_a_query_cannot_reach_anything_but_the_rows(engine, tmp_path):
    target, frame = tmp_path / "out.csv", pa.table({"secret": [1]})
    for sql in (
        f"COPY rows TO '{target}'", "FROM read_csv('/etc/hosts')", "FROM '/etc/hosts'", "INSTALL httpfs", "LOAD httpfs",
        f"ATTACH '{target}' AS other", "SET enable_external_access = true", "SET memory_limit = '9GB'", "FROM frame",
        "FROM glob('/*')", "FROM read_blob('/etc/hosts')",
    ):  # fmt: skip
        with pytest.raises(Exception, match=r"disabled|locked|does not exist|Cannot|not allowed"):
            engine.connection.execute(sql)
    assert not target.exists()
    assert frame.num_rows == 1, "a variable of Python is no table"


def test_helpers_in_texts_comments_and_names_are_no_calls():
    sql = """SELECT 'as_money(a)', -- as_money(a)
    t.as_money, "as_money" /* as_money(a) */ FROM rows AS t"""
    assert located(sql, ("a",)) == sql
    assert (
        located("SELECT 'ä€𐐷' || as_money(t.a)", ("a",))
        == "SELECT 'ä€𐐷' || as_money(t.a, _at := (t._line), _column := 'a')"
    )
    assert (
        located('as_money("my t"."a b")', ("A b",))
        == 'as_money("my t"."a b", _at := ("my t"._line), _column := \'A b\')'
    )


def test_the_documentation_names_every_helper():
    from local.home import REPOSITORY

    text = (REPOSITORY / "docs" / "replay.md").read_text(encoding="utf-8")
    assert [name for name in HELPERS if not re.search(rf"\| .*`{name}\(x|`{name}\(", text)] == []


def test_ids_stay_different_and_need_no_escaping(engine):
    names = ["ann", "Ann", "a b", "a-b", "a/b", "a#b", "  ", "é", "x" * 300, "x" * 301, "a\nb", "ann\n"]
    ids = [engine.connection.execute("SELECT id($1)", [n]).fetchall()[0][0] for n in names]
    assert ids == [identity(n) for n in names]
    assert len(set(ids)) == len(names)
    assert ids[0] == "ann"
    assert all(len(i) <= 48 and not set(i) & set(" /#%?é\n") for i in ids)


def test_moments_are_utc(engine):
    assert value(engine, "as_time('2025-01-02T03:04:05+02:00')") == at(2025, 1, 2, 1, 4, 5)
