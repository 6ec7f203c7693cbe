"""Entry of the API function: HTTP in, HTTP out.

It reads a request of API Gateway's Lambda proxy integration, calls the service and writes the answer. Every request
leaves one log line, without keys and values.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import orjson

from contracts.compact import load_compact
from realtime.api import problems
from realtime.api.payloads import decode
from realtime.api.problems import Refusal
from realtime.api.service import MAX_PAGE, Service
from realtime.api.settings import Settings
from realtime.api.store import Store, Unavailable
from realtime.clients import client
from realtime.logs import log, where

CONTRACTS = Path(__file__).parents[1] / "contracts.json"  # the bundle puts it there
DEFAULT_PAGE = 50
MAX_VERSION = 2**63 - 1

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body (None: no content) and headers of an HTTP answer."""

    status: int
    body: object
    headers: Mapping[str, str]


def handle(event: Event, context: object) -> dict[str, Any]:
    """The Lambda handler."""
    return _api().answer(event)


@cache
def _api() -> Api:
    settings = Settings.from_environment(os.environ)
    store = Store(client("dynamodb", attempts=3, read_timeout=3), settings.table)
    return Api(Service(load_compact(CONTRACTS.read_bytes()), store))


class Api:
    """The routes over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes: dict[str, dict[str, Callable[[Event], Answer]]] = {
            "/{entity}": {"POST": self._create},
            "/{entity}/{key+}": {
                "GET": self._read,
                "PUT": self._replace,
                "PATCH": self._change,
                "DELETE": self._delete,
            },
            "/parties/{party_id}/orders": {"GET": self._party_orders},
        }

    def answer(self, event: Event) -> dict[str, Any]:
        """The proxy answer to a proxy event; never raises for what a client sent."""
        started, cpu = time.perf_counter(), time.thread_time()
        request_id = str((event.get("requestContext") or {}).get("requestId", ""))
        try:
            answer = self._dispatch(event)
            body = b"" if answer.body is None else orjson.dumps(answer.body)
            result = _proxy(answer.status, body.decode(), "application/json", answer.headers)
        except Refusal as refusal:
            result = _problem(refusal, request_id)
        except Unavailable as error:
            log("WARN", "the table is unavailable", request_id=request_id, **where(error))
            result = _problem(problems.unavailable(), request_id)
        except Exception as error:  # noqa: BLE001 (the edge: a client gets 500, the log gets the place)
            log("ERROR", "request failed", request_id=request_id, **where(error))
            result = _problem(problems.failed(), request_id)
        log(
            "INFO",
            "request",
            request_id=request_id,
            method=event.get("httpMethod"),
            route=event.get("resource"),
            entity=self._logged_entity(event),
            status=result["statusCode"],
            ms=round((time.perf_counter() - started) * 1000, 2),
            cpu_ms=round((time.thread_time() - cpu) * 1000, 2),
        )
        return result

    def _dispatch(self, event: Event) -> Answer:
        methods = self._routes.get(str(event.get("resource")))
        if methods is None:
            raise problems.unknown_route()
        route = methods.get(str(event.get("httpMethod")))
        if route is None:
            raise problems.wrong_method(str(event.get("httpMethod")), list(methods))
        return route(event)

    def _create(self, event: Event) -> Answer:
        contract = self._service.contract(_parameter(event, "entity"))
        _only_parameters(event, ())
        written = self._service.create(contract, _payload(event))
        key = "/".join(quote(str(written.body[n]), safe="") for n in contract.primary_key)
        return _item_answer(201, written.body, {"Location": f"/{contract.name}/{key}"})

    def _read(self, event: Event) -> Answer:
        contract, key = self._named(event)
        body = self._service.read(contract, key)
        return _item_answer(200, body, {}) if "_version" in body else Answer(200, body, {})

    def _replace(self, event: Event) -> Answer:
        contract, key = self._named(event)
        written = self._service.replace(contract, key, _payload(event), _if_match(event))
        return _item_answer(201 if written.created else 200, written.body, {})

    def _change(self, event: Event) -> Answer:
        contract, key = self._named(event)
        return _item_answer(200, self._service.change(contract, key, _payload(event), _if_match(event)), {})

    def _delete(self, event: Event) -> Answer:
        contract, key = self._named(event)
        self._service.delete(contract, key, _if_match(event))
        return Answer(204, None, {})

    def _party_orders(self, event: Event) -> Answer:
        query = _only_parameters(event, ("role", "limit", "cursor"))
        limit = _limit(query.get("limit"))
        party_id = _parameter(event, "party_id")
        return Answer(200, self._service.party_orders(party_id, query.get("role"), limit, query.get("cursor")), {})

    def _named(self, event: Event) -> tuple[Any, Any]:
        """Contract and key of a request for one item."""
        contract = self._service.contract(_parameter(event, "entity"))
        _only_parameters(event, ())
        raw = str((event.get("pathParameters") or {}).get("key", ""))
        return contract, self._service.key(contract, tuple(unquote(part) for part in raw.split("/")))

    def _logged_entity(self, event: Event) -> str | None:
        """The entity's name if there is one of that name: what a client invented is not logged."""
        name = (event.get("pathParameters") or {}).get("entity")
        try:
            return self._service.contract(str(name)).name
        except Refusal:
            return None


