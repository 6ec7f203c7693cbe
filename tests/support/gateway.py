"""API Gateway in process: a WSGI application that calls the API's handler with the proxy events of a REST API."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from realtime.api.handler import Api

STAFF: Mapping[str, Any] = {"claims": {"sub": "u-1", "cognito:groups": "staff"}}


class Gateway:
    """Serves the routes of an API to one caller, whom its authorizer is taken to have found."""

    def __init__(self, api: Api, authorizer: Mapping[str, Any] = STAFF) -> None:
        self._api = api
        self._authorizer = authorizer
        self._methods: dict[str, set[str]] = {}
        for route in api.routes:
            self._methods.setdefault(route.resource, set()).add(route.method)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        url = urlsplit(environ["REQUEST_URI"])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {k[5:].replace("_", "-").title(): v for k, v in environ.items() if k.startswith("HTTP_")}
        answer = self.answer(environ["REQUEST_METHOD"], url.path, url.query, headers, body)
        start_response(f"{answer['statusCode']} -", list(answer["headers"].items()))
        return [answer["body"].encode()]

    def answer(
        self, method: str, path: str, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> dict[str, Any]:
        """The handler's proxy answer. Like API Gateway, 404 for what is no resource or method, 401 without a token."""
        found = self._resource(path)
        if found is None or method not in self._methods[found[0]]:
            return _refused(404)
        if not any(name.lower() == "authorization" for name in headers or ()):
            return _refused(401)
        resource, parameters = found
        event = {
            "resource": resource,
            "path": path,
            "httpMethod": method,
            "pathParameters": parameters,
            "headers": dict(headers or {}),
            "multiValueQueryStringParameters": parse_qs(query, keep_blank_values=True) or None,
            "requestContext": {"requestId": "r-1", "authorizer": self._authorizer},
            **_body(body),
        }
        return self._api.answer(event)

    def _resource(self, path: str) -> tuple[str, dict[str, str]] | None:
        """The resource that a path names; a fixed part goes before a variable one."""
        parts = path.strip("/").split("/")
        matching = [(r, p) for r in self._methods if (p := _match(r.strip("/").split("/"), parts)) is not None]
        return min(matching, key=lambda m: len(m[1]), default=None)


def _match(resource: list[str], path: list[str]) -> dict[str, str] | None:
    parameters: dict[str, str] = {}
    for place, part in enumerate(resource):
        if part.endswith("+}"):
            rest = "/".join(path[place:])
            return {**parameters, part[1:-2]: rest} if rest else None
        if place >= len(path):
            return None
        if part.startswith("{"):
            parameters[part[1:-1]] = path[place]
        elif part != path[place]:
            return None
    return parameters if len(resource) == len(path) else None


def _body(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode() or None, "isBase64Encoded": False}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _refused(status: int) -> dict[str, Any]:
    body = {"type": "urn:gavel:problem:gateway", "title": "-", "status": status, "detail": "-", "instance": "-"}
    return {"statusCode": status, "headers": {"Content-Type": "application/problem+json"}, "body": json.dumps(body)}
