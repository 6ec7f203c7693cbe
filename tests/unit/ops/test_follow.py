"""An order followed through everything: the API on moto, its log lines, a lake in a folder, and what is set aside."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner

from contracts import Contracts, load_contracts
from contracts.change import change_from_record
from contracts.dbt import PROJECT
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.results import Built
from lakehouse.storage.lake import Lake
from ops.command_line import app
from ops.environment import Environment
from ops.follow import logs, marts, waiting
from ops.follow.following import Options, contract_of, follow, key_of, of_batch, of_request
from ops.follow.model import Followed, Item, moment_of
from ops.follow.page import document, lines
from realtime.api.entities import Entities
from realtime.api.handler import Api
from realtime.api.idempotency import Receipts
from realtime.api.store import Store
from realtime.api.trail import Trail
from realtime.api.writer import Writer
from realtime.api.written import KEY_PLACE, pseudonym
from tests.support.lakes import Clock, Landing, local_lake

ORDER = {
    "order_id": "o-1",
    "buyer_id": "c-1",
    "seller_id": "c-2",
    "currency": "EUR",
    "hammer_price": "1250.00",
    "buyers_premium": "312.50",
    "status": "placed",
    "placed_at": "2026-11-21T01:02:03.456Z",
}
CUSTOMER = {"customer_id": "c-1", "name": "Ann Example", "status": "active", "registered_at": "2026-01-02T03:04:05Z"}


@dataclass
class Logs:
    """CloudWatch Logs: lines by group, found by time and by a text in quotation marks, as AWS finds them."""

    kept: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    looked: list[tuple[str, int, int]] = field(default_factory=list)

    def get_paginator(self, operation: str) -> Logs:
        assert operation == "filter_log_events"
        return self

    def paginate(self, **logged: Any) -> Iterator[dict[str, Any]]:
        begin, end = logged["startTime"], logged["endTime"]
        self.looked.append((logged["logGroupName"], begin, end))
        text = logged["filterPattern"].strip('"')
        assert logged["filterPattern"] == f'"{text}"'
        found = [line for at, line in self.kept.get(logged["logGroupName"], ()) if begin <= at <= end and text in line]
        yield {"events": [{"message": line} for line in ("REPORT of the runtime", *found)]}


@dataclass
class Shop:
    """Writes through the API, and carries what was written as far as a test wants."""

    where: Environment
    api: Api
    lake: Lake
    clock: Clock
    contracts: Contracts
    logs: Logs
    written: int = 0

    def request(self, method: str, path: str, body: Any = None) -> str:
        """A request at the clock's time; answers its id."""
        self.written += 1
        request_id = f"request-{self.written}"
        entity, _, key = path.strip("/").partition("/")
        event = {
            "resource": "/{entity}/{key+}" if key else "/{entity}",
            "httpMethod": method,
            "pathParameters": {"entity": entity, "key": key},
            "headers": {},
            "requestContext": {
                "requestId": request_id,
                "authorizer": {"claims": {"sub": "u-1", "cognito:groups": "staff"}},
            },
            "body": None if body is None else json.dumps(body),
        }
        output = io.StringIO()
        with redirect_stdout(output):
            assert self.api.answer(event)["statusCode"] < 300
        at = int(self.clock().timestamp() * 1000)
        for line in output.getvalue().splitlines():
            said = json.dumps(json.loads(line) | {"timestamp": self.clock().isoformat()})
            self.logs.kept.setdefault("/gavel/test/api", []).append((at, said))
        return request_id

    def record(self, pk: str, sk: str) -> dict[str, Any]:
        """The stream record of the newest write of an item."""
        item = self.where.client("dynamodb").get_item(TableName="gavel-test", Key={"pk": {"S": pk}, "sk": {"S": sk}})
        return {
            "eventID": f"e-{self.written}",
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": int(self.clock().timestamp()),
                "SequenceNumber": f"{1000 + self.written}",
                "Keys": {},
                "NewImage": item["Item"],
            },
        }

    def land(self, pk: str = "ORDER#o-1", sk: str = "ORDER", **broken: str) -> str:
        """Carry the newest write of an item to landing; answers the landed object."""
        mapped = change_from_record(self.record(pk, sk), self.contracts)
        assert mapped is not None
        entity, row = mapped
        landing = Landing(self.lake, self.contracts[entity])
        key = landing.land([row | broken], self.clock(), f"{entity}-{self.written}.parquet")
        self.written_now(key)
        return key

    def written_now(self, key: str) -> None:
        """Let an object's time of writing be the clock's."""
        os.utime(Path(self.lake.store.uri(key).removeprefix("file://")), (self.clock().timestamp(),) * 2)

    def publish(self, entity: str = "orders") -> None:
        api.compact(self.lake, self.contracts[entity], Scope.everything())
        api.publish(self.lake, self.contracts[entity])

    def build(self, *models: str) -> None:
        """A build of marts and reports, which begins and ends now."""
        built = [Built(model, True, self.clock(), 1.0) for model in models]
        api.record_build(self.lake, built, self.clock(), "run-of-the-build")

    def follow(self, key: str = "o-1", entity: str = "orders", **options: Any) -> Followed:
        contract = contract_of(self.where, entity)
        return follow(self.where, contract, key_of(contract, key), Options(**options))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    clock = Clock()
    lake = local_lake(tmp_path / "lake", clock)
    contracts = load_contracts()
    log = Logs()
    with mock_aws():
        region = {"region_name": "eu-west-1"}
        clients: dict[str, Any] = {name: boto3.client(name, **region) for name in ("dynamodb", "sqs", "sts")}  # type: ignore[call-overload]
        table(clients["dynamodb"], "gavel-test", "pk", "sk")
        table(clients["dynamodb"], "gavel-test-requests", "pk")
        clients["sqs"].create_queue(QueueName="gavel-test-inbound-dead-letters")
        where = Environment("test", (clients | {"logs": log}).__getitem__, warehouse=tmp_path / "warehouse.duckdb")
        monkeypatch.setitem(where.__dict__, "lake", lake)
        writer = Writer(
            Entities(contracts),
            Store(clients["dynamodb"], "gavel-test"),
            now=lambda: int(clock().timestamp() * 1_000_000),
        )
        requests = Store(clients["dynamodb"], "gavel-test-requests")
        made = Api(writer, Receipts(requests), trail=Trail(requests))
        yield Shop(where, made, lake, clock, contracts, log)


