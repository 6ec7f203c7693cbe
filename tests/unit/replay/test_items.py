"""Rows to items: an unknown file is replayed by its mapping alone, and what does not fit is reported, never dropped."""

import csv
import re
from pathlib import Path
from textwrap import dedent

import pytest

from contracts import load_contracts
from local.replay import ReplayError, prepare, replay
from local.replay.expressions import AGGREGATES, FUNCTIONS

CONTRACTS = load_contracts()
DOCS = Path(__file__).resolve().parents[3] / "docs" / "replay.md"
CUSTOMERS = """\
columns:
  score: integer
  joined: {type: timestamp, timezone: UTC}
items:
  - entity: customers
    fields:
      customer_id: "c-{id(who)}"
      name: "{who}"
      feedback_score: = score
      status: active
      registered_at: = joined
"""


@pytest.fixture
def run(tmp_path):
    def run(content, mapping, **options):
        (tmp_path / "file.csv").write_text(content, encoding="utf-8")
        (tmp_path / "mapping.yaml").write_text(dedent(mapping), encoding="utf-8")
        return prepare(
            tmp_path / "file.csv", tmp_path / "mapping.yaml", options=options, rejects=tmp_path / "out" / "rejects.csv"
        )

    return run


def of(made, entity):
    return [i.payload for i in made.result.items if i.entity == entity]


def test_the_example_of_the_documentation_does_what_it_says(run):
    text = DOCS.read_text(encoding="utf-8")
    content, mapping = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("csv", "yaml"))
    made = run(content, mapping)
    assert made.result.counts() == {"customers": 4, "lots": 3, "bids": 5, "orders": 2}
    orders = {o["order_id"]: o for o in of(made, "orders")}
    ito = next(c["customer_id"] for c in of(made, "customers") if c["name"] == "Paddle Mr. Ito")
    assert orders["order-S1-1"]["buyer_id"] == ito
    assert orders["order-S1-1"]["hammer_price"] == "1250.00"
    assert orders["order-S1-1"]["fees"] == [{"kind": "insurance", "payer": "buyer", "amount": "12.50"}]
    assert {lot["lot_id"]: (lot["category"], lot["status"]) for lot in of(made, "lots")} == {
        "lot-S1-1": ("coins", "sold"),
        "lot-S1-2": ("other", "unsold"),
        "lot-S1-3": ("vinyl records", "sold"),
    }
    assert of(made, "bids")[0]["placed_at"] == "2025-01-01T10:00:00Z"
    rejects = [f"line {r.line}, {r.entity}.{r.field}: {r.reason}" for r in made.result.rejects]
    assert rejects == ["line 7, bids.bidder_id: required (string), found null"]
    assert rejects[0] in text


def test_the_documentation_names_every_function():
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in {*FUNCTIONS, *AGGREGATES, "lookup"} if f"{name}(" not in text] == []


def test_bad_rows_are_written_with_line_and_reason_and_the_others_are_used(run, tmp_path):
    made = run("who,score,joined\nann,1,2025-01-01\nbob,x,2025-01-01\ncyn,3\ndan,4,soon\neve,5,2025-01-01\n", CUSTOMERS)
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
    grouped = run(
        "who,score,joined\nann,1,2025-01-01\nann,x,2025-01-01\n",
        CUSTOMERS.replace("    f", "    group_by: who\n    f", 1),
    )
    assert "made without the rejected ones" in grouped.summary()
    assert str(made.rejects_file) in summary
    assert "first in line 3: expected an integer" in summary


def test_a_rejects_file_of_an_earlier_run_does_not_stay(run):
    assert run("who,score,joined\nbob,x,2025-01-01\n", CUSTOMERS).rejects_file.exists()
    made = run("who,score,joined\nbob,1,2025-01-01\n", CUSTOMERS)
    assert made.rejects_file is None
    assert not list(made.file.parent.glob("out/*"))


def test_every_row_is_accounted_for(run):
    content = "who,score,joined\n" + "".join(f"u{n},{'x' if n % 5 == 0 else n},2025-01-01\n" for n in range(40))
    made = run(content, CUSTOMERS.replace("    fields:", "    where: = score < 20\n    fields:"))
    rejected = {r.line for r in made.result.rejects}
    assert made.result.rows == 40
    assert len(rejected) + made.result.unused_rows + len(made.result.items) == 40
    assert "were used by no part" in made.summary()


def test_an_item_that_breaks_its_contract_is_rejected_with_field_and_reason(run):
    made = run(
        "lot,price\na,12.505\nb,12.50\n",
        """\
        columns: {price: decimal}
        items:
          - entity: lots
            fields: {lot_id: "{lot}", seller_id: s, title: t, category: c, currency: usd, status: sold,
                     listed_at: "2025-01-01T00:00:00Z", starting_price: = price}
        """,
    )
    reasons = {(r.line, r.field): r.reason for r in made.result.rejects}
    assert "at most 2 digits after the point" in reasons[2, "starting_price"]
    assert "matches ^[A-Z]{3}$, found 'usd'" in reasons[3, "currency"]
    assert not made.result.items


def test_rows_of_an_item_that_disagree_are_rejected_not_guessed(run):
    mapping = CUSTOMERS.replace("    fields:", "    group_by: who\n    fields:")
    made = run("who,score,joined\nann,1,2025-01-01\nann,2,2025-01-01\nbob,3,2025-01-01\n", mapping)
    assert [c["name"] for c in of(made, "customers")] == ["bob"]
    (reject,) = made.result.rejects
    assert (reject.line, reject.field) == (2, "feedback_score")
    assert "score differs among the 2 rows" in reject.reason


