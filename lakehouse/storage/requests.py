"""What a lake requests of S3 and Glue, by what it is billed as, and bytes.

Every request of a boto3 client is counted as it leaves, so that pages, parts of large objects and what a client sends
again count, too; those of DuckDB, which reads S3 by itself, are counted from its own log. A lake in a folder requests
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

_FREE = frozenset({"AbortMultipartUpload", "DeleteObject", "DeleteObjects"})
_GETS = frozenset({"GetObject", "HeadObject", "HeadBucket"})


@dataclass(frozen=True)
class Requests:
    """Requests so far. `puts` are S3's PUT, COPY, POST and LIST, `gets` its GET and HEAD; deleting is free and does not
    count. `sent` and `fetched` are bytes to and from S3."""

    puts: int = 0
    gets: int = 0
    glue: int = 0
    sent: int = 0
    fetched: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Requests) -> Requests:
        return Requests(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


def counted(requests: Requests) -> dict[str, Any]:
    """The requests under the names of the publication log's columns."""
    return {
        "put_requests": requests.puts,
        "get_requests": requests.gets,
        "glue_requests": requests.glue,
        "bytes_sent": requests.sent,
        "bytes_fetched": requests.fetched,
    }


_apart: ContextVar[list[Requests] | None] = ContextVar("apart", default=None)
"""What was requested in this context, if somebody counts that."""


@contextmanager
def apart() -> Iterator[None]:
    """Count what this context requests by itself meanwhile: `Meter.read` gives that, and not what others do."""
    token = _apart.set([Requests()])
    try:
        yield
    finally:
        _apart.reset(token)


class Meter:
    """Counts the requests of one lake, from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._so_far = Requests()
        self._taking = Lock()
        self._logs: dict[int, tuple[duckdb.DuckDBPyConnection, int]] = {}
        """By engine: what reads its log, and how many follow it."""

    def read(self) -> Requests:
        """The requests so far: of all who use the lake, or of this context where it is counted `apart`."""
        with self._taking:
            for connection, _ in self._logs.values():
                self.add(take_logged(connection))
        mine = _apart.get()
        with self._lock:
            return self._so_far if mine is None else mine[0]

    @contextmanager
    def following(self, engine: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Count what an engine that writes its requests down reads meanwhile. What several do at once in one engine
        counts for whoever looks first."""
        with self._taking:
            connection, users = self._logs.get(id(engine)) or (engine.cursor(), 0)
            self._logs[id(engine)] = connection, users + 1
        try:
            yield
        finally:
            with self._taking:
                self.add(take_logged(connection))
                connection, users = self._logs.pop(id(engine))
                if users > 1:
                    self._logs[id(engine)] = connection, users - 1
                else:
                    connection.close()

    def add(self, requests: Requests) -> None:
        """Count these, too."""
        mine = _apart.get()
        with self._lock:
            self._so_far += requests
            if mine is not None:
                mine[0] += requests

    def watch(self, client: Any) -> None:
        """Count what a boto3 client of S3 or Glue will ask."""
        service = client.meta.service_model.service_name
        if service in ("s3", "glue"):
            client.meta.events.register(f"before-send.{service}", self._leaves)
            client.meta.events.register(f"response-received.{service}", self._answered)

    def _leaves(self, request: Any, event_name: str, **kwargs: Any) -> None:
        service, operation = event_name.split(".")[1:]
        if service == "glue":
            self.add(Requests(glue=1))
        elif operation not in _FREE:
            kind = "gets" if operation in _GETS else "puts"
            sent = _size(request.headers) if kind == "puts" else 0
            self.add(Requests(**{kind: 1}, sent=sent))

    def _answered(self, response_dict: Any, event_name: str, **kwargs: Any) -> None:
        if event_name.endswith(".s3.GetObject") and response_dict and response_dict["status_code"] < 300:
            self.add(Requests(fetched=int(response_dict["headers"].get("Content-Length") or 0)))


def _size(headers: Any) -> int:
    """Bytes of a request's body, without what a checksum behind it adds."""
    return int(headers.get("X-Amz-Decoded-Content-Length") or headers.get("Content-Length") or 0)


LOG_REQUESTS = "CALL enable_logging('HTTP', storage = 'memory')"
"""What makes DuckDB write down its requests."""
_LOGGED = """
SELECT count(*) FILTER (kind IN ('GET', 'HEAD')),
       coalesce(sum(coalesce(last - first + 1, size)) FILTER (kind = 'GET'), 0)
FROM (
    SELECT request.type AS kind, TRY_CAST(response.headers['Content-Length'] AS BIGINT) AS size,
           TRY_CAST(regexp_extract(request.headers['Range'], '([0-9]+)-', 1) AS BIGINT) AS first,
           TRY_CAST(regexp_extract(request.headers['Range'], '-([0-9]+)', 1) AS BIGINT) AS last
    FROM duckdb_logs_parsed('HTTP')
)
"""


def take_logged(connection: duckdb.DuckDBPyConnection) -> Requests:
    """The requests in DuckDB's log, which is empty afterwards: it only reads. None of one that failed for good."""
    import duckdb

    try:
        gets, fetched = connection.execute(_LOGGED).fetchall()[0]
        connection.execute("CALL truncate_duckdb_logs()")
    except duckdb.Error:  # an engine that answers nothing any more: a batch that fails is not made to fail by a count
        return Requests()
    return Requests(gets=int(gets), fetched=int(fetched))
