"""The API against its own description: whatever the description allows, and what it does not, is answered as it says.

The handler is the one that the bundle starts, over moto; requests come through a gateway in process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import orjson
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from contracts import archive, load_contracts, summaries
from contracts.compact import dump_compact
from contracts.model import VERSION, IndexKeys
from realtime.api import handler
from tests.support.gateway import STAFF, Gateway

PARTY = {"claims": {"sub": "u-2", "cognito:groups": "party", "custom:party_id": "k"}}
METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE")
EXAMPLES = 4  # for each operation; the profile `search` takes other ones each time

# The rule that a schema cannot say (an order must exist, a number has two places) is answered with 422, as described.
NOT_PROMISED = [positive_data_acceptance]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[handler.Api]:
    """The API as the function's environment makes it, with empty tables."""
    contracts = load_contracts()
    document = tmp_path_factory.mktemp("bundle") / "contracts.json"
    document.write_bytes(dump_compact(contracts))
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        indexes = {i.name: i for c in contracts.of_origin("stream") if c.keys for i in c.keys.indexes}
        create_table("entities", [*indexes.values()])
        create_table("requests")
        create_table("summaries")
        complete = {"pk": {"S": summaries.STATE}, "complete": {"S": "2026-11-21T12:00:00.000000Z"}}
        boto3.client("dynamodb").put_item(TableName="summaries", Item=complete)
        boto3.client("s3").create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        known = {"k": {"title": "t", "text": "q", "roles": ["staff"], "parameters": {}}}
        boto3.client("s3").put_object(Bucket="data", Key=archive.QUESTIONS, Body=orjson.dumps(known))
        queue = boto3.client("sqs").create_queue(QueueName="inbound")["QueueUrl"]
        patch.setenv("GAVEL_ENV", "test")
        patch.setenv("GAVEL_TABLE", "entities")
        patch.setenv("GAVEL_REQUESTS_TABLE", "requests")
        patch.setenv("GAVEL_SUMMARIES_TABLE", "summaries")
        patch.setenv("AWS_LAMBDA_FUNCTION_VERSION", "1")
        patch.setenv("GAVEL_BUCKET", "data")
        patch.setenv("GAVEL_INBOUND_QUEUE", queue)
        patch.setattr(handler, "CONTRACTS", document)
        handler._api.cache_clear()
        yield handler._api()
        handler._api.cache_clear()


def create_table(name: str, indexes: list[IndexKeys] | None = None) -> None:
    """A table of the operational kind with these indexes, or (without) of the kind of requests."""
    keys: list[Any] = [
        [{"AttributeName": n, "KeyType": kind} for n, kind in zip(pair, ("HASH", "RANGE"), strict=True)]
        for pair in (("pk", "sk"), *((f"{i.prefix}_pk", (*i.attributes, VERSION)[1]) for i in indexes or ()))
    ]
    defined = [
        {"IndexName": index.name, "KeySchema": key, "Projection": {"ProjectionType": "ALL"}}
        for index, key in zip(indexes or (), keys[1:], strict=True)
    ]
    names = [n["AttributeName"] for key in keys for n in key] if indexes else ["pk"]
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "N" if n == VERSION else "S"} for n in names],
        KeySchema=keys[0] if indexes else keys[0][:1],
        **({"GlobalSecondaryIndexes": defined} if defined else {}),
    )


def described(api: handler.Api, authorizer: Any, methods: tuple[str, ...]) -> list[Any]:
    """The operations of the description that the API serves, in the order of `methods`."""
    token = {"Authorization": "Bearer token"}
    schema = schemathesis.openapi.from_wsgi("/openapi.json", Gateway(api, authorizer), headers=token)
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted((o for o in found if o.method.upper() in methods), key=lambda o: methods.index(o.method.upper()))


@st.composite
def requests(draw: st.DrawFn, operation: Any) -> Case:
    """Requests that the description allows, and others. Half of the allowed ones are for an item that may be there."""
    mode = draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case: Case = draw(operation.as_strategy(mode))
    if mode is GenerationMode.POSITIVE and draw(st.booleans()):
        case.query.pop("cursor", None)
        case.headers.pop("If-Match", None)
        if operation.method.upper() in ("PUT", "PATCH", "DELETE") and draw(st.booleans()):
            case.headers["If-Match"] = "1"  # no item has this version
        for name in case.path_parameters:
            if name == "entity":
                continue
            known = 1 if name == "line_number" else "k"
            case.path_parameters[name] = known
            if isinstance(case.body, dict) and name in case.body:
                case.body[name] = known
    return case


@pytest.mark.parametrize(
    ("authorizer", "methods", "statuses"),
    [
        pytest.param(STAFF, METHODS, {200, 201, 204, 400, 401, 404, 409, 422}, id="staff"),
        pytest.param(PARTY, ("GET",), {200, 400, 401, 403, 404}, id="party"),  # all else is 403, tested elsewhere
    ],
)
def test_every_answer_is_as_described(
    api: handler.Api, authorizer: Any, methods: tuple[str, ...], statuses: set[int], subtests: pytest.Subtests
) -> None:
    answered: set[int] = set()
    for operation in described(api, authorizer, methods):

        @settings(max_examples=EXAMPLES)
        @given(case=requests(operation))
        def run(case: Case) -> None:
            answered.add(case.call_and_validate(excluded_checks=NOT_PROMISED).status_code)

        with subtests.test(operation.label):
            run()
    assert statuses <= answered, "the requests must reach what they are to test"
