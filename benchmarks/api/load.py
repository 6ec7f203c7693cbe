"""Drives one kind of request after the other, and reads from the log what the handler took.

One client at a time is how Lambda uses an execution environment: it hands it a request, and the next one after the
answer. Several at once share the cores of this machine with the emulator that answers them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.aws import Aws
from local.client import ApiClient
from local.home import Stack
from local.stack import connect

OWN = "handler's own CPU"
LOG_GROUP = "/gavel/local/api"
LOG_SECONDS = 30.0  # how long the emulator may take until the last line is in the log

Request = Callable[[ApiClient, int], Any]
"""Sends request number n through a client."""

_AT = "2026-11-21T01:02:03Z"


def _order(number: int) -> dict[str, Any]:
    return {
        "order_id": f"o-{number}",
        "buyer_id": f"c-{number % 50}",
        "seller_id": f"c-{number % 7}",
        "currency": "EUR",
        "hammer_price": "1250.00",
        "buyers_premium": "312.50",
        "fees": [{"kind": "insurance", "payer": "buyer", "amount": "12.50"}],
        "status": "placed",
        "placed_at": _AT,
    }


def _payment(number: int) -> dict[str, Any]:
    return {
        "payment_id": f"p-{number}",
        "order_id": f"o-{number}",
        "kind": "capture",
        "method": "card",
        "currency": "EUR",
        "amount": "1562.50",
        "status": "settled",
        "created_at": _AT,
    }


def _line(number: int) -> dict[str, Any]:
    return {"lot_id": f"l-{number}", "quantity": 1, "hammer_price": "1250.00", "placed_at": _AT}


# In this order: what reads finds what was written before.
REQUESTS: dict[str, Request] = {
    "create an order": lambda api, n: api.create("orders", _order(n)),
    "create an order with a key": lambda api, n: api.create("orders", _order(-n - 1), idempotency_key=f"k-{n}"),
    "send it again": lambda api, n: api.create("orders", _order(-n - 1), idempotency_key=f"k-{n}"),
    "replace an order line": lambda api, n: api.replace("order_lines", (f"o-{n}", 1), _line(n)),
    "create a payment": lambda api, n: api.create("payments", _payment(n)),
    "change an order": lambda api, n: api.patch("orders", f"o-{n}", {"status": "paid"}),
    "change a payment": lambda api, n: api.patch("payments", f"p-{n}", {"status": "failed"}),
    "read an order with all of it": lambda api, n: api.get("orders", f"o-{n}"),
    "read a payment": lambda api, n: api.get("payments", f"p-{n}"),
    "list 50 orders of a party": lambda api, n: api.party_orders(f"c-{n % 7}", "seller"),
    "delete a payment": lambda api, n: api.delete("payments", f"p-{n}"),
}


def measure(stack: Stack, clients: int, requests: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Milliseconds by kind of request, sent by so many `clients` at once to a stack without orders: what a client
    waited, what the handler took, and its own CPU time."""
    client = connect(stack)
    logs = Aws(stack.endpoint).client("logs")
    with ThreadPoolExecutor(clients) as threads:
        since, warm = time.time(), clients * 10
        list(threads.map(lambda n: client.replace("lots", f"l-{n}", _lot(n)), range(warm)))
        _logged(logs, since, warm)
        results: dict[str, Any] = {}
        for name, request in REQUESTS.items():
            since, began = time.time(), time.perf_counter()
            waited = list(threads.map(lambda n, request=request: _timed(request, client, n), range(requests)))
            seconds = time.perf_counter() - began
            lines = _logged(logs, since, requests)
            results[name] = {
                "requests a second": round(requests / seconds, 1),
                "client": _spread(waited),
                "handler": _spread([line["ms"] for line in lines]),
                OWN: _spread([line["cpu_ms"] for line in lines]),
            }
            progress(f"{clients} at once, {name}: own CPU {results[name][OWN]['median']} ms")
    return results


def _lot(number: int) -> dict[str, Any]:
    return {"seller_id": "c-1", "title": f"Lot {number}", "category": "art", "currency": "EUR", "status": "draft"} | {
        "listed_at": _AT
    }


def _timed(request: Request, client: ApiClient, number: int) -> float:
    began = time.perf_counter()
    request(client, number)
    return (time.perf_counter() - began) * 1000


def _spread(milliseconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(milliseconds, n=100)
    return {"median": round(cuts[49], 2), "p95": round(cuts[94], 2), "p99": round(cuts[98], 2)}


def _logged(logs: Any, since: float, count: int) -> list[dict[str, Any]]:
    """The log's lines of this many requests since a moment (seconds since 1970)."""
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        texts = [text for text in _messages(logs, since) if text.startswith("{")]
        lines = [line for line in map(json.loads, texts) if line.get("message") == "request"]
        if len(lines) == count:
            return lines
        if time.monotonic() > deadline:
            raise RuntimeError(f"expected {count} lines of requests in {LOG_GROUP}, found {len(lines)}")
        time.sleep(0.2)


def _messages(logs: Any, since: float) -> Iterator[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=LOG_GROUP, startTime=int(since * 1000))
    for page in pages:
        yield from (event["message"] for event in page["events"])
