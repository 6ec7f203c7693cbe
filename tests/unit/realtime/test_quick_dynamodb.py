"""Calls of DynamoDB by the short way say what botocore says, and get what botocore gets."""

from __future__ import annotations

import io
import json
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from botocore.session import Session

from realtime.quick_dynamodb import QuickDynamoDB
from realtime.signing import PostSigner

ADDRESS = "https://dynamodb.eu-west-1.amazonaws.com"
KEYS: dict[str, Any] = {"TableName": "t", "Key": {"pk": {"S": "o"}, "sk": {"S": "o"}}}
TRANSACTION: dict[str, Any] = {"TransactItems": [{"Put": {"TableName": "t", "Item": {"pk": {"S": "é"}}}}]}
REFUSED = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
CANCELLED = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"

Answer = AWSResponse | Exception
Call = Callable[[Any], Any]


class _Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def answer(status: int, body: object, *, checksum: int | None = None) -> AWSResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"x-amz-crc32": str(zlib.crc32(content) if checksum is None else checksum)}
    return AWSResponse(f"{ADDRESS}/", status, headers, _Raw(content))


class Wire:
    """Two clients whose requests are kept and get the answers given; `slow` is botocore's own."""

    def __init__(self, quick: Answer, slow: Answer, token: str | None = None, address: str = ADDRESS) -> None:
        self.quick_requests: list[AWSPreparedRequest] = []
        self.slow_requests: list[AWSPreparedRequest] = []
        self.pauses: list[float] = []
        self.credentials = Credentials("AKIA", "secret", token)
        session = Session()
        session.set_credentials("AKIA", "secret", token)
        self.slow = session.create_client("dynamodb", region_name="eu-west-1", endpoint_url=address)
        self.slow.meta.events.register("before-send.dynamodb", _answering(self.slow_requests, slow))
        send = _answering(self.quick_requests, quick)
        self.quick = QuickDynamoDB(self.slow, self.credentials, send, pause=self.pauses.append)


def _answering(requests: list[AWSPreparedRequest], given: Answer) -> Callable[..., AWSResponse]:
    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        assert dict(request.headers.copy().items())  # as urllib3 does
        requests.append(request)
        if isinstance(given, Exception):
            raise given
        return given

    return send


