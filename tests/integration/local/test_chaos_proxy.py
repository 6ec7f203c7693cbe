"""Each kind of fault does to a request what its name says, and to no other request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ResponseStreamingError

from local.aws import CREDENTIALS, REGION
from local.chaos.plan import REQUESTS
from local.chaos.proxy import MARK, Injected, Request, Rule, proxying


class Upstream:
    """Stands for the emulator: remembers what was carried out."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upstream.seen.append((self.command, self.path, body))
                action = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
                answer = upstream.answer(action, body)
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def answer(self, action: str, body: bytes) -> bytes:
        if action == "PutRecordBatch":
            records = json.loads(body)["Records"]
            return json.dumps(
                {"FailedPutCount": 0, "RequestResponses": [{"RecordId": str(n)} for n in range(len(records))]}
            ).encode()
        return b"{}" if action else b"" if body else b"0123456789" * 100

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])


@contextmanager
def between() -> Iterator[tuple[Upstream, Injected, str]]:
    """A proxy before a server, what it is to inject, and its address."""
    upstream, injected = Upstream(), Injected()
    thread = Thread(target=upstream.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with proxying(upstream.port, injected) as port:
            yield upstream, injected, f"http://127.0.0.1:{port}"
    finally:
        upstream.server.shutdown()
        upstream.server.server_close()
        thread.join()


SESSION: Any = boto3.Session()


def client(service: str, url: str) -> Any:
    return SESSION.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5, s3={"addressing_style": "path"}),
    )


def request(purpose: str, url: str) -> Any:
    """Make a request for a purpose; gives what was answered."""
    match purpose:
        case "s3 read":
            return client("s3", url).get_object(Bucket="b", Key="k")["Body"].read()
        case "s3 write":
            return client("s3", url).put_object(Bucket="b", Key="k", Body=b"content")
        case "glue read":
            return client("glue", url).get_table(DatabaseName="d", Name="t")
        case "glue write":
            return client("glue", url).update_table(DatabaseName="d", TableInput={"Name": "t"})
        case "dynamodb read":
            return client("dynamodb", url).get_item(TableName="t", Key={"pk": {"S": "1"}})
        case "dynamodb write":
            return client("dynamodb", url).put_item(TableName="t", Item={"pk": {"S": "1"}})
    records = [{"Data": b"1"}, {"Data": b"2"}, {"Data": b"3"}]
    return client("firehose", url).put_record_batch(DeliveryStreamName="s", Records=records)


PURPOSES = sorted({purpose for purposes in REQUESTS.values() for purpose in purposes})
NO_ANSWER = (ConnectionClosedError, HTTPClientError, ResponseStreamingError)


def pairs(*kinds: str) -> list[tuple[str, str]]:
    return [(kind, purpose) for kind in kinds for purpose in REQUESTS[kind]]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_is_not_spoiled_is_passed_on(purpose: str) -> None:
    with between() as (upstream, injected, url):
        other = next(p for p in PURPOSES if p != purpose)
        injected.arm(Rule("error500", other, 1, name="other"))
        request(purpose, url)
        assert len(upstream.seen) == 1
        assert injected.waiting == ["other"]


@pytest.mark.parametrize(
    ("kind", "purpose"),
    [p for p in pairs("error500", "error503", "throttled", "full") if p != ("throttled", "firehose write")],
)
def test_an_error_is_answered_and_nothing_carried_out(kind: str, purpose: str) -> None:
    with between() as (upstream, injected, url):
        injected.arm(Rule(kind, purpose, 2, name="it"))
        for _ in range(2):
            with pytest.raises(ClientError) as error:
                request(purpose, url)
            assert MARK in str(error.value)
        assert upstream.seen == []
        request(purpose, url)
        assert len(upstream.seen) == 1, "no more than so many are spoiled"
        assert injected.fired["it"] == 2
        assert [name for _, name in injected.times] == ["it", "it"]


