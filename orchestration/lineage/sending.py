"""Where OpenLineage events go: to a file of each day, to the bucket, or to an endpoint over HTTP.

A target takes events in order and says how many it has. One that begins again may be given events that it has: a file
and the bucket keep each once; an endpoint gets them twice where its answer was lost.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from lakehouse.storage.lake import Lake

HTTP_SECONDS = 5.0
"""For each answer of an endpoint."""
KEPT_DAYS, KEPT_BYTES = 30, 1 << 30
"""Files that a laptop keeps when a day begins: the last one, and those before it while all have so many bytes."""
PREFIX = "lineage/"
"""In the data bucket."""
_TAIL_BYTES = 8 << 20
_AGAIN = (408, 425, 429)
"""Refusals that mean later, not never."""


@dataclass(frozen=True)
class Part:
    """Events of one run from number `first` on, each a line of JSON, and the day (UTC) of the first: YYYY-MM-DD."""

    run_id: str
    first: int
    day: str
    events: Sequence[bytes]


@dataclass(frozen=True)
class Taken:
    """How many events a target took from the front, how many of these it refuses for good, and why it stopped."""

    count: int
    refused: int = 0
    problem: str = ""


class Target(Protocol):
    """Takes events."""

    def take(self, part: Part, until: float) -> Taken:
        """Take what can be taken until a moment of `time.monotonic`. Raises nothing that the outside causes."""


@dataclass(frozen=True)
class Files:
    """A file of NDJSON for each day, below a folder."""

    folder: Path

    def take(self, part: Part, until: float) -> Taken:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{part.day}.ndjson"
            if not path.exists():
                self._forget(part.day)
            _append(path, part.events)
        except OSError as error:
            return Taken(0, problem=f"{type(error).__name__}: {error}")
        return Taken(len(part.events))

    def _forget(self, day: str) -> None:
        from datetime import date

        oldest = (date.fromisoformat(day) - timedelta(days=KEPT_DAYS)).isoformat()
        kept = 0
        for number, path in enumerate(sorted(self.folder.glob("????-??-??.ndjson"), reverse=True)):
            kept += path.stat().st_size
            if path.stem < oldest or (number and kept > KEPT_BYTES):
                path.unlink()


def _append(path: Path, events: Sequence[bytes]) -> None:
    """Append the events that the end of the file does not have. A line that a dead process left in half is cut off."""
    with path.open("a+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            file.truncate(size - (len(tail) - whole))
        known = set(tail[:whole].splitlines())
        file.write(b"".join(event + b"\n" for event in events if event not in known))


@dataclass(frozen=True)
class Bucket:
    """Objects of NDJSON below `PREFIX` of the lake's bucket, named by the run and the number of the first event: what
    is written again takes the place of what was."""

    lake: Lake

    def take(self, part: Part, until: float) -> Taken:
        key = f"{PREFIX}dt={part.day}/{part.run_id}-{part.first:06d}.ndjson"
        try:
            self.lake.store.write(key, b"".join(event + b"\n" for event in part.events))
        except Exception as error:  # noqa: BLE001 - boto's errors have no common class; whatever it is, it is tried again
            return Taken(0, problem=f"{type(error).__name__}: {error}")
        return Taken(len(part.events))


@dataclass(frozen=True)
class Endpoint:
    """An HTTP endpoint that takes one event in each POST, as the standard's API has it."""

    url: str
    api_key: str | None = None
    seconds: float = HTTP_SECONDS

    def take(self, part: Part, until: float) -> Taken:
        count = refused = 0
        address = urlsplit(self.url)
        connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = connect(address.netloc, timeout=self.seconds)
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        path = f"{address.path or '/'}{'?' + address.query if address.query else ''}"
        try:
            while count < len(part.events) and time.monotonic() < until:
                connection.request("POST", path, part.events[count], headers)
                answer = connection.getresponse()
                answer.read(1 << 16)
                if answer.status >= 500 or answer.status in _AGAIN or 300 <= answer.status < 400:
                    return Taken(count, refused, f"{self.url} answered {answer.status} {answer.reason}")
                refused += answer.status >= 400
                count += 1
                if answer.getheader("Connection", "").lower() == "close":
                    connection.close()
        except (OSError, http.client.HTTPException) as error:
            return Taken(count, refused, f"{self.url}: {type(error).__name__}: {error}")
        finally:
            connection.close()
        left = len(part.events) - count
        return Taken(count, refused, f"{self.url} is slow: {left} events wait" if left else "")
