"""Questions to the archive by the API: who may put which, how many wait, and that answers are as described. What the
pipeline does with them is what it does on AWS and on a laptop: the same function over the same bucket."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import boto3
import orjson
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from jsonschema_rs import validator_for

from contracts import Contracts, archive
from lakehouse.api import compact, publish
from lakehouse.intake.landing import Scope
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import S3Store
from realtime.api import openapi
from realtime.api.handler import Api
from realtime.api.store import Store, Unavailable
from realtime.archive.routes import routes
from realtime.archive.service import Archive
from realtime.documents import Documents
from retrieval import answering, log, templates
from tests.support.lakes import Landing, local_lake

Fixture = Any
BUCKET = "gavel-archive"
STAFF = {"claims": {"sub": "u-1", "cognito:groups": "staff"}}
OTHER = {"claims": {"sub": "u-2", "cognito:groups": "staff"}}
AUDITOR = {"claims": {"sub": "u-4", "cognito:groups": "auditor"}}
PARTY = {"claims": {"sub": "u-3", "cognito:groups": "party", "custom:party_id": "c-1"}}
COUNTRY = {"entity": "countries", "key": "DE"}
FORGED = b'{"name": "order_as_of", "parameters": {"at": 1}, "who": "u", "role": "staff", "put_at": 9e9}'


class Client:
    """Calls the API as the gateway would, for a caller."""

    def __init__(self, api: Api) -> None:
        self.api, self.caller = api, STAFF

    def __call__(
        self, method: str, resource: str, body: Any = None, query: Mapping[str, str] | None = None, **path: str
    ) -> tuple[int, Any]:
        """The answer; a body of `str` is sent as it is."""
        answer = self.api.answer(
            {
                "resource": resource,
                "httpMethod": method,
                "pathParameters": path,
                "headers": {},
                "multiValueQueryStringParameters": {k: [v] for k, v in (query or {}).items()} or None,
                "requestContext": {"requestId": "r-1", "authorizer": self.caller},
                "body": body if body is None or isinstance(body, str) else orjson.dumps(body).decode(),
            }
        )
        return answer["statusCode"], orjson.loads(answer["body"])

    def put(self, name: str, parameters: Any) -> tuple[int, Any]:
        return self("POST", "/archive/questions/{name}", parameters, name=name)

    def answer(self, identity: str, **query: str) -> tuple[int, Any]:
        return self("GET", "/archive/answers/{answer_id}", query=query, answer_id=identity)


@pytest.fixture
def lake(dynamodb: Any, tmp_path: Path) -> Iterator[Lake]:
    """A lake whose objects are in the emulated bucket that the API has, too; nothing is published in it."""
    s3 = boto3.client("s3", region_name="eu-west-1")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    found = local_lake(tmp_path)
    with mock.patch.object(type(found), "store", S3Store(s3, BUCKET)):
        yield found
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for stored in page.get("Contents", ()):
            s3.delete_object(Bucket=BUCKET, Key=stored["Key"])
    s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def archives(api: Fixture, requests_table: Any) -> Archive:
    s3 = boto3.client("s3", region_name="eu-west-1")
    for item in requests_table.scan()["Items"]:
        requests_table.delete_item(Key={"pk": item["pk"]})
    return Archive(Documents(lambda: s3, BUCKET), Store(api.client, requests_table.name))


@pytest.fixture
def staff(api: Fixture, archives: Archive, lake: Lake) -> Client:
    answering.publish_questions(lake)
    return Client(Api(api.api._writer, api.receipts, routes(archives)))


def answered(lake: Lake, contracts: Contracts) -> answering.Answered:
    return answering.answer_waiting(lake, contracts, lambda _: None)


def validated(staff: Client, path: str, method: str, status: str, body: Any) -> None:
    described = openapi.describe(staff.api.routes, staff.api._entities)
    content = described["paths"][path][method]["responses"][status]["content"]
    validator_for({**content["application/json"]["schema"], "components": described["components"]}).validate(body)


@pytest.mark.parametrize("before", range(3))
def test_a_question_is_never_lost_while_it_is_being_answered(
    staff: Client, lake: Lake, contracts: Contracts, before: int
) -> None:
    """The pipeline answers it before each of the reads that the API makes."""
    _, body = staff.put("changes_of_an_item", COUNTRY)
    read, names = Documents.read, []

    def reading(service: Documents, name: str) -> Any:
        if len(names) == before:
            answered(lake, contracts)
        names.append(name)
        return read(service, name)

    with mock.patch.object(Documents, "read", reading):
        status, found = staff.answer(body["id"])
    assert (status, found["status"] in ("waiting", "answered")) == (200, True)


def test_a_question_waits_and_is_answered_with_rows_a_page_and_who_put_it(
    staff: Client, lake: Lake, contracts: Contracts
) -> None:
    status, body = staff.put("changes_of_an_item", COUNTRY)
    assert (status, body["status"]) == (202, "waiting")
    identity = body["id"]
    assert staff.answer(identity) == (200, {"id": identity, "status": "waiting"})
    assert answered(lake, contracts) == answering.Answered(1, 0)
    status, body = staff.answer(identity)
    assert (status, body["status"], body["rows"], body["pages"]) == (200, "answered", [], 0)
    assert "<h1>" in lake.store.read(archive.page(identity)).decode()
    assert archive.page(identity) in body["page"]
    shown = parse_qs(urlsplit(body["page"]).query)
    assert shown["response-content-type"] == ["text/html; charset=utf-8"], "a browser shows it, and saves nothing"
    validated(staff, "/archive/answers/{answer_id}", "get", "200", body)
    (kept,) = log.kept(lake, datetime.now(UTC))
    assert (kept.who, kept.name) == ("user:u-1", "changes_of_an_item")
    assert kept.parameters == {"key_1": "DE", "entity": "countries"}
    assert answered(lake, contracts) == answering.Answered(0, 0)


class Folder:
    """S3 as far as the API uses it, over the folder of a lake."""

    def __init__(self, lake: Lake) -> None:
        self._store = lake.store

    def list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int) -> dict[str, Any]:
        return {"Contents": [{"Key": stored.key} for stored in self._store.list(Prefix)][:MaxKeys]}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if self._store.size(Key) is None:  # as S3 says it to whom may not list the whole bucket
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")
        return {"Body": io.BytesIO(self._store.read(Key))}

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        self._store.write(Key, Body)

    def generate_presigned_url(self, *_: Any, **__: Any) -> str:
        return "https://page"


def test_rows_come_in_pages_with_all_their_digits(
    api: Fixture, requests_table: Any, contracts: Contracts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, orders = local_lake(tmp_path), contracts["orders"]
    stamps = {"_op": "modify", "_seq": "1".rjust(40, "0"), "_changed_at": "2026-11-21T12:00:01Z", "_contract": "1.0.0"}
    order = {"order_id": "o-1", "buyer_id": "c-1", "seller_id": "c-2", "currency": "EUR", "hammer_price": "1250.50"}
    order |= {"status": "placed", "placed_at": "2026-11-01T00:00:00Z", **stamps}
    Landing(lake, orders).land([{**order, "_event_id": f"e-{n}", "_version": str(n)} for n in range(5)])
    compact(lake, orders, Scope.everything())
    publish(lake, orders)
    answering.publish_questions(lake)
    store = Store(api.client, requests_table.name)
    staff = Client(Api(api.api._writer, api.receipts, routes(Archive(Documents(lambda: Folder(lake), BUCKET), store))))  # type: ignore[arg-type, return-value]
    staff.caller = {"claims": {"sub": "u-9", "cognito:groups": "staff"}}
    _, body = staff.put("changes_of_an_item", {"entity": "orders", "key": "o-1"})
    assert staff.answer(body["id"]) == (200, {"id": body["id"], "status": "waiting"})
    monkeypatch.setattr(archive, "PAGE_ROWS", 2)
    assert answered(lake, contracts) == answering.Answered(1, 0)
    shown = [staff.answer(body["id"], page=str(n)) for n in (1, 2, 3)]
    assert [(status, len(b["rows"]), b["pages"]) for status, b in shown] == [(200, 2, 3), (200, 2, 3), (200, 1, 3)]
    assert shown[0][1]["rows"][0]["row"]["hammer_price"] == "1250.50"
    assert shown[0][1]["rows"][0]["row"]["_changed_at"] == "2026-11-21 12:00:01 UTC"
    validated(staff, "/archive/answers/{answer_id}", "get", "200", shown[0][1])
    assert staff.answer(body["id"], page="4")[0] == 404
    assert staff.answer(body["id"], page="0")[0] == 400


def test_a_caller_puts_what_its_role_may_put(staff: Client, lake: Lake, contracts: Contracts) -> None:
    status, body = staff("GET", "/archive/questions")
    assert (status, set(body["questions"])) == (200, {"changes_of_an_item", "order_as_of", "orders_placed"})
    validated(staff, "/archive/questions", "get", "200", body)
    for name in ("party_history", "no_such", "../x"):
        assert staff.put(name, {"party": "c-1"})[0] == 404
    staff.caller = PARTY
    assert staff("GET", "/archive/questions")[0] == staff.put("order_as_of", {})[0] == 403
    # Whoever writes a question past the API meets the same rule.
    forged = {"name": "party_history", "parameters": {"party": "c-1"}, "who": "user:x", "role": "staff"}
    lake.store.write(archive.waiting("f"), orjson.dumps(forged | {"put_at": lake.now().timestamp()}))
    assert answered(lake, contracts) == answering.Answered(0, 1)
    problem = orjson.loads(lake.store.read(archive.answer("f")))["problem"]
    assert "expected a caller of auditor" in problem


def test_an_auditor_puts_questions_to_the_archive_and_does_nothing_else(
    staff: Client, lake: Lake, contracts: Contracts
) -> None:
    staff.caller = AUDITOR
    status, body = staff("GET", "/archive/questions")
    assert (status, set(body["questions"])) == (200, set(templates.names()))
    status, body = staff.put("party_history", {"party": "c-1"})
    assert status == 202
    answered(lake, contracts)
    assert staff.answer(body["id"])[1]["status"] == "answered"
    for route in staff.api.routes:
        if not route.resource.startswith(("/archive/", "/openapi.json")):
            path = {"entity": "orders", "key": "o-1", "party_id": "c-1"}
            assert staff(route.method, route.resource, "{}", **path)[0] == 403, route


def test_a_question_that_waited_for_too_long_is_given_up(staff: Client, lake: Lake, contracts: Contracts) -> None:
    question = {"name": "changes_of_an_item", "parameters": COUNTRY, "who": "user:x", "role": "staff"}
    put_at = lake.now().timestamp() - archive.WAITING_SECONDS - 1
    lake.store.write(archive.waiting("old"), orjson.dumps(question | {"put_at": put_at}))
    assert answered(lake, contracts) == answering.Answered(0, 1)
    assert not list(lake.store.list(archive.WAITING))


def test_an_answer_is_its_callers_alone(staff: Client) -> None:
    _, body = staff.put("changes_of_an_item", COUNTRY)
    staff.caller = OTHER
    for identity in (body["id"], "0" * 16 + "-" + "0" * 32, "x", "../../erasures"):
        assert staff.answer(identity)[0] == 404


def test_a_caller_has_two_questions_that_wait(staff: Client, lake: Lake, contracts: Contracts) -> None:
    first = [staff.put("changes_of_an_item", COUNTRY)[0] for _ in range(3)]
    assert first == [202, 202, 429]
    staff.caller = OTHER
    assert staff.put("changes_of_an_item", COUNTRY)[0] == 202
    staff.caller = STAFF
    assert answered(lake, contracts).answered == 3
    assert [staff.put("changes_of_an_item", COUNTRY)[0] for _ in range(3)] == [202, 202, 429]


@pytest.mark.parametrize("body", [{}, {"entity": "orders"}, COUNTRY | {"more": "x"}, COUNTRY | {"key": 1}, []])
def test_other_parameters_are_refused(staff: Client, body: Any) -> None:
    assert staff.put("changes_of_an_item", body)[0] == 400


@pytest.mark.parametrize("body", [b"", b"{}", rb'{"name": "\ud800"}', FORGED])
def test_what_is_no_question_is_refused_once(lake: Lake, contracts: Contracts, body: bytes) -> None:
    lake.store.write(archive.waiting("foreign"), body)
    assert answered(lake, contracts) == answering.Answered(0, 1)
    assert answered(lake, contracts) == answering.Answered(0, 0)


def test_a_question_that_is_gone_once_it_was_listed_is_nobodys_failure(
    staff: Client, lake: Lake, contracts: Contracts
) -> None:
    _, body = staff.put("changes_of_an_item", COUNTRY)
    listed = list(lake.store.list(archive.WAITING))
    lake.store.delete([archive.waiting(body["id"])])
    with mock.patch.object(S3Store, "list", return_value=iter(listed)):
        assert answered(lake, contracts) == answering.Answered(0, 0)


def test_text_that_is_no_unicode_is_refused_by_the_api(staff: Client) -> None:
    assert staff.put("changes_of_an_item", r'{"entity": "countries", "key": "\ud800"}')[0] == 400


def test_a_question_that_s3_did_not_take_keeps_no_place(
    staff: Client, archives: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise Unavailable("SlowDown")

    with monkeypatch.context() as patched:
        patched.setattr(Documents, "write", full)
        assert [staff.put("changes_of_an_item", COUNTRY)[0] for _ in range(3)] == [503, 503, 429]
    later = archives._now() + 120
    monkeypatch.setattr(archives, "_now", lambda: later)
    assert [staff.put("changes_of_an_item", COUNTRY)[0] for _ in range(3)] == [202, 202, 429]


def test_what_the_contracts_refuse_is_said_in_the_answer(staff: Client, lake: Lake, contracts: Contracts) -> None:
    _, body = staff.put("changes_of_an_item", {"entity": "no such", "key": "x"})
    assert answered(lake, contracts) == answering.Answered(0, 1)
    _, shown = staff.answer(body["id"])
    assert shown["status"] == "refused"
    assert "expected an entity" in shown["problem"]
    validated(staff, "/archive/answers/{answer_id}", "get", "200", shown)


def test_what_the_engine_cannot_answer_waits_and_holds_up_no_other(
    staff: Client, lake: Lake, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, broken = staff.put("changes_of_an_item", COUNTRY)
    _, fine = staff.put("changes_of_an_item", {"entity": "countries", "key": "FR"})
    ask = answering.ask

    def failing(lake: Lake, contracts: Contracts, name: str, texts: Mapping[str, str], **more: Any) -> Any:
        if texts["key"] == "DE":
            raise OSError("disk full")
        return ask(lake, contracts, name, texts, **more)

    monkeypatch.setattr(answering, "ask", failing)
    with pytest.raises(answering.QuestionsUnanswered, match="1 that failed \\(OSError\\)"):
        answered(lake, contracts)
    assert [staff.answer(b["id"])[1]["status"] for b in (broken, fine)] == ["waiting", "answered"]
    monkeypatch.setattr(answering, "ask", ask)
    assert answered(lake, contracts).answered == 1


class Failing:
    """An S3 that answers with an error, or with what is no document."""

    def __init__(self, answer: Exception | bytes) -> None:
        self.answer = answer

    def list_objects_v2(self, Prefix: str, **_: Any) -> dict[str, Any]:
        return {"Contents": [{"Key": Prefix}]}

    def get_object(self, **_: Any) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"Body": io.BytesIO(self.answer)}

    put_object = get_object


@pytest.mark.parametrize(
    "answer",
    [
        ClientError({"Error": {"Code": "SlowDown"}}, "GetObject"), ResponseParserError("no XML"),
        ReadTimeoutError(endpoint_url="s3"), b'{"torn',
    ],
)  # fmt: skip
def test_a_document_that_s3_does_not_give_whole_is_unavailable(answer: Exception | bytes) -> None:
    documents = Documents(lambda: Failing(answer), BUCKET)  # type: ignore[arg-type, return-value]
    with pytest.raises(Unavailable) as read:
        documents.read("a")
    if isinstance(answer, ClientError):
        assert str(read.value) == "SlowDown"
    if isinstance(answer, Exception):
        with pytest.raises(Unavailable):
            documents.write("a", {})
