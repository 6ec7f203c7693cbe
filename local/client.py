"""A client of Gavel's HTTP API: connections that are kept, sign-in that renews itself, errors that say what was wrong.

One client may be used by many threads. It knows HTTP and nothing of what an entity means.
"""

from __future__ import annotations

import http.client
import json
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Lock, local
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

Key = str | int | Sequence[str | int]
"""The values of an entity's primary key: one value, or all of them in the contract's order."""

SignIn = Callable[[], tuple[str, float]]
"""Returns a token and for how many seconds it is valid."""

ATTEMPTS = 5
_BUSY = frozenset({429, 502, 503, 504})
_RENEW_BEFORE = 120.0  # seconds
_TIMEOUT = 30.0  # seconds


class ApiError(RuntimeError):
    """The API answered with an error. `problem` is its problem document (RFC 9457), `status` the HTTP status."""

    def __init__(self, method: str, path: str, status: int, problem: Mapping[str, Any]) -> None:
        self.method, self.path, self.status, self.problem = method, path, status, problem
        reason = problem.get("detail") or problem.get("title") or problem.get("message") or "no explanation"
        fields = "; ".join(f"{e.get('field')}: {e.get('reason')}" for e in problem.get("errors") or ())
        super().__init__(f"{method} {path} was answered with {status}: {reason}{f' ({fields})' if fields else ''}")


class ApiUnavailable(RuntimeError):
    """The API could not be reached, or did not answer; the message says where and what to try."""


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes


