"""Reads what a request carries: path, query, headers, body. What cannot be read is refused (400), with the place."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from contracts.validation import shortened
from realtime.api import problems
from realtime.api.routes import Event
from realtime.api.strict_json import decode

MAX_VERSION = 2**63 - 1
_COUNT = re.compile(r"[1-9][0-9]{0,8}")


def parameter(event: Event, name: str) -> str:
    """A parameter of the path, without percent-encoding: a REST API hands it over as it is in the URL."""
    return unquote(raw_parameter(event, name))


def raw_parameter(event: Event, name: str) -> str:
    """A parameter of the path as it is in the URL; empty if there is none."""
    return str((event.get("pathParameters") or {}).get(name, ""))


def encoded_again(event: Event, keys: Mapping[str, int]) -> Event:
    """The request with the parameters of its path as they were in the URL, for a gateway that decodes them: the
    laptop's. `keys` says how many parts the key of each entity has; those after the first are numbers, so that every
    other slash is a part of the first."""
    found = event.get("pathParameters") or {}
    parameters = {name: quote(str(text), safe="") for name, text in found.items()}
    if "key" in found:
        parts = str(found["key"]).rsplit("/", max(0, keys.get(str(found.get("entity")), 1) - 1))
        parameters["key"] = "/".join(quote(part, safe="") for part in parts)
    return {**event, "pathParameters": parameters}


def only_parameters(event: Event, known: tuple[str, ...] = ()) -> Mapping[str, str]:
    """The query's parameters; refuses unknown and repeated ones."""
    query = event.get("multiValueQueryStringParameters") or {}
    for name, values in query.items():
        if name not in known:
            expected = " or ".join(known) if known else "no parameters"
            raise problems.malformed(name, f"expected {expected}, found {shortened(name, 40)}")
        if len(values) != 1:
            raise problems.malformed(name, f"expected one value, found {len(values)}")
    return {name: values[0] for name, values in query.items()}


def count(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number of the query from 1 to `most`, or the default where it is not there."""
    text = query.get(name)
    if text is None:
        return default
    if not (_COUNT.fullmatch(text) and int(text) <= most):
        raise problems.malformed(name, f"expected an integer from 1 to {most}, found {text[:20]!r}")
    return int(text)


def header(event: Event, name: str) -> str | None:
    """A header's value, whatever the case of its name."""
    headers = event.get("headers") or {}
    return next((str(v) for k, v in headers.items() if k.lower() == name.lower()), None)


def if_match(event: Event) -> int | None:
    """The version in `If-Match`, bare or quoted as in an ETag."""
    text = header(event, "If-Match")
    if text is None:
        return None
    bare = text.strip()
    if len(bare) > 2 and bare[0] == bare[-1] == '"':
        bare = bare[1:-1]
    if not (bare.isascii() and bare.isdigit() and len(bare) <= 19 and int(bare) <= MAX_VERSION):
        raise problems.malformed("If-Match", f"expected the item's version, found {text[:40]!r}")
    return int(bare)


def payload(event: Event) -> object:
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
