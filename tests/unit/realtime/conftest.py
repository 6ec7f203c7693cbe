"""A table made from the template's own definition, on moto, and a client that speaks to the API function's handler."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from moto.core.models import botocore_stubber

from contracts import Contracts, load_contracts
from realtime.api.entities import Entities
from realtime.api.handler import Api
from realtime.api.idempotency import Receipts
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.imports.queue import Outbox
from realtime.imports.routes import routes as import_routes
from realtime.imports.service import Imports
from realtime.imports.status import Statuses
from realtime.inbound import settings as inbound_settings
from realtime.inbound.handler import Edge
from realtime.inbound.service import Consumer
from realtime.metrics import count_unhandled
from realtime.quick_dynamodb import QuickDynamoDB
from tests.support.inbound import Inbound

EVENTS = Path(__file__).parents[2] / "events"
TEMPLATE = Path(__file__).parents[3] / "realtime" / "template.yaml"
START = 1_795_222_923_456_789  # microseconds since 1970: 2026-11-21T01:02:03.456789Z


class Tagged(dict[str, Any]):
    """A CloudFormation function of the template, by its short form."""


class _Loader(yaml.SafeLoader):
    pass


def _tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Tagged:
    if isinstance(node, yaml.ScalarNode):
        return Tagged({suffix: loader.construct_scalar(node)})
    if isinstance(node, yaml.SequenceNode):
        return Tagged({suffix: loader.construct_sequence(node, deep=True)})
    assert isinstance(node, yaml.MappingNode)
    return Tagged({suffix: loader.construct_mapping(node, deep=True)})


_Loader.add_multi_constructor("!", _tagged)


@cache
def _template() -> dict[str, Any]:
    return yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=_Loader)


@pytest.fixture
def template() -> dict[str, Any]:
    return _template()


@pytest.fixture(scope="session")
def contracts() -> Contracts:
    return load_contracts()


@pytest.fixture
def sample() -> Callable[[str], dict[str, Any]]:
    """A sample event by name."""
    return lambda name: json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


@dataclass
class Clock:
    """Microseconds since 1970; goes on by one second at each look unless it is stopped."""

    now: int = START
    step: int = 1_000_000

    def __call__(self) -> int:
        self.now += self.step
        return self.now


class Recorded:
    """A DynamoDB client that writes down which operations were called, and lets a test put itself in their place."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: list[str] = []

    def __getattr__(self, operation: str) -> Any:
        method = getattr(self._client, operation)

        def call(**parameters: Any) -> Any:
            self.calls.append(operation)
            return method(**parameters)

        return call


@dataclass
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass
class ApiClient:
    """Calls the handler as API Gateway would, and counts what reaches DynamoDB."""

    api: Api
    table: Any
    client: Recorded
    receipts: Receipts
    authorizer: Mapping[str, Any] = field(default_factory=lambda: {"claims": {"sub": "u-1", "cognito:groups": "staff"}})

    @property
    def calls(self) -> list[str]:
        return self.client.calls

    @property
    def whole(self) -> Any:
        """A client that has every operation of DynamoDB, past what counts."""
        return self.client._client._client

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        authorizer: Mapping[str, Any] | None = None,
    ) -> Reply:
        self.calls.clear()
        parts = path.strip("/").split("/")
        if parts[0] == "parties":
            resource, parameters = f"/parties/{{party_id}}/{parts[2]}", {"party_id": parts[1]}
        elif len(parts) == 1:
            resource, parameters = "/{entity}", {"entity": parts[0]}
        else:
            resource, parameters = "/{entity}/{key+}", {"entity": parts[0], "key": "/".join(parts[1:])}
        return self.send(
            {
                "resource": resource,
                "path": path,
                "httpMethod": method,
                "pathParameters": parameters,
                "headers": dict(headers or {}),
                "multiValueQueryStringParameters": {k: [v] for k, v in (query or {}).items()} or None,
                "requestContext": {"requestId": "r-1", "authorizer": authorizer or self.authorizer},
                "body": raw if raw is not None else (None if body is None else json.dumps(body)),
                "isBase64Encoded": False,
            }
        )

    def send(self, event: Mapping[str, Any]) -> Reply:
        answer = self.api.answer(event)
        body = json.loads(answer["body"]) if answer["body"] else None
        return Reply(answer["statusCode"], body, answer["headers"])

    def item(self, pk: str, sk: str) -> dict[str, Any] | None:
        """What the table holds, as DynamoDB JSON."""
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return self.client.get_item(TableName=self.table.name, Key=key).get("Item")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """A boto3 resource on moto; each test has a table of its own."""
    with mock_aws(), pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        environment.delenv("AWS_ENDPOINT_URL", raising=False)
        resource = boto3.resource("dynamodb", region_name="eu-west-1")
        resource.plain = boto3.client("dynamodb", region_name="eu-west-1")  # the resource's own converts attributes
        resource.quick = QuickDynamoDB(
            resource.plain,
            boto3.Session().get_credentials(),
            lambda request: botocore_stubber("before-send", request),
            pause=lambda _: None,
        )
        yield resource