# ---- reading a request ----------------------------------------------------------------------------------------------


def _parameter(event: Event, name: str) -> str:
    # A REST API hands path parameters over as they are in the URL, percent-encoded.
    return unquote(str((event.get("pathParameters") or {}).get(name, "")))


def _only_parameters(event: Event, known: tuple[str, ...]) -> Mapping[str, str]:
    """The query's parameters; refuses unknown and repeated ones."""
    query = event.get("multiValueQueryStringParameters") or {}
    for name, values in query.items():
        if name not in known:
            expected = " or ".join(known) if known else "no parameters"
            raise problems.malformed(name, f"expected {expected}, found {name}")
        if len(values) != 1:
            raise problems.malformed(name, f"expected one value, found {len(values)}")
    return {name: values[0] for name, values in query.items()}


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_PAGE):
        raise problems.malformed("limit", f"expected an integer from 1 to {MAX_PAGE}, found {text[:20]!r}")
    return int(text)


def _if_match(event: Event) -> int | None:
    """The version in `If-Match`, bare or quoted as in an ETag."""
    headers = event.get("headers") or {}
    text = next((v for k, v in headers.items() if k.lower() == "if-match"), None)
    if text is None:
        return None
    bare = text.strip().removeprefix('"').removesuffix('"')
    if not (bare.isascii() and bare.isdigit() and len(bare) <= 19 and int(bare) <= MAX_VERSION):
        raise problems.malformed("If-Match", f"expected the item's version, found {text[:40]!r}")
    return int(bare)


def _payload(event: Event) -> object:
    """The decoded body: numbers with a point become `Decimal`; floats, NaN and repeated names do not exist."""
    try:
        body = event.get("body")
        text = body if isinstance(body, str) else ""
        if event.get("isBase64Encoded"):
            text = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise problems.malformed("", "expected a body of UTF-8 text") from None
    if not text.strip():
        raise problems.malformed("", "expected a JSON object as body, found nothing")
    return decode(text)


# ---- writing an answer ----------------------------------------------------------------------------------------------


def _item_answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
    return Answer(status, body, {"ETag": f'"{body["_version"]}"', **headers})


def _problem(refusal: Refusal, request_id: str) -> dict[str, Any]:
    # json escapes what is no Unicode text, such as half of a surrogate pair in a name that a client invented.
    body = json.dumps(refusal.document(request_id))
    return _proxy(refusal.status, body, "application/problem+json", refusal.headers)


def _proxy(status: int, body: str, content_type: str, headers: Mapping[str, str]) -> dict[str, Any]:
    if body:
        headers = {"Content-Type": content_type, **headers}
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
