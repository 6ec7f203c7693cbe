"""An HTTP proxy before the emulator that spoils requests of AWS services by rules, and passes on all others.

What a request is for is read from its signature and target, as AWS does. A spoiled request is one of those that
`plan.REQUESTS` names; how often each happened is counted, and when.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, local
from typing import Any

from local.serving import answering

MARK = "injected by chaos"
"""Stands in every answer that is an injected error."""
PATIENCE = 150  # seconds that the emulator may take to answer
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection", "te", "upgrade"})
_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/")
_READS = ("Get", "BatchGet", "Query", "Scan", "List", "Describe", "Search", "TransactGet")


@dataclass(frozen=True)
class Request:
    """A request as it came: `headers` as they were sent, the whole body."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, empty without one."""
        return next((value for known, value in self.headers if known.lower() == name), "")

    @property
    def purpose(self) -> str:
        """Service and whether it reads or writes, as plans name them; empty for all that plans do not name."""
        found = _SCOPE.search(self.header("authorization"))
        service = found[1] if found else ""
        api, _, action = self.header("x-amz-target").partition(".")
        if service == "s3":
            return "s3 read" if self.method in ("GET", "HEAD") else "s3 write"
        if (service == "dynamodb" and api.startswith("DynamoDB_")) or service in ("glue", "firehose"):
            return f"{service} {'read' if action.startswith(_READS) else 'write'}"
        return ""

    @property
    def service(self) -> str:
        """The service, of those that plans name."""
        return self.purpose.partition(" ")[0]


@dataclass(frozen=True)
class Answer:
    """An answer with its whole body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass
class Rule:
    """The next `left` requests of that purpose are spoiled so; `seconds` is how late a slow one is."""

    kind: str
    purpose: str
    left: int
    seconds: float = 0.0
    name: str = ""


@dataclass
class Injected:
    """What is to be spoiled next, and what was: counted by name, with the times (seconds since 1970) of all of it."""

    rules: list[Rule] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    times: list[tuple[float, str]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def arm(self, rule: Rule) -> None:
        """Spoil requests by this rule from now on, after those that wait already."""
        with self.lock:
            self.rules.append(rule)

    def disarm(self) -> list[Rule]:
        """Spoil nothing more; gives the rules that never fired."""
        with self.lock:
            left, self.rules = self.rules, []
        return [rule for rule in left if not self.fired[rule.name]]

    @property
    def waiting(self) -> list[str]:
        """The names of rules that have not fired yet."""
        with self.lock:
            return [rule.name for rule in self.rules if not self.fired[rule.name]]

    def take(self, purpose: str) -> Rule | None:
        """The rule for a request that came in now; it is counted."""
        with self.lock:
            rule = next((r for r in self.rules if r.purpose == purpose), None)
            if rule is None:
                return None
            rule.left -= 1
            if rule.left <= 0:
                self.rules.remove(rule)
            self.fired[rule.name] += 1
            self.times.append((time.time(), rule.name))
            return rule


_CODES = {
    ("error500", "s3"): (500, "InternalError"),
    ("error500", "glue"): (500, "InternalServiceException"),
    ("error500", "dynamodb"): (500, "InternalServerError"),
    ("error500", "firehose"): (500, "InternalFailure"),
    ("error503", "s3"): (503, "ServiceUnavailable"),
    ("error503", "glue"): (503, "ServiceUnavailable"),
    ("error503", "dynamodb"): (503, "ServiceUnavailable"),
    ("error503", "firehose"): (503, "ServiceUnavailableException"),
    ("throttled", "s3"): (503, "SlowDown"),
    ("throttled", "glue"): (400, "ThrottlingException"),
    ("throttled", "dynamodb"): (400, "ProvisionedThroughputExceededException"),
    ("throttled", "firehose"): (400, "LimitExceededException"),
    ("full", "s3"): (507, "InsufficientStorage"),
}


def error_of(kind: str, service: str) -> Answer:
    """The answer of a service that refuses a request so."""
    status, code = _CODES[kind, service]
    if service == "s3":
        text = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{MARK}: {kind}</Message></Error>'
        return Answer(status, (("Content-Type", "application/xml"),), text.encode())
    body = json.dumps({"__type": code, "message": f"{MARK}: {kind}"}).encode()
    return Answer(status, (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)), body)


Forward = Callable[[Request], Answer]


def throttled_batch(request: Request, forward: Forward) -> Answer:
    """Firehose takes the first half of a batch and is too busy for the others, as it says for each record."""
    try:
        content = json.loads(request.body)
        records = content["Records"]
    except (ValueError, KeyError):
        return error_of("throttled", "firehose")
    taken = records[: len(records) // 2]
    answers: list[Mapping[str, Any]] = []
    if taken:
        half = json.dumps({**content, "Records": taken}).encode()
        done = forward(Request(request.method, request.path, request.headers, half))
        if done.status != 200:
            return done
        answers = json.loads(done.body)["RequestResponses"]
    failed = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": MARK}
    left = len(records) - len(taken)
    refused = sum("ErrorCode" in answer for answer in answers)
    body = {"FailedPutCount": left + refused, "RequestResponses": [*answers, *[failed] * left]}
    return Answer(200, (("Content-Type", "application/x-amz-json-1.1"),), json.dumps(body).encode())


class NoAnswer(Exception):
    """The connection ends without an answer."""


def spoiled(rule: Rule, request: Request, forward: Forward) -> tuple[Answer, bool]:
    """The answer to a spoiled request, and whether only half of it is sent. Raises `NoAnswer`."""
    match rule.kind:
        case "dropped":
            raise NoAnswer
        case "slow":
            time.sleep(rule.seconds)
            return forward(request), False
        case "torn":
            return forward(request), True
        case "lost":
            forward(request)
            raise NoAnswer
        case "repeated":
            forward(request)
            return forward(request), False
        case "throttled" if request.service == "firehose":
            return throttled_batch(request, forward), False
    return error_of(rule.kind, request.service), False


@contextmanager
def proxying(port: int, injected: Injected) -> Iterator[int]:
    """Pass requests on to an emulator on a port of this machine, spoiled as `injected` says; gives the proxy's port."""

    def answer(request: Request, forward: Forward) -> tuple[Answer, bool]:
        rule = injected.take(request.purpose) if request.purpose else None
        return spoiled(rule, request, forward) if rule else (forward(request), False)

    with passing_on(port, answer) as open_at:
        yield open_at


