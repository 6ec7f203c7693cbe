"""Whatever a request says, its answer stays small and the work that it makes stays bounded.

Work is counted where it is dear (names compared to find out what was meant), and shown by size where a slip makes it
quadratic: those requests would take minutes.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.validation import MAX_PROBLEMS, MAX_SUGGESTIONS
from realtime.api.entities import Entities
from realtime.api.handler import Api
from realtime.api.idempotency import Receipts
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.deadline import Deadline
from realtime.imports.routes import routes as import_routes
from realtime.imports.service import DETAILED, Imports
from realtime.imports.status import Statuses
from realtime.inbound.dead_letters import DeadLetter
from realtime.inbound.service import Consumer
from tests.support.depth import examples
from tests.support.dynamodb_model import TableModel

CONTRACTS = load_contracts()
MAX_ANSWER = 200_000  # bytes, of a request for one item
MAX_BATCH_ANSWER = 2_500_000  # of 10,000 events; Lambda answers at most 6 MB
ORDERS = CONTRACTS["orders"]


class Nowhere:
    """A queue that takes everything."""

    def send(self, messages: Any) -> None:
        self.messages = messages


def writer() -> Writer:
    table = TableModel(lambda: 1_795_222_923_000_000)
    return Writer(Entities(CONTRACTS), Store(table, "t"), now=table.now, pause=lambda _: None)  # type: ignore[arg-type]


def statuses() -> Statuses:
    return Statuses(Store(TableModel(lambda: 0), "r"))  # type: ignore[arg-type]


def answer(method: str, resource: str, body: str, key: str | None = None) -> tuple[int, str]:
    """Status and text of an answer of a new, empty API."""
    imports = Imports(writer(), statuses(), Nowhere())  # type: ignore[arg-type]
    api = Api(writer(), Receipts(Store(TableModel(lambda: 0), "r")), import_routes(imports))  # type: ignore[arg-type]
    found = api.answer(
        {
            "resource": resource,
            "httpMethod": method,
            "pathParameters": {"entity": "orders", **({"key": key} if key else {})},
            "headers": {},
            "requestContext": {"requestId": "r", "authorizer": {"claims": {"sub": "u", "cognito:groups": "staff"}}},
            "body": body,
        }
    )
    return found["statusCode"], found["body"]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that were looked for among those there are."""
    found: list[str] = []
    original = difflib.get_close_matches

    def counting(word: str, *args: Any, **more: Any) -> list[str]:
        found.append(word)
        return original(word, *args, **more)

    monkeypatch.setattr(difflib, "get_close_matches", counting)
    return found


long = st.integers(0, 300_000)
characters = st.sampled_from(["a", "é", "\u0001", "\U0001f600", '"', "\\", "9"])
names = st.one_of(
    st.sampled_from([n for f in ORDERS.fields for n in (f.name, *f.aliases)]),
    st.builds(lambda c, n: c * n, characters, st.integers(1, 3000)),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.builds(lambda c, n: c * n, characters, long),
    st.builds(lambda n: "1." + "0" * n + "1", long), st.integers(-(10**4000), 10**4000),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3),
    max_leaves=4,
)
hostile = st.builds(
    lambda fields, count, width: fields | {f"{n:0{width}d}x": n for n in range(count)},
    st.dictionaries(names, values, max_size=6),
    st.sampled_from([0, 1, 7, 500]),
    st.sampled_from([1, 64, 700]),
)
routes = st.sampled_from(
    [("POST", "/{entity}", None), ("PUT", "/{entity}/{key+}", "o-1"), ("PATCH", "/{entity}/{key+}", "o-1"),
     ("POST", "/imports/{entity}", None)]
)  # fmt: skip


@settings(max_examples=examples(60), deadline=None)
@given(hostile, routes)
def test_an_answer_to_one_item_is_small(body: dict[str, Any], route: tuple[str, str, str | None]) -> None:
    method, resource, key = route
    status, text = answer(method, resource, json.dumps(body), key)
    assert status in (200, 201, 400, 404, 413, 422)
    assert len(text) <= (MAX_ANSWER if status >= 300 else 6_000_000)
    if status == 422 and (errors := json.loads(text).get("errors")):
        assert len(errors) <= MAX_PROBLEMS + 1


@settings(max_examples=examples(30), deadline=None)
@given(hostile)
def test_a_dead_letter_says_little(body: dict[str, Any]) -> None:
    dead: list[DeadLetter] = []
    consumer = Consumer(writer(), statuses(), claim=lambda _: "{}", wait=lambda *_: None, send_to_dlq=dead.extend)
    text = json.dumps({"entity": "orders", "event": body})
    attributes = {"ApproximateReceiveCount": "9", "SentTimestamp": "1795222923123"}
    consumer.run(
        [{"messageId": "m", "receiptHandle": "h", "body": text, "attributes": attributes}], Deadline(lambda: 60)
    )
    for letter in dead:
        attributes = dict(letter.message().attributes)
        assert attributes["reason"]
        assert sum(len(v.encode()) for v in attributes.values()) < 5000


def test_problems_that_are_left_out_are_counted(compared: list[str]) -> None:
    status, text = answer("POST", "/{entity}", json.dumps({f"colour_{n}": n for n in range(1000)}))
    problem = json.loads(text)
    required = sum(f.required for f in ORDERS.fields)
    assert (status, len(problem["errors"])) == (422, MAX_PROBLEMS + 1)
    assert problem["errors"][-1] == {
        "field": "", "reason": f"{1000 + required - MAX_PROBLEMS} more problems are left out",
    }  # fmt: skip
    assert problem["detail"].startswith(f"{1000 + required} problems")
    assert len(compared) <= MAX_SUGGESTIONS


@pytest.mark.parametrize("is_same", [True, False])
def test_a_batch_of_wrong_names_makes_little_work_and_a_small_answer(compared: list[str], is_same: bool) -> None:
    events = [{f"{'x' if is_same else e}_{n}": 1 for n in range(8)} for e in range(10_000)]
    status, text = answer("POST", "/imports/{entity}", json.dumps(events))
    assert status == 200
    assert json.loads(text)["counts"] == {"refused": 10_000}
    assert len(text) < MAX_BATCH_ANSWER
    assert len(compared) <= DETAILED * MAX_SUGGESTIONS


def test_the_longest_refusals_make_a_small_answer() -> None:
    wide = {"\U0001f600" * 64 + str(n): "\U0001f600" for n in range(60)} | {"STATUS": "\U0001f600" * 100}
    status, text = answer("POST", "/imports/{entity}", json.dumps([wide] * 300))
    assert status == 200
    assert len(text) < MAX_BATCH_ANSWER


def test_no_name_comes_back_whole() -> None:
    status, text = answer("POST", "/{entity}", json.dumps({"x" * 1_000_000: 1}))
    assert status == 422
    assert len(text) < 10_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"order_id": "o-1", "hammer_price": "1.' + "0" * 300_000 + '"}', id="zeros"),
        pytest.param("{" + ",".join(f'"{n}":1' for n in range(100_000)) + ',"99999":2}', id="repeated name"),
        pytest.param('{"order_id": ' + "9" * 5_000 + "}", id="digits"),
        pytest.param('{"hammer_price": ' + "[" * 90_000 + "]" * 90_000 + "}", id="deep"),
    ],
)
def test_nothing_takes_quadratic_time(body: str) -> None:
    status, text = answer("POST", "/{entity}", body)
    assert status in (400, 422)
    assert len(text) < 10_000
    assert "sys." not in text, "Python is nobody's business"
