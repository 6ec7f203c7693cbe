"""Idempotency keys: a write with a key is done once, and answered the same whenever it is sent again.

The receipt (what was requested, and the answer) is written in the same transaction as the write itself. So there is no
moment between the two, nothing is ever "in progress", and a crash leaves either both or neither. A request that
is a problem has done nothing and leaves no receipt; sent again, it is checked again.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from realtime.api import problems
from realtime.api.caller import Caller
from realtime.api.requests import header
from realtime.api.routes import Answer, Event
from realtime.api.store import Expression, Item, Put, Store, key
from realtime.logs import trace_id

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
RECEIPT_SECONDS = 86_400  # how long a key is remembered
KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Request:
    """A write with a key: where its receipt is kept, the fingerprint of everything that it asks for, and its id."""

    pk: str
    fingerprint: str
    request_id: str

    @classmethod
    def of(cls, event: Event, caller: Caller) -> Request | None:
        """None for a request without a key; refuses a key that is none. A key is its caller's alone."""
        text = header(event, HEADER)
        if text is None:
            return None
        bare = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
        if not KEY.fullmatch(bare):
            raise problems.malformed(HEADER, f"expected 1 to 255 visible ASCII characters, found {text[:40]!r}")
        requested = {
            "method": event.get("httpMethod"),
            "resource": event.get("resource"),
            "path": event.get("pathParameters"),
            "if-match": header(event, "If-Match"),
            "body": event.get("body"),
        }
        request_id = str((event.get("requestContext") or {}).get("requestId", ""))
        return cls(f"idempotency#{_digest([caller.name, bare])}", _digest(requested), request_id)


class Receipts:
    """Receipts in the requests table. `now` gives seconds since 1970 UTC."""

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    def find(self, request: Request, receipt: Item | None = None) -> Answer | None:
        """The answer that the request got before; refuses (422) a key that another request had. `receipt` is the item
        of the key, where a refused transaction has shown it."""
        item = self._store.get({"pk": request.pk}) if receipt is None else receipt
        if item is None or int(item["ttl"]["N"]) <= self._now():  # DynamoDB deletes late
            return None
        if item["fingerprint"]["S"] != request.fingerprint:
            raise problems.reused_key(HEADER)
        return _answer(item)

    def put(self, request: Request, answer: Answer) -> Put:
        """The receipt, to be written with what it is for; its condition fails when there is one."""
        now = int(self._now())
        body = b"" if answer.body is None else orjson.dumps(answer.body)
        item: Item = {
            **key({"pk": request.pk, "fingerprint": request.fingerprint, "headers": json.dumps(dict(answer.headers))}),
            "status": {"N": str(answer.status)},
            "body": {"B": zlib.compress(body, 1)},  # so that an item of nearly 400 KiB still has room
            "ttl": {"N": str(now + RECEIPT_SECONDS)},
            "request_id": {"S": request.request_id},
        }
        if (trace := trace_id()) is not None:
            item["trace"] = {"S": trace}
        e = Expression()
        free = f"attribute_not_exists(pk) OR {e.name('ttl')} <= {e.value({'N': str(now)})}"
        return Put(item, free, e, table=self._store.table)


def _answer(item: Item) -> Answer:
    body = zlib.decompress(item["body"]["B"])
    headers: Mapping[str, str] = {**json.loads(item["headers"]["S"]), REPLAYED: "true"}
    first = item.get("request_id", {}).get("S")  # older receipts have none
    return Answer(int(item["status"]["N"]), orjson.Fragment(body) if body else None, headers, first)


def _digest(value: object) -> str:
    # json escapes what is no Unicode text; every part is a text or nothing, so no two values have one form.
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=20).hexdigest()
