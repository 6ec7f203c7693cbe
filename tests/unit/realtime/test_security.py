"""What callers and senders say never gets out of its place: a header, a line of the log, a prefix of the bucket."""

from __future__ import annotations

import base64
import json
from http.client import HTTPException
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from realtime.api.problems import ApiError
from realtime.authorizer import keys
from realtime.inbound.handler import Edge
from realtime.inbound.settings import Settings
from tests.support.depth import examples

Fixture = Any
HOSTILE = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from("\r\n\0\u2028\u0085:;%/\\\"'<>{}.é "), min_size=1, max_size=20),
    st.sampled_from(["x\r\nSet-Cookie: a=b", '", "level": "ERROR"}\n{"x": "', "${jndi:ldap://x}", "../../x", "%0d%0a"]),
)
ONCE_FOR_ALL = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
CUSTOMER = {"status": "active", "registered_at": "2026-01-02T03:04:05Z"}


@given(identity=HOSTILE)
@settings(max_examples=examples(80), **ONCE_FOR_ALL)
def test_no_key_gets_out_of_the_header_that_names_it(api: Fixture, identity: str) -> None:
    reply = api("POST", "/customers", {**CUSTOMER, "customer_id": identity})
    assert reply.status in (201, 409, 413, 422), reply.body
    for name, value in reply.headers.items():
        assert value.isascii(), name
        assert value.isprintable(), name
    assert (reply.status == 201) == ("Location" in reply.headers)


@given(text=HOSTILE, name=st.sampled_from(["Idempotency-Key", "If-Match", "Authorization", "X-Any"]))
@settings(max_examples=examples(60), **ONCE_FOR_ALL)
def test_a_request_is_one_line_of_the_log_whatever_it_says(
    api: Fixture, capsys: pytest.CaptureFixture[str], text: str, name: str
) -> None:
    capsys.readouterr()
    caller = {"claims": {"sub": f"u-{text}", "cognito:groups": "staff"}}
    api("PATCH", f"/customers/{text}", {"name": text}, headers={name: text}, authorizer=caller)
    (line,) = capsys.readouterr().out.split("\n")[:-1]
    assert json.loads(line)["message"] == "request"
    assert json.loads(line)["level"] == "INFO"


claims = st.dictionaries(
    st.sampled_from(["sub", "cognito:groups", "custom:party_id"]),
    st.one_of(HOSTILE, st.none(), st.integers(), st.lists(HOSTILE, max_size=2), st.sampled_from(["staff", "party"])),
)
tokens = st.one_of(
    HOSTILE,
    st.dictionaries(st.sampled_from(["cognito:groups", "x"]), st.one_of(st.lists(HOSTILE, max_size=2), HOSTILE)).map(
        lambda claims: f"Bearer x.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()}.x"
    ),
)


@given(
    found=st.one_of(
        st.fixed_dictionaries({"claims": claims}),
        st.fixed_dictionaries({"claims": st.just({"sub": "u-1", "cognito:groups": "staff"})}),
        st.dictionaries(st.sampled_from(["tenant", "group", "party_id", "claims"]), st.one_of(HOSTILE, st.none())),
    ),
    headers=st.dictionaries(st.sampled_from(["Authorization", "If-Match", "Idempotency-Key", "Content-Type"]), tokens),
    query=st.dictionaries(st.sampled_from(["cursor", "limit", "role", "status"]), HOSTILE, max_size=3),
    what=st.sampled_from([("GET", "/orders/o-1"), ("GET", "/parties/c-1/orders"), ("DELETE", "/orders/o-1")]),
)
@settings(max_examples=examples(120), **ONCE_FOR_ALL)
def test_no_header_claim_or_cursor_makes_a_server_error(
    api: Fixture, found: Any, headers: Any, query: Any, what: tuple[str, str]
) -> None:
    reply = api(*what, headers=headers, query=query, authorizer=found)
    assert reply.status < 500
    if found and found.get("claims", {}) in (None, {}) and "tenant" not in found:
        assert reply.status == 403, "nobody is authenticated"


class Bucket:
    """Notes which objects are read; none is there."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def get_object(self, *, Bucket: str, Key: str) -> Any:
        self.read.append(Key)
        raise KeyError(Key)


@given(st.one_of(HOSTILE, HOSTILE.map("imports/".__add__), st.from_regex(r"imports/[a-z./-]{1,9}", fullmatch=True)))
@example("imports/../health/pipeline.json")
@example("imports/a\n")
@settings(max_examples=examples(200), deadline=None)
def test_a_claim_names_nothing_but_what_is_below_its_prefix(key: str) -> None:
    bucket = Bucket()
    edge = Edge(
        Settings("test", "t", "r", "data", "queue", "dead", "topic", "7"),
        function="f", s3=lambda: bucket, sqs=lambda: None, sns=lambda: None,
    )  # fmt: skip
    with pytest.raises((ApiError, KeyError)):
        edge.claim(key)
    for read in bucket.read:
        assert read == key
        assert read.startswith("imports/")
        assert ".." not in read
        assert read.isprintable()


class Issuer:
    """A connection to an issuer that answers as it is set up to."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body, self.requests = status, body, list[tuple[str, str]]()

    def __call__(self, host: str, port: int | None, timeout: float) -> Issuer:
        self.host, self.timeout = host, timeout
        return self

    def request(self, method: str, path: str, headers: Any) -> None:
        self.requests.append((method, path))

    def getresponse(self) -> Issuer:
        return self

    def read(self, most: int) -> bytes:
        return self.body[:most]

    def close(self) -> None: ...


@pytest.mark.parametrize(("status", "body"), [(302, b"{}"), (200, b"x" * (keys.MAX_BYTES + 1)), (500, b"")])
def test_keys_are_read_from_where_the_setting_says_and_nowhere_else(
    status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect would lead inside the network of the function, or to whoever signs tokens for everybody."""
    issuer = Issuer(status, body)
    monkeypatch.setattr(keys, "HTTPSConnection", issuer)
    with pytest.raises(HTTPException):
        keys.read_document("https://login.partner.example/keys?a=b")
    assert (issuer.host, issuer.timeout) == ("login.partner.example", keys.TIMEOUT)
    assert issuer.requests == [("GET", "/keys?a=b")]