class ApiClient:
    """Calls the API at `base_url` with tokens that `sign_in` gives.

    Reads, and writes that are the same once or twice (with an idempotency key, or PUT, PATCH, DELETE without If-Match),
    are sent again after a lost connection or a busy answer, at most `ATTEMPTS` times in all; others only where the API
    did nothing (429).
    """

    def __init__(
        self,
        base_url: str,
        sign_in: SignIn,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"expected the API's address as http(s)://host/path, found {base_url!r}")
        self._address = address
        self._prefix = address.path.rstrip("/")
        self._sign_in, self._clock, self._sleep = sign_in, clock, sleep
        self._threads = local()
        self._token: tuple[str, float] | None = None
        self._token_lock = Lock()

    # ---- entities

    def create(self, entity: str, payload: Mapping[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """POST: a new item. Raises `ApiError` 409 if it exists."""
        return self._call("POST", _path(entity), payload, idempotency_key=idempotency_key)

    def replace(
        self,
        entity: str,
        key: Key,
        payload: Mapping[str, Any],
        *,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """PUT: the whole item, new or in place of the stored one."""
        return self._call("PUT", _path(entity, key), payload, if_match, idempotency_key)

    def patch(
        self,
        entity: str,
        key: Key,
        payload: Mapping[str, Any],
        *,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """PATCH: the given fields; those left out stay, null clears. Raises `ApiError` 404 if there is no item."""
        return self._call("PATCH", _path(entity, key), payload, if_match, idempotency_key)

    def delete(self, entity: str, key: Key, *, if_match: int | None = None, idempotency_key: str | None = None) -> None:
        """DELETE: the item is marked deleted."""
        self._call("DELETE", _path(entity, key), if_match=if_match, idempotency_key=idempotency_key)

    def get(self, entity: str, key: Key) -> dict[str, Any]:
        """GET: the item; an order comes with all that belongs to it, however many pages that takes."""
        found = page = self._call("GET", _path(entity, key))
        while (cursor := page.pop("cursor", None)) is not None:
            page = self._call("GET", f"{_path(entity, key)}?{urlencode({'cursor': cursor})}")
            for name, items in page.items():
                if isinstance(items, list):
                    found[name] += items
        return found

    def party_orders(
        self, party_id: str, role: Literal["buyer", "seller"], *, limit: int = 50, cursor: str | None = None
    ) -> dict[str, Any]:
        """A page of a party's orders, newest first: `{"orders": [...], "cursor": "..." or None}`."""
        query = {"role": role, "limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        return self._call("GET", f"/parties/{quote(party_id, safe='')}/orders?{urlencode(query)}")

    def party_summary(self, party_id: str) -> dict[str, Any]:
        """What the reports say of a party: `{"party_id", "data_time", "as_buyer": [...], "as_seller": [...]}`."""
        return self._call("GET", f"/parties/{quote(party_id, safe='')}/summary")

    def put_question(self, name: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """POST: a question to the archive; its `id`."""
        return self._call("POST", f"/archive/questions/{quote(name, safe='')}", parameters)

    def archive_answer(self, question_id: str, page: int = 1) -> dict[str, Any]:
        """GET: how far the answer to a question is, with a page of its rows."""
        return self._call("GET", f"/archive/answers/{quote(question_id, safe='')}?page={page}")

    def status(self) -> dict[str, Any]:
        """GET: up to when reports and tables are true, and which Firehose is under pressure."""
        return self._call("GET", "/status")

    # ---- imports

    def import_events(self, entity: str, events: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """POST: an event of the ERP, or a batch; what became of each, and the name of the import if any waits."""
        return self._call("POST", _path("imports", entity), events)

    def import_status(self, entity: str, import_id: str) -> dict[str, Any]:
        """GET: what became of an import whose events waited."""
        return self._call("GET", _path("imports", (entity, import_id)))

    # ---- HTTP

    def _call(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        body = None if payload is None else json.dumps(payload, default=_plain, allow_nan=False).encode()
        conditions = {"If-Match": if_match, "Idempotency-Key": idempotency_key}
        answer = self._answer(method, path, body, {k: str(v) for k, v in conditions.items() if v is not None})
        content = _content(answer.body)
        if 200 <= answer.status < 300:
            return content
        raise ApiError(method, path, answer.status, content)

    def _answer(self, method: str, path: str, body: bytes | None, conditions: Mapping[str, str]) -> _Answer:
        """The API's answer, after renewing the token once and repeating what may be repeated."""
        repeatable = "Idempotency-Key" in conditions or (method != "POST" and "If-Match" not in conditions)
        renewed = False
        attempt = 0
        while True:
            attempt += 1
            last = attempt >= ATTEMPTS
            token = self._valid_token()
            try:
                answer = self._send(method, path, body, token, conditions)
            except (OSError, http.client.HTTPException) as error:
                if last or not repeatable:
                    raise ApiUnavailable(
                        f"{method} {path}: expected an answer from {self._address.netloc}, got {error!r}"
                        f" at attempt {attempt}. Is the stack up (gavel status)?"
                    ) from error
                self._sleep(_pause(attempt))
                continue
            if answer.status == 401 and not renewed:
                renewed = True
                self._forget(token)
            elif not last and (answer.status == 429 or (repeatable and answer.status in _BUSY)):
                self._sleep(_pause(attempt))
            elif method == "DELETE" and answer.status == 404 and attempt > 1 + renewed:
                return _Answer(204, b"")  # an earlier attempt, whose answer was lost, deleted it
            else:
                return answer

    def _send(self, method: str, path: str, body: bytes | None, token: str, conditions: Mapping[str, str]) -> _Answer:
        connection = self._connection()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", **conditions}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, self._prefix + path, body=body, headers=headers)
            response = connection.getresponse()
            return _Answer(response.status, response.read())
        except BaseException:
            connection.close()  # it may hold half an answer; the next use connects again
            raise

    def _connection(self) -> http.client.HTTPConnection:
        """The calling thread's connection; http.client connects when it is used."""
        connection: http.client.HTTPConnection | None = getattr(self._threads, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
            connection = kind(self._address.hostname or "", self._address.port, timeout=_TIMEOUT)
            self._threads.connection = connection
        elif connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()  # there is nothing to read before a request: the server has hung up meanwhile
        return connection

    def _valid_token(self) -> str:
        with self._token_lock:
            if self._token is None or self._clock() > self._token[1]:
                token, seconds = self._sign_in()
                self._token = (token, self._clock() + max(seconds - _RENEW_BEFORE, seconds / 2))
            return self._token[0]

    def _forget(self, token: str) -> None:
        """Ask for a new token next time, unless another thread already did."""
        with self._token_lock:
            if self._token is not None and self._token[0] == token:
                self._token = None


def _path(entity: str, key: Key | None = None) -> str:
    values: Sequence[str | int] = () if key is None else (key,) if isinstance(key, (str, int)) else key
    return "".join(f"/{quote(str(part), safe='')}" for part in (entity, *values))


def _plain(value: object) -> str:
    """The API's written form of values that JSON does not have."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"expected a time with an offset, found {value!r}")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"expected a value for JSON, found {type(value).__name__}")


def _content(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        content = json.loads(body, parse_float=Decimal)
    except ValueError:
        return {"detail": body[:500].decode(errors="replace")}
    return content if isinstance(content, dict) else {"detail": str(content)[:500]}


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: 0.1, 0.2, 0.4, …"""
    return float(0.05 * 2**attempt)
