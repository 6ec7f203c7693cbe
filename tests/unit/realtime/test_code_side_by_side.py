"""While calls go over to a new version, the code of before and that of now serve one table, one queue and one stream.
Each test hands something from one to the other, in both directions, by the handlers that Lambda calls.

The code of before is that of the commit `AGAINST`, which `make contracts` names; else the last one that differs from
what lies here. That old and new *contracts* go together is in `test_side_by_side.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from moto import mock_aws

from ops.deployment.templates import FILES, parsed
from tests.support.function_versions import (
    REGION,
    Aws,
    NoRevision,
    Version,
    before,
    client,
    tree_here,
    tree_of,
    version,
)

CUSTOMER = {"CUST_NO": "c-1", "STATUS": "active", "REG_TS": "2026-01-02T03:04:05Z", "CUST_NAME": "Ada Lovelace"}
TABLES = {"Table": "entities", "RequestsTable": "requests", "SummariesTable": "summaries", "TrackingTable": "tracking"}
BOTH_WAYS = pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old")])
MANY = 60
"""Events of an import that go through the queue: more than are written at once."""
_numbers = count(1)


@dataclass
class Side:
    """A version as its callers see it."""

    version: Version

    def api(
        self, method: str, resource: str, body: Any = None, *, query: Mapping[str, str] | None = None, **more: Any
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body and headers of the answer to a request of staff; a resource has its parameters in it, as
        `{name=value}`."""
        parameters = dict(re.findall(r"\{([\w+]+)=([^}]*)\}", resource))
        event = {
            "resource": re.sub(r"=[^}]*", "", resource),
            "path": re.sub(r"\{[\w+]+=([^}]*)\}", r"\1", resource),
            "httpMethod": method,
            "pathParameters": {name.rstrip("+"): value for name, value in parameters.items()},
            "headers": dict(more.get("headers", {})),
            "multiValueQueryStringParameters": {n: [v] for n, v in (query or {}).items()} or None,
            "requestContext": {
                "requestId": f"r-{next(_numbers)}",
                "authorizer": {"claims": {"sub": "u-1", "cognito:groups": "staff"}},
            },
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
        answer = self.version.invoke("api", event)
        assert answer["statusCode"] < 500, self.version.logged
        return answer["statusCode"], json.loads(answer["body"]) if answer["body"] else None, answer["headers"]

    def inbound(self, queue: str) -> list[str]:
        """Hand over what is in a queue, until nothing is; returns the reasons of dead letters."""
        sqs = client("sqs")
        while found := sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
        ).get("Messages"):
            records = [
                {
                    "messageId": m["MessageId"], "receiptHandle": m["ReceiptHandle"], "body": m["Body"],
                    "attributes": m["Attributes"],
                    "messageAttributes": {
                        n: {"stringValue": a["StringValue"]} for n, a in m.get("MessageAttributes", {}).items()
                    },
                }
                for m in found
            ]  # fmt: skip
            assert self.version.invoke("inbound", {"Records": records}) == {"batchItemFailures": []}
            for message in found:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        dead = self.version.aws.names["InboundDeadLetters"]
        letters = sqs.receive_message(QueueUrl=dead, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        return [m["MessageAttributes"]["reason"]["StringValue"] for m in letters.get("Messages", ())]

    def rows(self, *records: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the relay hands to Firehose for stream records."""
        self.version.aws.landed.clear()
        assert self.version.invoke("relay", {"Records": records}) == {"batchItemFailures": []}
        assert not [line for line in self.version.logged if "Unhandled" in line]
        return [*self.version.aws.landed]

    def events(self, *records: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the fan-out puts on the bus for stream records."""
        self.version.aws.published.clear()
        assert self.version.invoke("fanout", {"Records": records}) == {"batchItemFailures": []}
        return [json.loads(entry["Detail"]) for entry in self.version.aws.published]


def _tables(aws_names: dict[str, str]) -> None:
    resources = parsed(FILES["realtime"].read_text("utf-8"))["Resources"]
    for resource, name in TABLES.items():
        definition = resources[resource]["Properties"]
        parts = {
            k: definition[k] for k in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes") if k in definition
        }
        client("dynamodb").create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **parts)
        aws_names[resource] = name


def _queues_and_topics(names: dict[str, str]) -> None:
    for queue in ("InboundQueue", "InboundDeadLetters", "FanoutDeadLetters"):
        names[queue] = client("sqs").create_queue(QueueName=queue)["QueueUrl"]
    names["AlertTopic"] = client("sns").create_topic(Name="alerts")["TopicArn"]
    fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
    names["TrackingTopic"] = client("sns").create_topic(Name="tracking.fifo", Attributes=fifo)["TopicArn"]
    client("s3").create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": REGION})
    names |= {"DataBucket": "data", "Environment": "test", "EventBus": "gavel-test"}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Side]]:
    try:
        revision = before()
    except NoRevision as why:
        pytest.skip(str(why))
    trees = {
        "old": tree_of(revision, tmp_path_factory.mktemp("old")),
        "new": tree_here(tmp_path_factory.mktemp("new") / "tree"),
    }
    with mock_aws(), pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        environment.delenv("AWS_ENDPOINT_URL", raising=False)
        client.cache_clear()
        names: dict[str, str] = {}
        _tables(names)
        _queues_and_topics(names)
        aws = Aws(names)
        made = {name: Side(stack.enter_context(version(name, tree, aws))) for name, tree in trees.items()}
        yield made.__getitem__
    client.cache_clear()


