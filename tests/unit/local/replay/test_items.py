"""Rows to items: an unknown file is replayed by its mapping alone, and what does not fit is reported, never dropped."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from contracts import load_contracts
from contracts.validation import parse
from local.replay import ReplayError, prepare, replay
from tests.support.documents import blocks

CONTRACTS = load_contracts()
GOLDEN = Path(__file__).with_name("example_items.json")
CUSTOMERS = """\
SELECT 'c-' || id(who) AS customer_id, who AS name, as_integer(score) AS feedback_score, 'active' AS status,
       as_time(joined, timezone := 'UTC') AS registered_at, _line
FROM rows
"""
BUYERS = """\
SELECT buyer AS customer_id, as_integer(score) AS feedback_score, 'active' AS status,
       TIMESTAMP '2025-01-01' AS registered_at, NULL AS name, _line
FROM rows
"""
SELLERS = """\
SELECT seller AS customer_id, 'business' AS kind, 'closed' AS status, seller AS name,
       TIMESTAMP '2024-01-01' AS registered_at, _line
FROM rows
"""
BIDS = """\
SELECT 'b' || _line AS bid_id, lot AS lot_id, 'x' AS bidder_id, as_money(bid) AS amount, 'USD' AS currency,
       'accepted' AS status, TIMESTAMP '2025-01-01' AS placed_at, _line
FROM rows
"""
ORDERS = """\
SELECT "order" AS order_id, 'b' AS buyer_id, 's' AS seller_id, 'USD' AS currency, sum(as_money(price)) AS hammer_price,
       'paid' AS status, TIMESTAMP '2025-01-01' AS placed_at, list(_line) AS _line
FROM rows GROUP BY ALL
"""
ORDER_LINES = """\
SELECT "order" AS order_id, row_number() OVER (PARTITION BY "order" ORDER BY _line) AS line_number, lot AS lot_id,
       1 AS quantity, as_money(price) AS hammer_price, DATE '2025-01-01' AS placed_at, _line
FROM rows
"""
TAGGED = """\
SELECT 't-' || lot AS customer_id, 'active' AS status, TIMESTAMPTZ '2025-01-01 02:00:00+02' AS registered_at,
       string_split(tags, ';') AS tags, _line
FROM rows
"""
GROUPED = """\
SELECT 'c-' || id(who) AS customer_id, max(as_integer(score)) AS feedback_score, 'active' AS status,
       min(as_time(joined, timezone := 'UTC')) AS registered_at, list(_line) AS _line
FROM rows GROUP BY who
"""
LOTS = """\
SELECT lot AS lot_id, 's' AS seller_id, 't' AS title, 'c' AS category, 'USD' AS currency, 'sold' AS status,
       TIMESTAMP '2025-01-01' AS listed_at, _line, {} FROM rows
