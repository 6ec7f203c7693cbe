"""What the log says of written items: by pseudonyms that nobody without the key can make, each with its version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from realtime.api.handler import Api
from realtime.api.store import Store, Unavailable
from realtime.api.trail import Trail
from realtime.api.written import KEY_PLACE, note, noting, pseudonym
from tests.support.inbound import Inbound

Fixture = Any
KEY = b"k" * 32
TRACE = "1-67891233-abcdef012345678912345678"


@pytest.fixture
def followed(api: Fixture, requests_table: Any) -> Fixture:
    """The API, with a trail whose key is known."""
    store = Store(api.client, requests_table.name)
    requests_table.delete_item(Key={"pk": KEY_PLACE})
    api.api = Api(api.api._writer, api.receipts, trail=Trail(store, new_key=lambda: KEY))
    return api


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def version(api: Fixture, pk: str, sk: str) -> str:
    return str(api.item(pk, sk)["_version"]["N"])


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k-trail"}])
def test_every_write_says_which_item_it_wrote_and_as_which_version(
    followed: Fixture, order: dict[str, Any], headers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ({name: f"{text}-{n}" for name, text in headers.items()} for n in range(9))
    place = ("ORDER#o-1", "ORDER")
    name = pseudonym(KEY, *place)
    for method, path, body in (
        ("POST", "/orders", order),
        ("PATCH", "/orders/o-1", {"status": "paid"}),
        ("PUT", "/orders/o-1", order),
        ("DELETE", "/orders/o-1", None),
    ):
        assert followed(method, path, body, headers=next(keys)).status < 300
        (line,) = lines(capsys)
        assert line["wrote"] == [f"{name}@{version(followed, *place)}"], method
        assert "o-1" not in json.dumps(line)


def test_a_write_says_the_item_that_it_copies_to(
    followed: Fixture, order: dict[str, Any], estimate: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    followed("POST", "/orders", order)
    lines(capsys)
    followed("POST", "/estimates", estimate)
    (line,) = lines(capsys)
    assert f"{pseudonym(KEY, 'ORDER#o-1', 'ORDER')}@{version(followed, 'ORDER#o-1', 'ORDER')}" in line["wrote"]
    assert len(line["wrote"]) == 2


def test_what_wrote_nothing_says_nothing(
    followed: Fixture, order: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    followed("POST", "/orders", order, headers={"Idempotency-Key": "k-once"})
    lines(capsys)
    followed("GET", "/orders/o-1")
    followed("POST", "/orders", order)  # exists
    followed("POST", "/orders", order, headers={"Idempotency-Key": "k-once"})
    read, refused, repeated = lines(capsys)
    assert all("wrote" not in line for line in (read, refused, repeated))
    assert repeated["repeats"] == "r-1", "the request that got the answer first"
    assert "repeats" not in read


def test_the_first_key_is_the_key_whoever_makes_it(api: Fixture, requests_table: Any) -> None:
    requests_table.delete_item(Key={"pk": KEY_PLACE})
    store = Store(api.client, requests_table.name)
    with noting() as wrote:
        note({"pk": "a", "sk": "b"}, {"_version": {"N": "7"}})
    assert Trail(store, new_key=None).said(wrote) == {}, "who may make none waits for it"
    assert Trail(store, new_key=lambda: KEY).said(wrote) == {"wrote": [f"{pseudonym(KEY, 'a', 'b')}@7"]}
    assert Trail(store, new_key=lambda: b"o" * 32).said(wrote) == {"wrote": [f"{pseudonym(KEY, 'a', 'b')}@7"]}


def test_a_place_and_its_parts_are_distinguished() -> None:
    assert pseudonym(KEY, "ab", "c") != pseudonym(KEY, "a", "bc")
    assert pseudonym(KEY, "a", "b") != pseudonym(b"o" * 32, "a", "b")


def test_a_key_that_is_not_to_be_had_fails_no_request(
    followed: Fixture, order: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(*_: Any) -> None:
        raise Unavailable("throttled")

    monkeypatch.setattr(Trail, "_stored", unavailable)
    assert followed("POST", "/orders", order).status == 201
    warning, line = lines(capsys)
    assert (warning["level"], warning["items"], warning["shown"]) == ("WARN", 1, 1)
    assert "wrote" not in line


def test_a_request_that_fails_after_a_write_says_what_it_wrote(
    followed: Fixture, order: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("realtime.api.writes.represent", broken)
    assert followed("PATCH", "/orders/o-1", {"status": "paid"}).status in (404, 500)
    lines(capsys)
    monkeypatch.undo()
    followed("POST", "/orders", order)
    monkeypatch.setattr("realtime.api.writes.represent", broken)
    lines(capsys)
    assert followed("PATCH", "/orders/o-1", {"status": "paid"}).status == 500
    line = lines(capsys)[-1]
    assert line["wrote"] == [f"{pseudonym(KEY, 'ORDER#o-1', 'ORDER')}@{version(followed, 'ORDER#o-1', 'ORDER')}"]


def test_imports_say_what_they_wrote_at_once_and_from_the_queue(
    inbound: Inbound, api: Fixture, requests_table: Any, order: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(api.client, requests_table.name)
    requests_table.put_item(Item={"pk": KEY_PLACE, "key": KEY})
    inbound.api._trail = Trail(store)
    inbound.consumer._trail = Trail(store, new_key=None)
    some = [order | {"order_id": f"o-{n}"} for n in range(60)]
    name = pseudonym(KEY, "ORDER#o-7", "ORDER")
    inbound.post("orders", some[:50])
    line = lines(capsys)[-1]
    assert f"{name}@{version(api, 'ORDER#o-7', 'ORDER')}" in line["wrote"]
    assert len(line["wrote"]) == 50
    _, answer = inbound.post("orders", [one | {"status": "paid"} for one in some])
    assert lines(capsys)[-1]["import_id"] == answer["import"]
    inbound.deliver()
    written = next(line for line in inbound.logged if line["message"] == "written")
    assert f"{name}@{version(api, 'ORDER#o-7', 'ORDER')}" in written["wrote"]
    assert (written["entity"], written["import_id"], written["by"]) == ("orders", answer["import"], "user:u-1")


def test_lines_and_receipts_name_the_trace(
    followed: Fixture,
    order: dict[str, Any],
    requests_table: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1")
    followed("POST", "/orders", order, headers={"Idempotency-Key": "k-traced"})
    assert lines(capsys)[-1]["trace"] == TRACE
    kept = [item for item in requests_table.scan()["Items"] if item.get("trace") == TRACE]
    assert [item["request_id"] for item in kept] == ["r-1"]
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=made up;Parent=x")
    followed("GET", "/orders/o-1")
    assert "trace" not in lines(capsys)[-1]