def table(dynamodb: Any, name: str, *keys: str) -> None:
    """A table; the one of entities with its list by status."""
    kinds = dict(zip(keys, ("HASH", "RANGE"), strict=False))
    more: dict[str, Any] = {}
    attributes = dict.fromkeys(keys, "S")
    if "sk" in keys:
        attributes |= {"status_pk": "S", "_version": "N"}
        schema = [{"AttributeName": "status_pk", "KeyType": "HASH"}, {"AttributeName": "_version", "KeyType": "RANGE"}]
        more["GlobalSecondaryIndexes"] = [
            {"IndexName": "by_status", "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}
        ]
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": k, "KeyType": kind} for k, kind in kinds.items()],
        AttributeDefinitions=[{"AttributeName": k, "AttributeType": t} for k, t in attributes.items()],
        **more,
    )


def all_through(shop: Shop) -> tuple[str, str]:
    """An order that was placed and paid, published and built; answers the two requests."""
    first = shop.request("POST", "/orders", ORDER)
    shop.land()
    shop.clock.forward(minutes=2)
    second = shop.request("PATCH", "/orders/o-1", {"status": "paid"})
    shop.land()
    shop.clock.forward(minutes=3)
    shop.publish()
    shop.clock.forward(minutes=5)
    with duckdb.connect(str(shop.where.warehouse)) as file:
        file.execute("CREATE SCHEMA marts; CREATE TABLE marts.fct_orders AS SELECT 'o-1' AS order_id")
    shop.build("fct_orders", "rpt_party_groups")
    return first, second