"""


def of(made, entity):
    return [i.payload for i in made.result.items if i.entity == entity]


def test_the_example_of_the_documentation_does_what_it_says(run):
    """Its items are those that the mapping language of earlier versions made of it."""
    shown = [b for b in blocks() if b.page.name == "replay.md"]
    queries = {b.info.split()[1].removesuffix(".sql"): b.text for b in shown if b.info.startswith("sql ")}
    (form,) = (b.text for b in shown if b.info == "yaml file.yaml")
    (content,) = (b.text for b in shown if b.info == "csv")
    made = run(content, form, **queries)
    assert made.result.counts() == {"customers": 4, "lots": 3, "bids": 5, "orders": 2}
    assert [dict(i.payload) for i in made.result.items] == json.loads(GOLDEN.read_text("utf-8"))
    rejects = [f"line {r.line}, {r.entity}.{r.field}: {r.reason}" for r in made.result.rejects]
    assert rejects == ["line 7, bids.bidder_id: required (string), found null"]
    assert rejects[0] in shown[0].page.read_text("utf-8")


def test_bad_rows_are_written_with_line_and_reason_and_the_others_are_used(run, tmp_path):
    content = "who,score,joined\nann,1,2025-01-01\nbob,x,2025-01-01\ncyn,3\ndan,4,soon\neve,5,2025-01-01\n"
    made = run(content, customers=CUSTOMERS)
    assert [c["name"] for c in of(made, "customers")] == ["ann", "eve"]
    assert made.rejects_file == tmp_path / "out" / "rejects.csv"
    with made.rejects_file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["line"], r["field"], r["row"]) for r in rows] == [
        ("3", "score", "bob,x,2025-01-01"),
        ("4", "", "cyn,3"),
        ("5", "joined", "dan,4,soon"),
    ]
    assert "expected an integer, found 'x'" in rows[0]["reason"]
    assert "expected 3 cells as in the header, found 2" in rows[1]["reason"]
    summary = made.summary()
    assert "rejected: 3 rows and 0 items" in summary
    assert "made without the rejected ones" not in summary
    grouped = run("who,score,joined\nann,1,2025-01-01\nann,2,2025-01-01\nann,x,2025-01-01\n", customers=GROUPED)
    assert "made without the rejected ones" in grouped.summary()
    assert str(made.rejects_file) in summary
    assert "first in line 3: expected an integer" in summary


def test_the_wrong_delimiter_is_suspected_in_rows(run):
    made = run("who,score,joined\nann;1;2025-01-01\n", customers=CUSTOMERS)
    assert "is the delimiter ','?" in next(iter(made.result.rejects)).reason


def test_lines_are_those_of_the_file_also_behind_cells_over_many_lines(run):
    made = run('who,score,joined\r\n"a\r\nb",1,2025-01-01\r\n\r\nbob,"x\n",2025-01-01\r\n', customers=CUSTOMERS)
    assert [(i.line, i.payload["name"]) for i in made.result.items] == [(2, "a\nb")]
    assert [(r.line, r.text) for r in made.result.rejects] == [(5, 'bob,"x\n",2025-01-01')]


def test_what_the_form_says_about_texts(run):
    content = "note of the maker\nwho|score|joined\n na |NA|2025-01-01\n 'a b' |1|2025-01-01\n"
    made = run(content, 'delimiter: "|"\nquote: "\'"\nskip_lines: 1\nmissing: [NA]', customers=CUSTOMERS)
    assert [(c["name"], c["feedback_score"]) for c in of(made, "customers")] == [("na", None), ("'a b'", 1)]
    made = run(content, 'delimiter: "|"\nskip_lines: 1\nmissing: [NA]\ntrim: false', customers=CUSTOMERS)
    assert of(made, "customers")[0]["name"] == " na "


def test_a_rejects_file_of_an_earlier_run_does_not_stay(run):
    assert run("who,score,joined\nbob,x,2025-01-01\n", customers=CUSTOMERS).rejects_file.exists()
    made = run("who,score,joined\nbob,1,2025-01-01\n", customers=CUSTOMERS)
    assert made.rejects_file is None
    assert not list(made.file.parent.glob("out/*"))


@pytest.mark.parametrize(
    "query",
    [f"{CUSTOMERS}WHERE as_integer(score) < 20", GROUPED.replace("GROUP", "WHERE as_integer(score) < 20 GROUP")],
)
def test_every_row_is_accounted_for(run, query):
    content = "who,score,joined\n" + "".join(f"u{n},{'x' if n % 5 == 0 else n},2025-01-01\n" for n in range(40))
    made = run(content, customers=query)
    rejected = {r.line for r in made.result.rejects}
    assert made.result.rows == 40
    assert len(rejected) + made.result.unused_rows + len(made.result.items) == 40
    assert f"{made.result.unused_rows} rows were used by no query" in made.summary()


def test_an_item_that_breaks_its_contract_is_rejected_with_field_and_reason(run):
    lots = LOTS.format("as_number(price) AS starting_price").replace("'USD'", "'usd'")
    made = run("lot,price\na,12.505\nb,12.50\n", lots=lots)
    reasons = {(r.line, r.field): r.reason for r in made.result.rejects}
    assert "at most 2 digits after the point" in reasons[2, "starting_price"]
    assert "matches ^[A-Z]{3}$, found 'usd'" in reasons[3, "currency"]
    assert not made.result.items


def test_the_same_key_twice_is_sent_once_if_equal_and_rejected_if_not(run):
    made = run("who,score,joined\nann,1,2025-01-01\nann,1,2025-01-01\nann,2,2025-01-01\n", customers=CUSTOMERS)
    assert [c["feedback_score"] for c in of(made, "customers")] == [1]
    assert made.result.repeated == {"customers": 1}
    (reject,) = made.result.rejects
    assert reject.line == 4
    assert "customers c-ann was already made from line 2 with another feedback_score" in reject.reason


def test_two_queries_may_make_one_item_together(run):
    made = run("buyer,seller,score\nann,bob,1\nbob,cyn,2\n", customers__buyers=BUYERS, customers__sellers=SELLERS)
    customers = {c["customer_id"]: c for c in of(made, "customers")}
    assert set(customers) == {"ann", "bob", "cyn"}
    assert customers["bob"] == {
        "customer_id": "bob", "feedback_score": 2, "kind": "business", "status": "active", "name": "bob",
        "registered_at": "2025-01-01T00:00:00Z",
    }  # fmt: skip


def test_a_reference_to_an_item_that_is_not_made_is_warned_of(run):
    lots = LOTS.format("1 AS starting_price").replace("'sold'", "status") + "WHERE lot <> 'b' OR as_money(bid) = 2"
    made = run("lot,bid,status\na,1,sold\nb,2,gone\nb,3,gone\n", lots=lots, bids=BIDS)
    assert made.result.counts() == {"lots": 1, "bids": 3}
    assert made.result.warnings == ["2 bids name in lot_id a key of lots that this file does not make, for example b"]


def test_several_lots_in_one_order_get_line_numbers(run):
    made = run(
        "order,lot,price,tags\no1,a,1.00,x;y\no2,b,2.00,\no1,c,3.00,z\n",
        orders=ORDERS, order_lines=ORDER_LINES, customers=TAGGED,
    )  # fmt: skip
    assert {i.key for i in made.result.items if i.entity == "order_lines"} == {("o1", 1), ("o2", 1), ("o1", 2)}
    assert {o["order_id"]: o["hammer_price"] for o in of(made, "orders")} == {"o1": "4.00", "o2": "2.00"}
    assert [c["tags"] for c in of(made, "customers")] == [["x", "y"], None, ["z"]]
    assert {i.payload.get("registered_at", "2025-01-01T00:00:00Z") for i in made.result.items} == {
        "2025-01-01T00:00:00Z"
    }
    assert [i.entity for i in made.result.items] == ["customers"] * 3 + ["orders"] * 2 + ["order_lines"] * 3


def test_members_without_value_are_left_out_and_amounts_have_their_digits(run):
    lots = LOTS.format("{'a': lot, 'b': NULL} AS attributes, as_money(price) AS starting_price")
    assert of(run("lot,price\nx,5\n", lots=lots), "lots")[0] | {} == {
        "lot_id": "x", "seller_id": "s", "title": "t", "category": "c", "currency": "USD", "status": "sold",
        "listed_at": "2025-01-01T00:00:00Z", "attributes": {"a": "x"}, "starting_price": "5.00",
    }  # fmt: skip


def test_what_falls_out_of_the_calendar_is_rejected(run):
    late = LOTS.replace("'2025-01-01' AS listed", "'9999-12-31' + days(price) AS listed").format("NULL AS grade")
    made = run("lot,price\na,0.5\nb,3\n", lots=late)
    assert [lot["listed_at"] for lot in of(made, "lots")] == ["9999-12-31T12:00:00Z"]
    assert [(r.line, r.field) for r in made.result.rejects] == [(3, "listed_at")]


def test_personal_values_are_in_no_reason(run):
    """Also where the contract says more about them than this project's do."""
    customers = CONTRACTS["customers"]
    fields = tuple(replace(f, pattern="^[a-z]+$") if f.name == "email" else f for f in customers.fields)
    assert any(f.name == "email" and f.classification == "personal" for f in fields)
    strict = {**CONTRACTS, "customers": replace(customers, fields=fields)}
    mails = CUSTOMERS.replace("who AS name", "who AS email")
    made = run("who,score,joined\nAnn O'Hara,1,2025-01-01\n", contracts=strict, customers=mails)
    (reject,) = made.result.rejects
    assert reject.field == "email"
    assert "Ann" not in reject.reason
    assert "Hara" not in reject.reason
    assert "Ann" not in made.summary()