@pytest.fixture
def api(
    contracts: Contracts, clock: Clock, dynamodb: Any, requests_table: Any, request: pytest.FixtureRequest
) -> Iterator[ApiClient]:
    definition = _template()["Resources"]["Table"]["Properties"]
    table = dynamodb.create_table(
        TableName=f"gavel-{abs(hash(request.node.nodeid))}",
        BillingMode="PAY_PER_REQUEST",
        **{k: definition[k] for k in ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")},
    )
    client = Recorded(dynamodb.quick)
    writer = Writer(Entities(contracts), Store(client, table.name), now=clock, pause=lambda _: None)  # type: ignore[arg-type]
    receipts = Receipts(Store(client, requests_table.name), now=lambda: clock.now / 1_000_000)  # type: ignore[arg-type]
    yield ApiClient(Api(writer, receipts), table, client, receipts)
    table.delete()


@pytest.fixture
def inbound(api: ApiClient, contracts: Contracts, clock: Clock, request: pytest.FixtureRequest) -> Inbound:
    """The way of imported events, over the table of `api`."""
    sqs, s3, sns = (boto3.client(name, region_name="eu-west-1") for name in ("sqs", "s3", "sns"))
    name = f"t{abs(hash(request.node.nodeid))}"
    queues = [f"gavel-{name}-inbound", f"gavel-{name}-inbound-dead-letters", f"{name}-alerts"]
    queue, dead, alerts = (sqs.create_queue(QueueName=n)["QueueUrl"] for n in queues)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    topic = sns.create_topic(Name=name)["TopicArn"]
    arn = sqs.get_queue_attributes(QueueUrl=alerts, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    writer = Writer(Entities(contracts), Store(api.client, api.table.name), now=clock, pause=lambda _: None)  # type: ignore[arg-type]
    statuses = Statuses(Store(api.client, "gavel-requests"))  # type: ignore[arg-type]
    outbox = Outbox(lambda: sqs, lambda: s3, queue, name)
    imports = Imports(writer, statuses, outbox, now=lambda: datetime.fromtimestamp(clock() / 1_000_000, UTC))
    settings = inbound_settings.Settings(
        environment="test", table=api.table.name, requests="gavel-requests", bucket=name, queue=queue,
        dead_letters=dead, alert_topic=topic, version="7",
    )  # fmt: skip
    edge = Edge(settings, function="gavel-test-inbound", s3=lambda: s3, sqs=lambda: sqs, sns=lambda: sns)
    waits: list[int] = []
    consumer = Consumer(
        writer, statuses, claim=edge.claim, wait=lambda _, seconds: waits.append(seconds), send_to_dlq=edge.send_to_dlq,
        unhandled=partial(count_unhandled, "test", "inbound", "7"),
    )  # fmt: skip
    return Inbound(
        Api(writer, api.receipts, import_routes(imports)), consumer, sqs, s3, queue, dead, alerts, name, name, waits
    )


@pytest.fixture(scope="module")
def requests_table(dynamodb: Any) -> Any:
    """The table of what is known of requests, shared by the tests of a module: none reads what another wrote."""
    definition = _template()["Resources"]["RequestsTable"]["Properties"]
    return dynamodb.create_table(
        TableName="gavel-requests",
        BillingMode="PAY_PER_REQUEST",
        **{k: definition[k] for k in ("AttributeDefinitions", "KeySchema")},
    )


@pytest.fixture
def order() -> dict[str, Any]:
    return {
        "order_id": "o-1",
        "buyer_id": "c-1",
        "seller_id": "c-2",
        "currency": "EUR",
        "hammer_price": "1250.00",
        "buyers_premium": "312.50",
        "fees": [{"kind": "insurance", "payer": "buyer", "amount": "12.5"}],
        "status": "placed",
        "placed_at": "2026-11-21T01:02:03.456Z",
    }


@pytest.fixture
def payment() -> dict[str, Any]:
    return {
        "payment_id": "p-1",
        "order_id": "o-1",
        "kind": "capture",
        "method": "card",
        "currency": "EUR",
        "amount": "5.00",
        "status": "settled",
        "created_at": "2026-11-21T01:02:03Z",
    }


@pytest.fixture
def estimate() -> dict[str, Any]:
    return {
        "estimate_id": "e-1",
        "order_id": "o-1",
        "quote_number": "Q-7",
        "quote_version": 2,
        "currency": "EUR",
        "amount": "5.00",
        "status": "sent",
        "created_at": "2026-11-21T01:02:03Z",
    }
