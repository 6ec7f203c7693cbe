"""Questions over the whole history: right rows as of a moment, nothing typed or stored is read as SQL or markup,
nothing personal is shown by itself, and who put which question is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import Contracts, load_contracts
from lakehouse.api import compact, publish
from lakehouse.intake.landing import Scope
from lakehouse.storage.duck import Duck
from lakehouse.storage.lake import Lake
from retrieval import log, templates
from retrieval.asking import HIDDEN, ask
from retrieval.model import Answer, RetrievalError
from retrieval.page import page, stories, text
from tests.support.depth import examples
from tests.support.lakes import NOON, Landing, local_lake

ALL = load_contracts()
CONTRACTS = Contracts({n: ALL[n] for n in ("customers", "orders", "order_lines", "payments", "countries")})
AT = "2026-11-21T12:00:0{}Z"
EVIL = """<script>alert(1)</script>'; DROP VIEW orders_changes; -- $order_id {{ 7*7 }} "x" """


def row(identity: str, second: int, op: str = "modify", **fields: str) -> dict[str, str | None]:
    """A landed change of so many seconds after noon; a later one has a higher version."""
    return {
        "_event_id": f"{identity}@{second}",
        "_op": op,
        "_version": str(1_000_000 + second),
        "_seq": "1".rjust(40, "0"),
        "_changed_at": AT.format(second),
        "_contract": "1.0.0",
        "_by": f"user:{identity}-{second}",
        **fields,
    }


def customer(identity: str, second: int, **fields: str) -> dict[str, str | None]:
    known = {"status": "active", "registered_at": "2026-01-01T00:00:00Z", **fields}
    return row(identity, second, **({"customer_id": identity} | known))


def order(name: str, second: int, buyer: str, op: str = "modify", **fields: str) -> dict[str, str | None]:
    known = {"currency": "EUR", "hammer_price": "10.00", "status": "placed", "placed_at": "2026-11-01T00:00:00Z"}
    return row(name, second, op, **({"order_id": name, "buyer_id": buyer, "seller_id": "s"} | known | fields))


def line(of: str, number: int, second: int, op: str = "modify", **fields: str) -> dict[str, str | None]:
    known = {"lot_id": "l", "quantity": "1", "hammer_price": "10.00", "placed_at": "2026-11-01T00:00:00Z"}
    return row(f"{of}/{number}", second, op, **({"order_id": of, "line_number": str(number)} | known | fields))