@contextmanager
def passing_on(port: int, answered: Callable[[Request, Forward], tuple[Answer, bool]]) -> Iterator[int]:
    """Let a function answer requests, which gets them from an emulator on a port of this machine if it likes, and says
    whether only half of the answer is sent; gives the proxy's port."""
    connections = local()

    def forward(request: Request) -> Answer:
        """What the emulator answers; raises `NoAnswer` where it is not there."""
        connection = getattr(connections, "open", None)
        if connection is None:
            connection = connections.open = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            return _exchanged(connection, request)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoAnswer from error

    class Handler(_Handler):
        def answer(self, request: Request) -> tuple[Answer, bool]:
            return answered(request, forward)

    with answering(_Server(("127.0.0.1", 0), Handler), "proxy") as open_at:
        yield open_at


def _exchanged(connection: http.client.HTTPConnection, request: Request) -> Answer:
    """One request and its answer. A connection that the emulator closed meanwhile is opened again: nothing was sent."""
    if connection.sock is not None and _has_ended(connection.sock):
        connection.close()
    connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
    for name, value in request.headers:
        if name.lower() not in _HOP and name.lower() != "content-length":
            connection.putheader(name, value)
    if request.body or request.method in ("PUT", "POST"):
        connection.putheader("Content-Length", str(len(request.body)))
    connection.endheaders(request.body or None)
    response = connection.getresponse()
    body = response.read()
    headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP]
    return Answer(response.status, tuple(headers), body)


def _has_ended(connection: socket.socket) -> bool:
    """Whether there is anything to read before a request: then the other side has hung up."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients are killed."""


class _Handler(BaseHTTPRequestHandler, ABC):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet an answer

    def handle_expect_100(self) -> bool:
        """Ask for the body at once: what stayed in the buffer would cost botocore a second of waiting."""
        done = super().handle_expect_100()
        self.wfile.flush()
        return done

    @abstractmethod
    def answer(self, request: Request) -> tuple[Answer, bool]:
        """The answer, and whether only half of it is sent; raises `NoAnswer`."""

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        request = Request(self.command, self.path, tuple(self.headers.items()), self._body())
        try:
            answer, torn = self.answer(request)
        except NoAnswer:
            self._hang_up()
            return
        self._send(answer, torn)

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _send(self, answer: Answer, torn: bool) -> None:
        lines = [f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, '')}"]
        has_length = any(name.lower() == "content-length" for name, _ in answer.headers)
        if not (has_length and self.command == "HEAD"):
            length = [] if answer.status in (204, 304) else [("Content-Length", str(len(answer.body)))]
            answer = Answer(
                answer.status,
                (*((n, v) for n, v in answer.headers if n.lower() != "content-length"), *length),
                answer.body,
            )
        lines += [f"{name}: {value}" for name, value in answer.headers]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        body = b"" if self.command == "HEAD" else answer.body
        if torn:
            self.wfile.write(head + body[: len(body) // 2] if body else head[: len("HTTP/1.1 ")])
            self.wfile.flush()
            self._hang_up()
            return
        self.wfile.write(head + body)
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client has gone
            return