@pytest.fixture(autouse=True)
def empty(sides: Callable[[str], Side]) -> None:
    """Nothing is left of an earlier test: items, receipts, messages."""
    dynamodb = client("dynamodb")
    for table in TABLES.values():
        keys = [k["AttributeName"] for k in dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]]
        for item in dynamodb.scan(TableName=table)["Items"]:
            dynamodb.delete_item(TableName=table, Key={k: item[k] for k in keys})
    for queue in ("InboundQueue", "InboundDeadLetters"):
        url = sides("new").version.aws.names[queue]
        while left := client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in left:
                client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def image(pk: str, sk: str) -> dict[str, Any]:
    """An item of the table, as its stream has it."""
    found = client("dynamodb").get_item(TableName="entities", Key={"pk": {"S": pk}, "sk": {"S": sk}})
    return dict(found["Item"])


def record(new: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A record of the table's stream."""
    number = next(_numbers)
    images = {"NewImage": new, **({} if old is None else {"OldImage": old})}
    keys = {"Keys": {name: new[name] for name in ("pk", "sk")}, "SequenceNumber": f"{number:025d}"}
    return {
        "eventID": f"e-{number}",
        "eventName": "INSERT" if old is None else "MODIFY",
        "dynamodb": {**keys, "ApproximateCreationDateTime": 1_795_222_923, **images},
    }


ORDER_OF = "/{entity=orders}/{key+=o-1}"


@BOTH_WAYS
def test_what_one_writes_the_other_reads_changes_and_deletes(
    sides: Callable[[str], Side], order: dict[str, Any], first: str, second: str
) -> None:
    writer, reader = sides(first), sides(second)
    status, _, headers = writer.api("POST", "/{entity=orders}", order)
    assert status == 201
    status, body, _ = reader.api("GET", ORDER_OF)
    assert status == 200
    own = writer.api("GET", ORDER_OF)[1]["order"]
    both = body["order"].keys() & own.keys()
    assert {n: body["order"][n] for n in both} == {n: own[n] for n in both}
    assert set(order) <= both
    tag = {"If-Match": headers["ETag"]}
    status, _, headers = reader.api("PATCH", ORDER_OF, {"status": "paid"}, headers=tag)
    assert status == 200
    assert writer.api("PATCH", ORDER_OF, {"status": "cancelled"}, headers=tag)[0] == 409, "it was changed meanwhile"
    assert writer.api("GET", ORDER_OF)[1]["order"]["status"] == "paid"
    assert writer.api("DELETE", ORDER_OF, headers={"If-Match": headers["ETag"]})[0] == 204
    assert reader.api("GET", ORDER_OF)[0] == 404


@BOTH_WAYS
def test_a_request_that_is_sent_again_is_done_once_whoever_gets_it(
    sides: Callable[[str], Side], order: dict[str, Any], first: str, second: str
) -> None:
    key = {"Idempotency-Key": "k-1"}
    status, body, _ = sides(first).api("POST", "/{entity=orders}", order, headers=key)
    assert sides(second).api("POST", "/{entity=orders}", order, headers=key)[:2] == (status, body)
    other = order | {"order_id": "o-2"}
    assert sides(second).api("POST", "/{entity=orders}", other, headers=key)[0] == 422, "another request's key"


@BOTH_WAYS
def test_a_list_goes_on_with_the_other_where_it_was(
    sides: Callable[[str], Side], order: dict[str, Any], first: str, second: str
) -> None:
    for number in range(3):
        made = {"order_id": f"o-{number}", "placed_at": f"2026-11-21T0{number}:00:00Z"}
        assert sides(second).api("POST", "/{entity=orders}", order | made)[0] == 201
    for resource, query in (
        ("/parties/{party_id=c-1}/orders", {"role": "buyer"}),
        ("/lists/{entity=orders}", {"status": "placed"}),
    ):
        whole = sides(first).api("GET", resource, query=query)[1]
        (listed,) = (name for name, value in whole.items() if isinstance(value, list))
        found, cursor = [], {}
        for turn in range(3):
            side = sides((first, second)[turn % 2])
            status, page, _ = side.api("GET", resource, query={**query, "limit": "1", **cursor})
            assert status == 200, page
            found += page[listed]
            cursor = {"cursor": page["cursor"]} if "cursor" in page else {}
        names = [re.findall(r'"order_id": "(o-\d)"', json.dumps(one))[0] for one in found]
        assert names == [re.findall(r'"order_id": "(o-\d)"', json.dumps(one))[0] for one in whole[listed]]
        assert sorted(names) == ["o-0", "o-1", "o-2"]


@BOTH_WAYS
def test_an_import_that_one_accepts_the_other_writes_and_reports_on(
    sides: Callable[[str], Side], first: str, second: str
) -> None:
    queue = sides(first).version.aws.names["InboundQueue"]
    events = [CUSTOMER | {"CUST_NO": f"c-{number}"} for number in range(MANY)]
    status, accepted, _ = sides(first).api("POST", "/imports/{entity=customers}", events)
    assert status == 202
    assert sides(second).inbound(queue) == []
    for side in (first, second):
        resource = f"/imports/{{entity=customers}}/{{import_id={accepted['import']}}}"
        _, report, _ = sides(side).api("GET", resource)
        assert (report["status"], report["applied"], report["refused"]) == ("done", MANY, 0), report
        assert sides(side).api("GET", f"/{{entity=customers}}/{{key+=c-{MANY - 1}}}")[0] == 200
    client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps({"entity": "customers", "event": CUSTOMER}))
    assert sides(first).inbound(queue) == []