def test_an_order_that_is_through_is_followed_from_its_requests_to_the_reports(shop: Shop) -> None:
    requests = all_through(shop)
    found = shop.follow()
    assert (found.stands, found.to_do, found.waiting) == ("through", "nothing", ())
    assert [logged.id for logged in found.requests] == [*requests]
    assert [change.version for change in found.changes] == [logged.wrote[0] for logged in found.requests]
    assert found.item is not None
    assert found.changes[-1].version == found.item.version
    assert {change.by for change in found.changes} == {"user:u-1"}
    assert {change.published.batch for change in found.changes} == {1}
    assert found.changes[-1].published.snapshot is not None
    assert found.changes[-1].published.published_at is not None
    assert [(build.model, build.run_id, build.rows) for build in found.builds] == [
        ("fct_orders", "run-of-the-build", 1),
        ("rpt_party_groups", "run-of-the-build", None),
    ]
    text = "\n".join(lines(found, "eu-west-1"))
    assert requests[1] in text
    assert found.trail in text
    assert found.trail in shop.logs.kept["/gavel/test/api"][0][1], "by which the saved query finds its requests"
    assert "status=paid" in text
    seconds = document(found)["changes"][-1]["seconds"]
    assert seconds["build of fct_orders"] == 300.0
    assert json.loads(json.dumps(document(found)))["stands"] == "through"


def test_logs_are_read_around_the_writes_only(shop: Shop) -> None:
    all_through(shop)
    shop.clock.forward(days=30)
    shop.follow()
    looked = sum(end - begin for group, begin, end in shop.logs.looked if group.endswith("/api"))
    assert looked < timedelta(minutes=6).total_seconds() * 1000


def test_a_change_between_table_and_landing_waits_and_says_so(shop: Shop) -> None:
    request = shop.request("POST", "/orders", ORDER)
    found = shop.follow()
    assert found.stands == "waits"
    (one,) = found.waiting
    assert (one.place, one.proven, one.to_do) == ("stream", False, "wait: a change is published within 15 minutes")
    assert request in "\n".join(lines(found, "eu-west-1"))
    shop.clock.forward(hours=1)
    assert "relay-is-late" in shop.follow().to_do


def test_since_bounds_the_history_and_hides_no_newest_write(shop: Shop) -> None:
    all_through(shop)
    shop.clock.forward(days=10)
    found = shop.follow(since=shop.clock() - timedelta(days=1))
    assert (found.stands, found.waiting) == ("through", ()), "it is no write that waits since ten days"
    assert found.changes
    where = {"pk": {"S": "ORDER#o-1"}, "sk": {"S": "ORDER"}}
    shop.where.client("dynamodb").delete_item(TableName="gavel-test", Key=where)
    found = shop.follow(since=shop.clock() - timedelta(days=1))
    assert (found.stands, found.item) == ("through", None), "nor is an item unknown that the lake has"


def test_since_leaves_out_the_days_before_also_where_a_file_holds_them(shop: Shop) -> None:
    all_through(shop)
    shop.clock.forward(days=3)
    shop.request("PUT", "/orders/o-1", ORDER)
    shop.land()
    shop.publish()
    for days, changes in ((1, 1), (4, 3)):
        assert len(shop.follow(since=shop.clock() - timedelta(days=days)).changes) == changes


def test_what_was_kept_today_of_an_item_that_nobody_knows_is_found(shop: Shop) -> None:
    shop.request("POST", "/orders", ORDER)
    record = shop.record("ORDER#o-1", "ORDER")
    key = {"pk": {"S": "ORDER#o-1"}, "sk": {"S": "ORDER"}}
    shop.where.client("dynamodb").delete_item(TableName="gavel-test", Key=key)
    kept = f"relay-failures/dt={shop.clock().date()}/orders-abc.ndjson"
    shop.lake.store.write(kept, json.dumps({"reason": "denied", "record": record}).encode())
    shop.written_now(kept)
    for since in (None, shop.clock() - timedelta(days=7)):
        found = shop.follow(since=since)
        assert (found.stands, [one.where for one in found.waiting]) == ("set aside", [kept])