def test_the_same_key_twice_is_sent_once_if_equal_and_rejected_if_not(run):
    made = run("who,score,joined\nann,1,2025-01-01\nann,1,2025-01-01\nann,2,2025-01-01\n", CUSTOMERS)
    assert [c["feedback_score"] for c in of(made, "customers")] == [1]
    assert made.result.repeated == {"customers": 1}
    (reject,) = made.result.rejects
    assert reject.line == 4
    assert "customers c-ann was already made from line 2 with another feedback_score" in reject.reason


def test_two_rules_may_make_one_item_together(run):
    made = run(
        "buyer,seller,score\nann,bob,1\nbob,cyn,2\n",
        """\
        columns: {score: integer}
        items:
          - entity: customers
            fields: {customer_id: "{buyer}", feedback_score: = score, status: active,
                     registered_at: "2025-01-01T00:00:00Z"}
          - entity: customers
            fields: {customer_id: "{seller}", kind: business, status: closed, registered_at: "2024-01-01T00:00:00Z"}
        """,
    )
    customers = {c["customer_id"]: c for c in of(made, "customers")}
    assert set(customers) == {"ann", "bob", "cyn"}
    assert customers["bob"] == {
        "customer_id": "bob",
        "feedback_score": 2,
        "kind": "business",
        "status": "active",
        "registered_at": "2025-01-01T00:00:00Z",
    }


def test_a_reference_to_an_item_that_was_rejected_is_warned_of(run):
    made = run(
        "lot,bid,who,status\na,1,x,sold\nb,2,x,gone\nb,3,x,gone\n",
        """\
        columns: {bid: decimal}
        items:
          - entity: lots
            group_by: lot
            fields: {lot_id: "{lot}", seller_id: s, title: t, category: c, currency: USD, status: "{status}",
                     listed_at: "2025-01-01T00:00:00Z"}
          - entity: bids
            fields: {bid_id: "b{line}", lot_id: "{lot}", bidder_id: "{who}", amount: = bid, currency: USD,
                     status: accepted,
                     placed_at: "2025-01-01T00:00:00Z"}
        """,
    )
    assert made.result.counts() == {"lots": 1, "bids": 3}
    assert made.result.warnings == ["2 bids name in lot_id a key of lots that this file does not make, for example b"]


def test_several_lots_in_one_order_get_line_numbers(run):
    made = run(
        "order,lot,price,tags\no1,a,1.00,x;y\no2,b,2.00,\no1,c,3.00,z\n",
        """\
        columns: {price: decimal}
        items:
          - entity: orders
            group_by: order
            fields: {order_id: "{order}", buyer_id: b, seller_id: s, currency: USD,
                     hammer_price: = sum(price), status: paid,
                     placed_at: "2025-01-01T00:00:00Z"}
          - entity: order_lines
            fields: {order_id: "{order}", line_number: = position(over=order), lot_id: "{lot}", quantity: 1,
                     hammer_price: = price, placed_at: "2025-01-01T00:00:00Z"}
          - entity: customers
            fields: {customer_id: "t-{lot}", status: active, registered_at: "2025-01-01T00:00:00Z",
                     tags: "= split(tags, ';')"}
        """,
    )
    assert {i.key for i in made.result.items if i.entity == "order_lines"} == {("o1", 1), ("o2", 1), ("o1", 2)}
    assert {o["order_id"]: o["hammer_price"] for o in of(made, "orders")} == {"o1": "4.00", "o2": "2.00"}
    assert [c["tags"] for c in of(made, "customers")] == [["x", "y"], None, ["z"]]
    assert [i.entity for i in made.result.items] == ["customers"] * 3 + ["orders"] * 2 + ["order_lines"] * 3


def test_preview_shows_the_first_items_of_each_entity(run):
    shown = run("who,score,joined\nann,1,2025-01-01\nbob,1,2025-01-01\ncyn,2,2025-01-01\n", CUSTOMERS).preview(each=2)
    assert "PUT /customers/c-ann   (line 2, 1 row)" in shown
    assert '"feedback_score": 1' in shown
    assert "c-cyn" not in shown


def test_nothing_is_sent_when_no_row_could_be_used(run):
    made = run("who,score,joined\nann,x,2025-01-01\n", CUSTOMERS)
    with pytest.raises(ReplayError, match="nothing was sent"):
        replay(None, made)


@pytest.mark.parametrize(
    ("file", "mapping", "reason"),
    [("absent.csv", "mapping.yaml", "absent.csv"), ("file.csv", "absent.yaml", "no such mapping file")],
)
def test_a_file_that_does_not_exist_is_named(run, tmp_path, file, mapping, reason):
    run("who,score,joined\nann,1,2025-01-01\n", CUSTOMERS)
    with pytest.raises(ReplayError, match=reason):
        prepare(tmp_path / file, tmp_path / mapping)


def test_an_unusable_file_is_refused_before_anything_else(run):
    with pytest.raises(ReplayError, match="no header"):
        run("", CUSTOMERS)
    with pytest.raises(ReplayError, match=r"mapping.yaml, line 2: column score: the file has no column 'score'"):
        run("who,skore,joined\n", CUSTOMERS)