ROWS = {
    "customers": [customer("c-1", 1, name="Jo Doe"), customer("c-1", 4, name=EVIL), customer("c-2", 1, name="Ann")],
    "orders": [
        order("o-1", 1, "c-1"),
        order("o-1", 3, "c-2", status="invoiced", hammer_price="12.50"),
        order("o-1", 5, "c-2", "remove"),
        order("o-2", 2, "c-1"),
    ],
    "order_lines": [
        line("o-1", 1, 1, description=EVIL),
        line("o-1", 2, 1),
        line("o-1", 2, 3, "remove"),
        line("o-2", 1, 2),
    ],
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = local_lake(tmp_path_factory.mktemp("lake"))
    for name, rows in ROWS.items():
        Landing(lake, ALL[name]).land(rows, NOON)
        done = compact(lake, ALL[name], Scope.everything())
        assert done.counts.quarantined == 0
        publish(lake, ALL[name])
    return lake


def answer(lake: Lake, name: str, texts: Mapping[str, str], personal: bool = False) -> Answer:
    return ask(lake, CONTRACTS, name, texts, who="arn:aws:iam::1:user/ann", personal=personal)


def as_it_was(lake: Lake, order_id: str, second: int) -> dict[str, list[tuple[str, ...]]]:
    """Each section by its heading: key and price of its rows."""
    found = answer(lake, "order_as_of", {"order_id": order_id, "at": AT.format(second)})
    return {
        s.heading: [(*(text(r[k]) for k in s.keys), text(r["hammer_price"])) for r in s.rows]
        for s in found.sections
        if "hammer_price" in {c.name for c in s.columns}
    }


def test_an_order_is_shown_as_it_was_at_each_moment(lake: Lake) -> None:
    lines = [("o-1", "1", "10.00"), ("o-1", "2", "10.00")]
    assert as_it_was(lake, "o-1", 0) == {"Order": [], "Order lines": []}
    assert as_it_was(lake, "o-1", 1) == {"Order": [("o-1", "10.00")], "Order lines": lines}
    assert as_it_was(lake, "o-1", 2) == {"Order": [("o-1", "10.00")], "Order lines": lines}
    assert as_it_was(lake, "o-1", 3) == {"Order": [("o-1", "12.50")], "Order lines": lines[:1]}
    assert as_it_was(lake, "o-1", 5) == {"Order": [], "Order lines": lines[:1]}


def test_all_that_refers_to_an_order_has_a_section_whatever_is_published(lake: Lake) -> None:
    found = answer(lake, "order_as_of", {"order_id": "o-1", "at": AT.format(1)})
    assert [s.heading for s in found.sections] == ["Order", "Order lines", "Payments"]
    assert found.watermarks["payments"] is None
    assert found.true_for == min(w for w in found.watermarks.values() if w)


def test_the_story_of_an_item_says_who_made_what_different(lake: Lake) -> None:
    (shown,) = answer(lake, "changes_of_an_item", {"entity": "orders", "key": "o-1"}).sections
    ((key, steps),) = stories(shown)
    assert key == "o-1"
    assert [(s.op, s.by) for s in steps] == [
        ("modify", "user:o-1-1"), ("modify", "user:o-1-3"), ("remove", "user:o-1-5"),
    ]  # fmt: skip
    assert steps[1].differences == (
        ("buyer_id", "c-1", "c-2"), ("hammer_price", "10.00", "12.50"), ("status", "placed", "invoiced"),
    )  # fmt: skip
    (lines,) = answer(lake, "changes_of_an_item", {"entity": "order_lines", "key": "o-1/2"}).sections
    assert [len(steps) for _, steps in stories(lines)] == [2]


@pytest.mark.parametrize("identity", ["a/b", "x%2Fy", "%", " sp ", "ü🎩", "{order_id}", "a=b"])
def test_any_identity_has_its_answer(tmp_path: Path, identity: str) -> None:
    lake = local_lake(tmp_path)
    Landing(lake, ALL["orders"]).land([order(identity, 1, "c-1")], NOON)
    compact(lake, ALL["orders"], Scope.everything())
    publish(lake, ALL["orders"])
    for name, texts in (
        ("order_as_of", {"order_id": identity, "at": AT.format(1)}),
        ("changes_of_an_item", {"entity": "orders", "key": quote(identity, safe="")}),
    ):
        assert [row["order_id"] for row in answer(lake, name, texts).sections[0].rows] == [identity]


def test_a_partys_history_has_also_what_named_it_once(lake: Lake) -> None:
    found = answer(lake, "party_history", {"party": "c-1"})
    shown = {s.heading: [key for key, _ in stories(s)] for s in found.sections}
    assert shown == {
        "Party": ["c-1"],
        "Orders": ["o-1", "o-2"],
        "Order lines of its orders": ["o-1 / 1", "o-1 / 2", "o-2 / 1"],
        "Payments of its orders": [],
    }
    orders = next(s for s in found.sections if s.heading == "Orders")
    assert [len(steps) for _, steps in stories(orders)] == [3, 1]


def test_orders_of_a_period_are_the_published_ones_newest_first(tmp_path: Path) -> None:
    lake, day = local_lake(tmp_path), "2026-11-0{}T00:00:00Z"
    placed = [
        order("first", 1, "c-1", placed_at=day.format(2)),
        order("last", 1, "c-1", placed_at="2026-11-03T23:59:59.999Z", status="placed"),
        order("last", 2, "c-2", placed_at="2026-11-03T23:59:59.999Z", status="cancelled"),
        order("also-first", 1, "c-1", placed_at=day.format(2)),
        order("before", 1, "c-1", placed_at="2026-11-01T23:59:59.999Z"),
        order("after", 1, "c-1", placed_at=day.format(4)),
        order("dollars", 1, "c-1", placed_at=day.format(3), currency="USD"),
        order("gone", 1, "c-1", placed_at=day.format(3)),
        order("gone", 2, "c-1", "remove", placed_at=day.format(3)),
    ]
    Landing(lake, ALL["orders"]).land(placed, NOON)
    compact(lake, ALL["orders"], Scope.everything())
    publish(lake, ALL["orders"])
    # The same moments in another offset.
    wanted = {"currency": "EUR", "from": "2026-11-02T01:00:00+01:00", "until": day.format(4)}
    (shown,) = answer(lake, "orders_placed", wanted).sections
    rows = [(row["order_id"], row["buyer_id"], row["status"]) for row in shown.rows]
    assert rows == [("last", "c-2", "cancelled"), ("also-first", "c-1", "placed"), ("first", "c-1", "placed")]


def test_what_is_personal_is_shown_to_who_asks_for_it(lake: Lake) -> None:
    names = {}
    for personal in (False, True):
        party = answer(lake, "party_history", {"party": "c-1"}, personal).sections[0]
        names[personal] = [row["name"] for row in party.rows]
    assert names == {False: [HIDDEN, HIDDEN], True: ["Jo Doe", EVIL]}
    assert "Jo Doe" not in page(answer(lake, "party_history", {"party": "c-1"}))


class Parsed(HTMLParser):
    """The tags of a page, its attributes that begin with `on`, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.said = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.said += data


def test_what_is_stored_is_text_on_the_page(lake: Lake) -> None:
    for name, texts in (
        ("party_history", {"party": "c-1"}),
        ("order_as_of", {"order_id": "o-1", "at": AT.format(1)}),
        ("changes_of_an_item", {"entity": "order_lines", "key": "o-1/1"}),
    ):
        parsed = Parsed(page(answer(lake, name, texts, personal=True)))
        assert "script" not in parsed.tags
        assert parsed.handlers == []
        assert EVIL.strip() in parsed.said, name


hostile = st.one_of(
    st.sampled_from(
        [EVIL, "o-1' OR '1'='1", "o-1\\' OR 1=1 --", "$order_id", "{{ entity }}", "o-1\x00", "", "‮o-1", "*"]
    ),
    st.text(max_size=40),
)


@given(typed=hostile)
@settings(max_examples=examples(60), deadline=None)
def test_nothing_that_is_typed_is_more_than_a_value(lake: Lake, typed: str) -> None:
    """It is refused by the contract, or it is the identity of nothing; the tables answer as before."""
    try:
        found = answer(lake, "order_as_of", {"order_id": typed, "at": AT.format(1)})
    except RetrievalError:
        pass
    else:
        expected = [r["order_id"] for r in ROWS["orders"][:1] if r["order_id"] == typed]
        assert [r["order_id"] for r in found.sections[0].rows] == expected
        assert Parsed(page(found)).tags.isdisjoint({"script", "img", "iframe", "a"})
    assert as_it_was(lake, "o-1", 1)["Order"] == [("o-1", "10.00")]


def wrong() -> Iterator[tuple[str, dict[str, str], str]]:
    yield "order_as_of", {"order_id": "o-1"}, "at: missing"
    yield "order_as_of", {"order_id": "o-1", "at": "yesterday"}, "at: expected a moment"
    yield "order_as_of", {"order_id": "x" * 65, "at": AT.format(1)}, "order_id: expected at most 64"
    yield "order_as_of", {"order_id": "o-1", "at": AT.format(1), "lot": "1"}, "lot: no parameter"
    yield (
        "changes_of_an_item",
        {"entity": "orders; drop", "key": "1"},
        "entity: expected an entity (countries, customers",
    )
    yield (
        "changes_of_an_item",
        {"entity": "order_lines", "key": "o-1"},
        "key: expected a key of order_lines (order_id/line",
    )
    yield "order_as_of", {"order_id": "o-1", "at": "9999-12-31T23:59:59-14:00"}, "at: expected a moment"
    yield "changes_of_an_item", {"entity": "order_lines", "key": "o-1/one"}, "key: expected an integer"
    yield "everything", {}, "expected a question (changes_of_an_item, order_as_of, orders_placed, party_history)"


@pytest.mark.parametrize(("name", "texts", "said"), [*wrong()])
def test_what_cannot_be_put_is_refused_before_anything_is_read(
    lake: Lake, name: str, texts: dict[str, str], said: str
) -> None:
    before = len(list(log.kept(lake, datetime.now(UTC))))
    with pytest.raises(RetrievalError) as raised:
        answer(lake, name, texts)
    assert said in str(raised.value)
    assert len(list(log.kept(lake, datetime.now(UTC)))) == before


def test_who_put_which_question_is_kept_without_a_persons_identity(lake: Lake, tmp_path: Path) -> None:
    answer(lake, "party_history", {"party": "c-2"}, personal=True)
    entry = list(log.kept(lake, datetime.now(UTC)))[-1]
    assert (entry.who, entry.name, entry.personal) == ("arn:aws:iam::1:user/ann", "party_history", True)
    assert entry.parameters == {"party": log.pseudonym(lake, "c-2")}
    assert entry.rows is not None
    assert entry.rows["Party"] == 1
    assert b"c-2" not in lake.store.read(entry.key)
    answer(lake, "changes_of_an_item", {"entity": "customers", "key": "c-2"})
    assert list(log.kept(lake, datetime.now(UTC)))[-1].parameters == {
        "entity": "customers", "key_1": log.pseudonym(lake, "c-2"),
    }  # fmt: skip
    assert log.pseudonym(local_lake(tmp_path), "c-2") != log.pseudonym(lake, "c-2"), "the key is the lake's own"


def test_a_long_answer_is_cut_and_says_so(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.asking.MOST_ROWS", 2)
    (shown,) = answer(lake, "changes_of_an_item", {"entity": "orders", "key": "o-1"}).sections
    assert (len(shown.rows), shown.more) == (2, True)


@pytest.mark.parametrize("name", templates.names())
def test_every_question_is_whole(name: str) -> None:
    """Each parameter is bound by some query and each query binds nothing else; each section has its page and file."""
    template = templates.load(name)
    queries = list(templates.queries(name, template, ALL, "order_lines" if "entity" in template.parameters else ""))
    bound = frozenset().union(*(q.parameters for q in queries))
    known = {n for n, p in template.parameters.items() if not p.type or p.type == "moment"}
    assert bound - {"key_1", "key_2"} == known
    assert template.parameters.keys().isdisjoint({"question", "answer"}), "the dashboard's address has these of its own"
    assert (templates.FOLDER / name / "page.html").exists()


@pytest.mark.parametrize(
    ("file", "sql", "says"),
    [
        (
            "parcels.sql",
            "SELECT 1",
            "parcels.sql: expected the name of an entity, of which its rows are, found parcels",
        ),
        (
            "orders.sql",
            "SELECT order_id, 1 AS one FROM {{ published('orders') }}",
            "orders.sql: expected columns of orders and of its history alone, .* found one",
        ),
    ],
)
def test_a_question_that_cannot_be_answered_says_which_file_and_why(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, sql: str, says: str
) -> None:
    monkeypatch.setattr(templates, "FOLDER", tmp_path)
    folder = tmp_path / "odd_one"
    folder.mkdir()
    section = f"{{heading: Rows, sql: {file}, layout: table}}"
    (folder / "template.yml").write_text(
        f"title: t\ntext: t\nroles: [staff]\nparameters: {{}}\nsections: [{section}]\n"
    )
    (folder / file).write_text(sql)
    templates.load.cache_clear()
    with pytest.raises(RetrievalError, match=says):
        answer(lake, "odd_one", {})


HOSTILE = st.one_of(
    st.sampled_from([EVIL, "' OR 1=1 --", "$order_id", "{{ history('orders') }}", "\\'", "?", "%27"]),
    st.text(min_size=1, max_size=30),
)
USUAL = {
    "order_as_of": {"order_id": "o-1", "at": AT.format(1)},
    "changes_of_an_item": {"entity": "orders", "key": "o-1"},
    "orders_placed": {"currency": "EUR", "from": AT.format(0), "until": AT.format(1)},
    "party_history": {"party": "c-1"},
}


@pytest.mark.parametrize("name", templates.names())
@settings(max_examples=examples(40, least=4), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_typed_the_statements_stay_the_same(lake: Lake, name: str, data: st.DataObject) -> None:
    """Of every parameter of every question: a value is refused, or bound; no character of it is in a statement."""
    assert templates.load(name).parameters.keys() == USUAL[name].keys()
    usual = statements(lake, name, USUAL[name])
    for parameter in USUAL[name]:
        typed = USUAL[name] | {parameter: data.draw(HOSTILE)}
        try:
            found = statements(lake, name, typed)
        except RetrievalError:
            continue
        assert found == usual


def statements(lake: Lake, name: str, texts: Mapping[str, str]) -> list[str]:
    """What the engine is given to execute."""
    given_to_engine: list[str] = []
    run, arrow = Duck.run, Duck.arrow

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(duck: Duck, sql: str, parameters: object = None) -> Any:
            given_to_engine.append(sql)
            return real(duck, sql, parameters)

        return noted

    with mock.patch.multiple(Duck, run=noting(run), arrow=noting(arrow)):
        answer(lake, name, texts)
    return given_to_engine