def test_a_build_that_came_after_days_without_one_is_found(shop: Shop) -> None:
    shop.request("POST", "/orders", ORDER)
    shop.land()
    shop.publish()
    shop.clock.forward(days=6)
    assert shop.follow().stands == "waits"
    shop.build("fct_orders", "rpt_party_groups")
    shop.clock.forward(hours=3)
    assert shop.follow().stands == "through"


def test_a_landed_object_that_may_not_be_read_is_not_taken_for_one_without_the_change(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.request("POST", "/orders", ORDER)
    shop.land()

    def denied(self: Any, statement: str) -> Any:
        raise duckdb.HTTPException("HTTP 403 (Forbidden) for 'https://bucket/Ann Example'")

    monkeypatch.setattr("lakehouse.storage.duck.Duck.rows", denied)
    monkeypatch.setattr(Environment, "of_credentials", classmethod(lambda cls, name: shop.where))
    result = CliRunner().invoke(app, ["follow", "orders", "o-1", "--environment", "test"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "HTTP 403" in result.stderr
    assert "rights" in result.stderr
    assert "Ann" not in result.stderr


@pytest.mark.parametrize("id", ["", "*", '" ?"', "a b", "x" * 200])
def test_what_is_no_id_of_a_request_reaches_no_filter_of_the_log(shop: Shop, id: str) -> None:
    with pytest.raises(Exception, match="expected the id of a request"):
        of_request(shop.where, id, None, Options())
    assert shop.logs.looked == []


def test_a_newer_write_waits_behind_a_change_that_is_published(shop: Shop) -> None:
    all_through(shop)
    shop.clock.forward(minutes=1)
    shop.request("PATCH", "/orders/o-1", {"status": "cancelled"})
    key = shop.land()
    found = shop.follow()
    assert found.stands == "waits"
    assert [(one.place, one.where) for one in found.waiting] == [("landing", key)]
    assert found.item is not None
    assert found.item.version not in [change.version for change in found.changes]


def test_a_change_that_breaks_its_contract_is_found_in_quarantine_without_its_value(shop: Shop) -> None:
    shop.request("POST", "/orders", ORDER)
    key = shop.land(hammer_price="Ann Example's price")
    shop.publish()
    found = shop.follow()
    assert found.stands == "set aside"
    (one,) = found.waiting
    assert one.place == "quarantine"
    assert "hammer_price" in one.reason
    assert f"gavel ops requeue orders --object {key}" in one.to_do
    assert "Ann" not in "\n".join(lines(found, "eu-west-1")) + json.dumps(document(found))


@pytest.mark.parametrize("given_up", [False, True])
def test_records_that_were_kept_are_found_with_their_reason(shop: Shop, given_up: bool) -> None:
    shop.request("POST", "/orders", ORDER)
    record = shop.record("ORDER#o-1", "ORDER")
    other = json.loads(json.dumps(record).replace("o-1", "o-10"))
    if given_up:
        function = {"functionArn": "arn:aws:lambda:eu-west-1:1:function:gavel-test-relay", "condition": "RetryAttempts"}
        batch = {"requestContext": function, "payload": json.dumps({"Records": [other, record]})}
        key, body = "aws/lambda/mapping/batch", json.dumps(batch)
    else:
        day = shop.clock().date()
        key = f"relay-failures/dt={day}/orders-abc.ndjson"
        kept = ({"reason": "RetryAttempts: orders, found 7", "record": each} for each in (other, record))
        body = "\n".join(map(json.dumps, kept))
    shop.lake.store.write(key, body.encode())
    shop.written_now(key)
    found = shop.follow()
    assert found.stands == "set aside"
    assert [(one.where, one.place) for one in found.waiting] == [(key, "aws/lambda" if given_up else "relay-failures")]
    assert found.waiting[0].reason.startswith("RetryAttempts")
    assert "found 7" not in found.waiting[0].reason
    assert "gavel ops redrive" in found.to_do


def test_an_order_that_does_not_exist_is_unknown_and_its_dead_letter_is_found(shop: Shop) -> None:
    found = shop.follow("o-9")
    assert (found.stands, found.item, found.changes, found.waiting) == ("unknown", None, [], [])
    sqs = shop.where.client("sqs")
    url = sqs.get_queue_url(QueueName="gavel-test-inbound-dead-letters")["QueueUrl"]
    said = {"reason": {"DataType": "String", "StringValue": "invalid-item"}}
    said["detail"] = {"DataType": "String", "StringValue": "status: expected placed or paid, found 'x'"}
    for number in ("o-9", "o-8"):
        body = {"entity": "orders", "event": {"data": {"ORDER_NO": number, "STATUS": "x"}}}
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body), MessageAttributes=said)
    found = shop.follow("o-9")
    assert found.stands == "set aside"
    assert [(one.place, one.reason) for one in found.waiting] == [
        ("dead letters", "invalid-item: status: expected placed or paid")
    ]
    assert len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 2, "both are shown again"


def test_a_mart_that_was_not_built_since_is_what_an_order_waits_for(shop: Shop) -> None:
    shop.build("fct_orders", "rpt_party_groups")  # before the order
    shop.clock.forward(minutes=1)
    shop.request("POST", "/orders", ORDER)
    shop.land()
    shop.publish()
    for model in ("fct_orders", "rpt_party_groups"):  # published afterwards, and of before the order landed
        built = Built(model, True, shop.clock() - timedelta(seconds=30))
        api.record_build(shop.lake, [built], shop.clock() - timedelta(seconds=1), "early")
    found = shop.follow()
    assert found.stands == "waits"
    assert [build.built_at for build in found.builds] == [None, None]
    assert "reports" in found.to_do


def test_a_request_leads_to_its_item_before_and_after_it_is_in_the_lake(shop: Shop) -> None:
    request = shop.request("POST", "/orders", ORDER)
    (found,) = of_request(shop.where, request, None, Options())
    assert (found.key, found.stands) == ("o-1", "waits"), "by the list of its status"
    shop.land()
    shop.clock.forward(minutes=1)
    shop.request("PATCH", "/orders/o-1", {"status": "paid"})  # so that the table has another version
    shop.land()
    shop.publish()
    (found,) = of_request(shop.where, request, None, Options())
    assert (found.key, len(found.changes)) == ("o-1", 2), "by the changes of its time in the lake"


def test_a_request_that_nobody_logged_or_that_wrote_nothing_is_refused_with_what_to_do(shop: Shop) -> None:
    with pytest.raises(Exception, match="give --since"):
        of_request(shop.where, "no-such-request", None, Options())
    shop.request("POST", "/orders", ORDER)
    read = shop.request("GET", "/orders/o-1")
    with pytest.raises(Exception, match="wrote nothing"):
        of_request(shop.where, read, None, Options())


def test_a_batch_leads_back_to_the_requests(shop: Shop) -> None:
    first, second = all_through(shop)
    found, count = of_batch(shop.where, shop.contracts["orders"], 1, Options())
    assert (count, [one.key for one in found]) == (2, ["o-1"])
    assert [logged.id for logged in found[0].requests] == [first, second]
    assert of_batch(shop.where, shop.contracts["orders"], 7, Options()) == ([], 0)


def test_personal_values_are_hidden_and_whoever_asks_for_them_is_kept(shop: Shop) -> None:
    shop.request("POST", "/customers", CUSTOMER)
    shop.land("CUSTOMER#c-1", "CUSTOMER")
    shop.publish("customers")
    found = shop.follow("c-1", "customers")
    said = "\n".join(lines(found, "eu-west-1")) + json.dumps(document(found))
    assert "Ann" not in said
    assert "c-1" not in said
    assert not list(shop.lake.store.list("retrieval-log/"))
    shown = shop.follow("c-1", "customers", personal=True)
    assert "Ann Example" in "\n".join(lines(shown, "eu-west-1"))
    (kept,) = shop.lake.store.list("retrieval-log/")
    entry = json.loads(shop.lake.store.read(kept.key))
    assert (entry["name"], entry["personal"]) == ("follow", True)
    assert "c-1" not in json.dumps(entry)


def test_a_write_around_the_api_has_no_request_and_is_said(shop: Shop) -> None:
    all_through(shop)
    shop.logs.kept.clear()
    found = shop.follow()
    assert found.stands == "through"
    assert "request: none in the log" in "\n".join(lines(found, "eu-west-1"))


def test_two_changes_of_one_second_are_matched_in_their_order(shop: Shop) -> None:
    first = shop.request("POST", "/orders", ORDER)
    shop.land()
    shop.clock.forward(seconds=0.25)
    second = shop.request("PATCH", "/orders/o-1", {"status": "paid"})
    found = shop.follow()
    assert [one.place for one in found.waiting] == ["landing"]
    shop.publish()
    found = shop.follow()
    assert found.stands == "waits", "the second of them is not there"
    assert [one.place for one in found.waiting] == ["stream"]
    shop.land()
    shop.publish()
    found = shop.follow()
    by_version = {logged.wrote[0]: logged.id for logged in found.requests}
    assert [by_version[c.version] for c in found.changes if c.version] == [first, second]


def test_windows_of_log_lines_are_joined_where_they_overlap() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    found = logs.windows([noon + timedelta(hours=1), noon, noon + timedelta(seconds=30)])
    assert found == [
        (noon - logs.BEFORE, noon + timedelta(seconds=30) + logs.AFTER),
        (noon + timedelta(hours=1) - logs.BEFORE, noon + timedelta(hours=1) + logs.AFTER),
    ]


def test_a_pseudonym_that_is_not_the_items_counts_for_nothing(shop: Shop) -> None:
    shop.request("POST", "/orders", ORDER)
    shop.request("POST", "/orders", ORDER | {"order_id": "o-10"})
    key = logs.trail_key(shop.where)
    assert key is not None
    item = shop.where.client("dynamodb").get_item(TableName="gavel-test-requests", Key={"pk": {"S": KEY_PLACE}})["Item"]
    assert key == bytes(item["key"]["B"])
    assert pseudonym(key, "ORDER#o-1", "ORDER") != pseudonym(key, "ORDER#o-10", "ORDER")
    assert [logged.id for logged in shop.follow("o-10").requests] == ["request-2"]


@pytest.mark.parametrize("entity", sorted(marts.MARTS))
def test_every_mart_that_is_named_has_the_entitys_key(entity: str) -> None:
    (path,) = (PROJECT / "models" / "marts").rglob(f"{marts.MARTS[entity]}.yml")
    columns = {c["name"] for c in yaml.safe_load(path.read_text("utf-8"))["models"][0]["columns"]}
    assert columns >= set(load_contracts()[entity].primary_key)


def test_reasons_lose_the_values_that_they_quote() -> None:
    assert waiting.plain("a: expected x, found 'Ann'; b: expected y, found 7") == "a: expected x; b: expected y"


def test_the_command_says_where_an_order_is_and_ends_accordingly(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Environment, "of_credentials", classmethod(lambda cls, name: shop.where))

    def run(*arguments: str, code: int) -> str:
        result = CliRunner().invoke(app, ["follow", *arguments, "--environment", "test"])
        assert result.exit_code == code, result.output
        return result.output

    assert "unknown" in run("orders", "o-1", code=1)
    request = shop.request("POST", "/orders", ORDER)
    assert "orders o-1: waits" in run("orders", "o-1", code=3)
    assert "orders o-1: waits" in run("--request", request, code=3)
    shop.land()
    shop.publish()
    shop.clock.forward(minutes=1)
    shop.build("fct_orders", "rpt_party_groups")
    assert json.loads(run("orders", "o-1", "--json", code=0))[0]["stands"] == "through"
    assert "orders o-1: through" in run("fct_orders", "o-1", code=0)
    assert "batch 1 of orders has 1 changes" in run("orders", "--batch", "1", code=0)
    for wrong in (
        ["orders"],
        ["orders", "o-1/2"],
        ["nothing", "o-1"],
        ["countries", "DE"],
        ["orders", "--batch", "9"],
    ):
        assert "expected" in run(*wrong, code=1)
    assert "expected ENTITY KEY" in run("orders", "o-1", "--request", request, code=1), "one of them would be ignored"


def test_a_change_whose_publication_is_not_in_the_log_yet_is_not_through(shop: Shop) -> None:
    all_through(shop)
    for key in [entry.key for entry in shop.lake.store.list("publication_log/")]:
        shop.lake.store.delete([key])
    assert shop.follow().stands == "waits"
    shop.clock.forward(hours=2)
    found = shop.follow()
    assert (found.stands, len(found.notes)) == ("through", 1), "an old row may be gone for good"


# ---- at night: half of the evidence is missing, damaged, or written by somebody else


def said(found: Followed) -> str:
    """Everything that people and programs are shown."""
    return "\n".join(lines(found, "eu-west-1")) + json.dumps(document(found))


@pytest.mark.parametrize("version", ["1795262520000000000", "4102444700000000", "7"])
def test_a_version_that_is_no_time_of_the_api_is_said_and_matched_by_order(shop: Shop, version: str) -> None:
    all_through(shop)
    shop.clock.forward(minutes=1)
    shop.where.client("dynamodb").update_item(
        TableName="gavel-test",
        Key={"pk": {"S": "ORDER#o-1"}, "sk": {"S": "ORDER"}},
        UpdateExpression="SET #v = :v",
        ExpressionAttributeNames={"#v": "_version"},
        ExpressionAttributeValues={":v": {"N": version}},
    )
    shop.written += 1
    found = shop.follow()
    assert (found.stands, [one.place for one in found.waiting]) == ("waits", ["stream"])
    shop.land()
    shop.publish()
    shop.clock.forward(minutes=1)
    shop.build("fct_orders", "rpt_party_groups")
    found = shop.follow(since=shop.clock() - timedelta(minutes=1))
    assert (found.stands, found.changes[-1].version) == ("through", int(version))
    assert "no time of the API's" in said(found)
    shop.request("PATCH", "/orders/o-1", {"status": "cancelled"})  # its version is one more, and so no time either
    shop.land()
    shop.publish()
    found = shop.follow()
    assert found.changes[-1].version == found.requests[-1].wrote[0], "the line says when it was written"


def test_the_longest_version_of_dynamodb_is_shown_as_text() -> None:
    found = Followed("orders", "o-1", item=Item(int("9" * 38), None, False, ("ORDER#o-1", "ORDER")))
    assert document(found)["item"]["version"] == "9" * 38
    assert "9" * 38 in said(found)
    assert moment_of(int("9" * 38)) is None


@pytest.mark.parametrize(
    "spoiled",
    [
        {"timestamp": None},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-11-21T12:00:00"},
        {"wrote": 5},
        {"wrote": [5, None, {}, "x@²", "x@" + "9" * 60]},
        {"ms": "x", "status": "x", "method": 7, "route": [], "trace": 5, "request_id": 9},
    ],
)
def test_a_line_of_the_log_that_is_not_as_it_should_be_hides_nothing_else(shop: Shop, spoiled: dict[str, Any]) -> None:
    all_through(shop)
    kept = shop.logs.kept["/gavel/test/api"]
    at, line = kept[0]
    kept[0] = (at, json.dumps(json.loads(line) | spoiled))
    found = shop.follow()
    assert found.stands == "through"
    assert found.requests[-1].id == "request-2"
    assert said(found)


def test_a_log_that_cannot_be_read_takes_the_requests_alone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    all_through(shop)

    def throttled(**request: Any) -> Any:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "FilterLogEvents")

    monkeypatch.setattr(shop.logs, "paginate", throttled)
    found = shop.follow()
    assert (found.stands, found.requests) == ("through", [])
    assert any("ThrottlingException" in note and "run it again" in note for note in found.notes)