@BOTH_WAYS
def test_what_one_writes_both_land_and_publish_alike(
    sides: Callable[[str], Side], order: dict[str, Any], first: str, second: str
) -> None:
    assert sides(first).api("POST", "/{entity=orders}", order)[0] == 201
    made = image("ORDER#o-1", "ORDER")
    assert sides(second).api("PATCH", ORDER_OF, {"status": "paid"})[0] == 200
    records = [record(made), record(image("ORDER#o-1", "ORDER"), made)]
    landed = {name: sides(name).rows(*records) for name in (first, second)}
    assert [r["status"] for r in landed[first]] == ["placed", "paid"]
    for ours, theirs in zip(landed[first], landed[second], strict=True):
        assert ours["_extra"] is theirs["_extra"] is None, "an attribute that one of them does not know"
        both = (ours.keys() & theirs.keys()) - {"_contract"}
        assert {n: ours[n] for n in both} == {n: theirs[n] for n in both}
    published = {name: sides(name).events(*records) for name in (first, second)}
    for ours, theirs in zip(published[first], published[second], strict=True):
        both = (ours.keys() & theirs.keys()) - {"contract"}
        assert {n: ours[n] for n in both} == {n: theirs[n] for n in both}


@BOTH_WAYS
def test_what_one_reported_of_a_parcel_the_other_does_not_report_again(
    sides: Callable[[str], Side], order: dict[str, Any], first: str, second: str
) -> None:
    sides(first).api("POST", "/{entity=orders}", order)
    parcel = {"order_id": "o-1", "carrier": "dhl", "cost": "5", "currency": "EUR", "status": "packed"}
    parcel |= {"created_at": "2026-11-21T01:02:03Z"}
    assert sides(first).api("PUT", "/{entity=shipments}/{key+=s-1}", parcel)[0] == 201
    pk, sk = "ORDER#o-1", "SHIPMENT#s-1"
    packed = image(pk, sk)
    assert sides(second).api("PATCH", "/{entity=shipments}/{key+=s-1}", {"status": "shipped"})[0] == 200
    (event,) = sides(first).events(record(image(pk, sk), packed))
    message = {"messageId": "m-1", "body": json.dumps({"detail-type": "shipments", "detail": event})}
    for turn, side in enumerate((second, first)):
        assert sides(side).version.invoke("tracking", {"Records": [message]}) == {"batchItemFailures": []}
        (line,) = (one for one in sides(side).version.logged if one.get("message") == "tracked")
        assert line["published"] == (1 if turn == 0 else 0)