def test_a_throttled_firehose_takes_half_of_a_batch_and_says_so() -> None:
    with between() as (upstream, injected, url):
        injected.arm(Rule("throttled", "firehose write", 1))
        answer = request("firehose write", url)
        assert answer["FailedPutCount"] == 2
        assert ["ErrorCode" in r for r in answer["RequestResponses"]] == [False, True, True]
        ((_, _, body),) = upstream.seen
        assert len(json.loads(body)["Records"]) == 1


@pytest.mark.parametrize(("kind", "purpose"), pairs("dropped"))
def test_a_dropped_request_is_not_carried_out_and_has_no_answer(kind: str, purpose: str) -> None:
    with between() as (upstream, injected, url):
        injected.arm(Rule(kind, purpose, 1))
        with pytest.raises(NO_ANSWER):
            request(purpose, url)
        assert upstream.seen == []


@pytest.mark.parametrize(("kind", "purpose"), pairs("lost"))
def test_a_lost_answer_is_one_to_a_request_that_is_carried_out(kind: str, purpose: str) -> None:
    with between() as (upstream, injected, url):
        injected.arm(Rule(kind, purpose, 1))
        with pytest.raises(NO_ANSWER):
            request(purpose, url)
        assert len(upstream.seen) == 1


@pytest.mark.parametrize(("kind", "purpose"), pairs("torn"))
def test_a_torn_answer_is_one_to_a_request_that_is_carried_out(kind: str, purpose: str) -> None:
    with between() as (upstream, injected, url):
        injected.arm(Rule(kind, purpose, 1))
        with pytest.raises(Exception) as error:  # noqa: PT011 - what a client makes of it is its own
            request(purpose, url)
        assert MARK not in str(error.value)
        assert len(upstream.seen) == 1


@pytest.mark.parametrize(("kind", "purpose"), pairs("repeated"))
def test_a_repeated_request_is_carried_out_twice(kind: str, purpose: str) -> None:
    with between() as (upstream, injected, url):
        injected.arm(Rule(kind, purpose, 1))
        request(purpose, url)
        assert len(upstream.seen) == 2
        assert upstream.seen[0] == upstream.seen[1]


@pytest.mark.parametrize(("kind", "purpose"), pairs("slow"))
def test_a_slow_answer_comes(kind: str, purpose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("local.chaos.proxy.time.sleep", waited.append)
    with between() as (upstream, injected, url):
        injected.arm(Rule(kind, purpose, 1, seconds=2.5))
        request(purpose, url)
        assert waited == [2.5]
        assert len(upstream.seen) == 1


def test_without_an_emulator_the_connection_ends() -> None:
    with between() as (upstream, _, url):
        upstream.server.shutdown()
        upstream.server.server_close()
        with pytest.raises(NO_ANSWER):
            request("glue read", url)


def test_what_is_left_when_faults_end_is_said_unless_it_fired() -> None:
    injected = Injected()
    injected.arm(Rule("error500", "s3 read", 5, name="fired"))
    injected.arm(Rule("error500", "s3 write", 5, name="not"))
    assert injected.take("s3 read") is not None
    assert [rule.name for rule in injected.disarm()] == ["not"]
    assert injected.take("s3 read") is None


def test_requests_of_a_stream_reader_and_without_a_signature_are_of_no_purpose() -> None:
    signed = "AWS4-HMAC-SHA256 Credential=test/20261128/eu-west-1/dynamodb/aws4_request, SignedHeaders=host"
    streams = (("Authorization", signed), ("X-Amz-Target", "DynamoDBStreams_20120810.GetRecords"))
    assert Request("POST", "/", streams, b"").purpose == ""
    assert Request("GET", "/restapis/x", (), b"").purpose == ""


def test_a_chunked_body_and_a_head_request_pass() -> None:
    with between() as (upstream, _, url):
        address = url.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=5)
        connection.request("PUT", "/b/k", body=iter([b"ab", b"cd"]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        assert connection.getresponse().read() == b""
        connection.request("HEAD", "/b/k")
        answer = connection.getresponse()
        assert (answer.getheader("Content-Length"), answer.read()) == ("1000", b"")
        connection.close()
        assert [(method, body) for method, _, body in upstream.seen] == [("PUT", b"abcd"), ("HEAD", b"")]