@pytest.mark.parametrize("token", [None, "a+b/c=="])
@pytest.mark.parametrize(
    "address", [ADDRESS, "http://127.0.0.1:4566", "https://[::1]:443", "http://[::1]:80", "https://[::1]:8000"]
)
def test_a_request_is_signed_as_botocore_signs_it(
    address: str, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(answer(200, {}), answer(200, {}), token, address)
    wire.quick.put_item(TableName="t", Item={"pk": {"S": "é"}})
    (request,) = wire.quick_requests
    at = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
    again = AWSRequest("POST", request.url, dict(request.headers), request.body)
    SigV4Auth(wire.credentials, "dynamodb", "eu-west-1").add_auth(again)
    assert request.headers["authorization"] == again.headers["Authorization"]
    assert f"/{at:%Y%m%d}/eu-west-1/dynamodb/aws4_request, SignedHeaders=" in request.headers["authorization"]
    assert "x-amz-target" in request.headers["authorization"]
    assert request.headers.get("x-amz-security-token") == token


def test_the_key_that_signs_is_that_of_the_day_and_of_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept from one request to the next, in a process that lives over midnight and gets new credentials."""
    signer = PostSigner(f"{ADDRESS}/", "dynamodb", "eu-west-1")
    last = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    moments = [last, last + timedelta(seconds=1), last + timedelta(seconds=1)]
    for at, secret in zip(moments, ("one", "one", "two"), strict=True):
        credentials = Credentials("AKIA", secret).get_frozen_credentials()
        monkeypatch.setattr(time, "gmtime", at.timetuple)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda at=at: at)
        found = signer.headers(credentials, {"x-amz-target": "a  b "}, b"{}")
        again = AWSRequest("POST", f"{ADDRESS}/", {"x-amz-target": "a  b "}, b"{}")
        SigV4Auth(credentials, "dynamodb", "eu-west-1").add_auth(again)
        assert found["authorization"] == again.headers["Authorization"]


def test_each_request_is_signed_with_the_credentials_of_its_moment() -> None:
    wire = Wire(answer(200, {}), answer(200, {}))
    for name in ("AKIA", "ASIA"):
        wire.credentials.access_key = name
        wire.quick.get_item(**KEYS)
    signed = [request.headers["authorization"] for request in wire.quick_requests]
    assert ["AKIA/" in signed[0], "ASIA/" in signed[1]] == [True, True]


CALLS: dict[str, tuple[Call, object]] = {
    "no item": (lambda c: c.get_item(**KEYS), {}),
    "an item": (lambda c: c.get_item(**KEYS), {"Item": {"pk": {"S": 'a "B": b'}, "n": {"N": "1.0"}, "l": {"L": []}}}),
    "bytes": (lambda c: c.get_item(**KEYS), {"Item": {"b": {"B": "AAE="}, "m": {"M": {"s": {"BS": ["AAE="]}}}}}),
    "what was there": (lambda c: c.put_item(TableName="t", Item=KEYS["Key"]), {"Attributes": {"pk": {"S": "o"}}}),
    "what is there": (
        lambda c: c.update_item(**KEYS, UpdateExpression="SET a = :a", ExpressionAttributeValues={":a": {"B": b"\0"}}),
        {"Attributes": {"pk": {"S": "o"}}},
    ),
    "a page": (
        lambda c: c.query(
            TableName="t", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": {"S": "é"}}
        ),
        {"Items": [{"pk": {"S": "é"}}], "Count": 1, "ScannedCount": 1, "LastEvaluatedKey": {"pk": {"S": "é"}}},
    ),
    "a transaction": (lambda c: c.transact_write_items(ClientRequestToken="t-1", **TRANSACTION), {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_body_and_answer_are_botocores(name: str) -> None:
    call, body = CALLS[name]
    wire = Wire(answer(200, body), answer(200, body))
    expected = call(wire.slow)
    del expected["ResponseMetadata"]
    found = call(wire.quick)
    found.pop("ResponseMetadata", None)
    assert found == expected
    (quick,), (slow,) = wire.quick_requests, wire.slow_requests
    assert json.loads(quick.body) == json.loads(slow.body)
    assert quick.url == slow.url
    assert quick.headers["x-amz-target"] == slow.headers["X-Amz-Target"].decode()
    assert quick.headers["content-type"] == slow.headers["Content-Type"].decode()
    assert quick.headers["user-agent"].split()[0] == slow.headers["User-Agent"].decode().split()[0]


@pytest.mark.parametrize(
    "body",
    [
        {"__type": REFUSED, "message": "The conditional request failed", "Item": {"k": {"B": "AAE="}}},
        {
            "__type": CANCELLED,
            "Message": "cancelled",
            "CancellationReasons": [{"Code": "ConditionalCheckFailed", "Item": {"k": {"B": "AAE="}}}, {"Code": "None"}],
        },
        {"__type": "com.amazon.coral.validate#ValidationException", "message": "Item size has exceeded"},
        {"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException", "message": "conflict"},
    ],
)
def test_errors_that_are_final_are_botocores_and_cost_no_second_request(body: dict[str, Any]) -> None:
    wire = Wire(answer(400, body), answer(400, body))
    with pytest.raises(ClientError) as quick:
        wire.quick.transact_write_items(**TRANSACTION)
    assert (wire.slow_requests, wire.pauses) == ([], [])
    with pytest.raises(ClientError) as slow:
        wire.slow.transact_write_items(**TRANSACTION)
    assert type(quick.value) is type(slow.value)
    assert str(quick.value) == str(slow.value).replace(" (reached max retries: 0)", "")
    for error in (quick, slow):
        error.value.response["ResponseMetadata"].pop("RetryAttempts", None)  # type: ignore[misc]
    assert quick.value.response == slow.value.response


@pytest.mark.parametrize(
    "first",
    [
        ReadTimeoutError(endpoint_url=ADDRESS),
        EndpointConnectionError(endpoint_url=ADDRESS),
        answer(500, {"__type": "InternalServerError"}),
        answer(503, b"<html>"),
        answer(400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}),
        answer(400, {"__type": "com.amazon.coral.service#UnrecognizedClientException"}),
        answer(200, {}, checksum=1),
    ],
    ids=lambda first: type(first).__name__ if isinstance(first, Exception) else str(first.status_code),
)
def test_whatever_goes_otherwise_is_sent_again_once_by_botocore(first: Answer) -> None:
    wire = Wire(first, answer(200, {}))
    wire.quick.transact_write_items(**TRANSACTION)
    (quick,), (slow,) = wire.quick_requests, wire.slow_requests
    assert json.loads(quick.body) == json.loads(slow.body)  # with the same token
    assert json.loads(quick.body)["ClientRequestToken"]
    (pause,) = wire.pauses
    assert 0 <= pause < 1


def test_what_is_sent_again_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Wire(ReadTimeoutError(endpoint_url=ADDRESS), answer(200, {})).quick.get_item(**KEYS)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["level"], line["operation"], line["error"]) == ("WARN", "GetItem", "ReadTimeoutError")


def test_two_transactions_have_tokens_of_their_own() -> None:
    wire = Wire(answer(200, {}), answer(200, {}))
    for _ in range(2):
        wire.quick.transact_write_items(**TRANSACTION)
    first, second = (json.loads(request.body)["ClientRequestToken"] for request in wire.quick_requests)
    assert first != second


def test_an_answer_that_is_none_is_an_error() -> None:
    with pytest.raises((ResponseParserError, ValueError)):
        Wire(answer(200, b'{"Item": {"torn'), answer(200, {})).quick.get_item(**KEYS)


def test_text_that_is_no_unicode_goes_the_long_way() -> None:
    wire = Wire(answer(200, {}), answer(200, {}))
    wire.quick.get_item(TableName="t", Key={"pk": {"S": "\ud800"}})
    assert (len(wire.quick_requests), len(wire.slow_requests)) == (0, 1)


def test_the_trace_of_an_invocation_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(answer(200, {}), answer(200, {}))
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "api")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    wire.quick.get_item(**KEYS)
    wire.slow.get_item(**KEYS)
    (quick,), (slow,) = wire.quick_requests, wire.slow_requests
    assert quick.headers["x-amzn-trace-id"] == slow.headers["X-Amzn-Trace-Id"].decode()