def test_what_is_no_record_hides_no_record(shop: Shop) -> None:
    shop.request("POST", "/orders", ORDER)
    record = shop.record("ORDER#o-1", "ORDER")
    image = record["dynamodb"]
    bodies: list[Any] = [[], 5, "x", None, {"dynamodb": 5}, {"dynamodb": {"NewImage": 5}}]
    bodies += [{"dynamodb": {"NewImage": {"pk": 5}}}, {"dynamodb": image | {"ApproximateCreationDateTime": 1e30}}]
    kept = "\n".join(json.dumps({"reason": "r", "record": body}) for body in (*bodies, record))
    function = {"functionArn": "arn:aws:lambda:eu-west-1:1:function:gavel-test-relay"}
    given_up = {"requestContext": function, "payload": json.dumps({"Records": [*bodies, record]})}
    for key, content in {
        f"relay-failures/dt={shop.clock().date()}/orders-abc.ndjson": kept,
        "aws/lambda/mapping/batch": json.dumps(given_up),
        "aws/lambda/mapping/other": json.dumps({"requestContext": function, "payload": 7}),
    }.items():
        shop.lake.store.write(key, content.encode())
        shop.written_now(key)
    found = shop.follow()
    assert [one.place for one in found.waiting] == ["relay-failures"] * 2 + ["aws/lambda"] * 2
    assert [one.since is None for one in found.waiting] == [True, False] * 2


