"""A store at a distance: a proxy before the emulator in which each request of S3 and Glue waits and is counted by kind.

It stands for the bucket and the catalog as a pipeline reaches them in a region: some tens of milliseconds a request, as
many at once as the client likes.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from local.chaos.proxy import Answer, Forward, Request, passing_on

LISTS = frozenset({"list-type", "versions", "uploads", "prefix"})
_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/(s3|glue)/")


@dataclass
class SlowStore:
    """Where it listens, and the requests so far by kind, such as `S3 GET`."""

    seconds: float
    url: str = ""
    counts: Counter[str] = field(default_factory=Counter)

    def answer(self, request: Request, forward: Forward) -> tuple[Answer, bool]:
        """Pass a request on after its time."""
        if found := kind(request):
            self.counts[found] += 1  # by many threads: a count that is lost now and then changes nothing
            time.sleep(self.seconds)
        return forward(request), False


def kind(request: Request) -> str:
    """How a request is counted, S3's LIST apart from its GET; empty for those of other services."""
    found = _SCOPE.search(request.header("authorization"))
    if found is None:
        return ""
    if found[1] == "glue":
        return f"Glue {request.header('x-amz-target').rpartition('.')[2]}"
    query = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
    return "S3 LIST" if request.method == "GET" and LISTS & query.keys() else f"S3 {request.method}"


@contextmanager
def slow_store(port: int, seconds: float) -> Iterator[SlowStore]:
    """A proxy before an emulator on this port, in which each request waits so many seconds."""
    store = SlowStore(seconds)
    with passing_on(port, store.answer) as open_at:
        store.url = f"http://127.0.0.1:{open_at}"
        yield store