def test_preview_shows_the_first_items_of_each_entity(run):
    content = "who,score,joined\nann,1,2025-01-01\nbob,1,2025-01-01\ncyn,2,2025-01-01\n"
    shown = run(content, customers=CUSTOMERS).preview(each=2)
    assert "PUT /customers/c-ann   (line 2, 1 row)" in shown
    assert '"feedback_score": 1' in shown
    assert "c-cyn" not in shown


def test_nothing_is_sent_when_no_row_could_be_used(run):
    made = run("who,score,joined\nann,x,2025-01-01\n", customers=CUSTOMERS)
    with pytest.raises(ReplayError, match="nothing was sent"):
        replay(None, made)
    assert not run("who,score,joined\n", customers=CUSTOMERS).result.items


@pytest.mark.parametrize(
    ("file", "mapping", "reason"),
    [("absent.csv", "mapping", "absent.csv"), ("file.csv", "absent", "no such mapping")],
)
def test_a_file_that_does_not_exist_is_named(run, tmp_path, file, mapping, reason):
    run("who,score,joined\nann,1,2025-01-01\n", customers=CUSTOMERS)
    with pytest.raises(ReplayError, match=reason):
        prepare(tmp_path / file, tmp_path / mapping)


def test_an_unusable_file_is_refused_before_anything_else(run):
    with pytest.raises(ReplayError, match="no header"):
        run("", customers=CUSTOMERS)
    with pytest.raises(ReplayError, match=r"customers.sql, line 1: there is no column 'score'; did you mean 'skore'"):
        run("who,skore,joined\n", customers=CUSTOMERS)


def test_an_item_needs_a_line(run):
    with pytest.raises(ReplayError, match="an item has no _line"):
        run("who,score,joined\nann,1,2025-01-01\n", customers=CUSTOMERS.replace("_line\n", "NULL::BIGINT AS _line\n"))


def test_payloads_satisfy_their_contracts_whatever_the_types_in_sql(run):
    other = CUSTOMERS.replace("as_integer(score)", "as_number(score)").replace("who AS name", "7 AS name")
    made = run("who,score,joined\nann,1,2025-01-01\n", customers=other)
    (item,) = made.result.items
    assert (item.payload["feedback_score"], item.payload["name"]) == (1, "7")
    assert parse(CONTRACTS["customers"], item.payload).problems == ()
    assert re.fullmatch(r"c-ann", item.key[0])