def test_letters_of_any_form_hide_no_other(shop: Shop) -> None:
    sqs = shop.where.client("sqs")
    url = sqs.get_queue_url(QueueName="gavel-test-inbound-dead-letters")["QueueUrl"]
    right = {"entity": "orders", "records": [1, {"values": {"order_id": "o-9"}}]}
    odd = [5, None, [], {"entity": "orders"}, *({"entity": "orders", name: 5} for name in ("records", "event"))]
    for body in (*odd, {"entity": "orders", "records": None}, right):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
    found = shop.follow("o-9", since=datetime(1, 1, 1, tzinfo=UTC))
    assert [one.place for one in found.waiting] == ["dead letters"]
    sqs.delete_queue(QueueUrl=url)
    assert any("could not be looked into" in note for note in shop.follow("o-9").notes)


def test_what_is_damaged_is_named_and_hides_nothing_else(shop: Shop) -> None:
    all_through(shop)
    for kept in list(shop.lake.store.list("publication_log/")):
        shop.lake.store.write(kept.key, b"no row")
    found = shop.follow()
    assert len(found.changes) == 2
    assert any("publication_log/" in note for note in found.notes)
    shop.clock.forward(minutes=1)
    shop.request("PATCH", "/orders/o-1", {"status": "cancelled"})
    shop.land(hammer_price="much")
    shop.publish()
    (kept,) = shop.lake.store.list("quarantine/orders/")
    shop.lake.store.write(kept.key, b"no Parquet")
    assert any("set aside whole" in note for note in shop.follow().notes)


def test_an_erased_person_is_said_to_be_erased_by_which_request(shop: Shop) -> None:
    shop.request("POST", "/customers", CUSTOMER)
    shop.land("CUSTOMER#c-1", "CUSTOMER")
    shop.publish("customers")
    request = api.request_erasure(shop.lake, "c-1", timedelta(0))
    api.erase_entity(shop.lake, shop.contracts["customers"], request)
    found = shop.follow("c-1", "customers")
    assert (found.stands, found.erased_by) == ("erased", request.id), "whoever comes again comes to nothing"
    assert f"erasure verify {request.id}" in found.to_do
    assert shop.follow("c-2", "customers").stands == "unknown"
    assert "c-1" not in said(found)
