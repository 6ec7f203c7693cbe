"""What goes wrong at the boundaries of a job of the lake, by name, and where: before, after or instead of one call of
the bucket, the catalog or DuckDB.

Here is what each fault does to the call that it strikes. Which one strikes is drawn in `history`; what goes wrong on
the way to the lake is in `tests.support.poller` (stream, relay) and `arrival` (Firehose).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from botocore.exceptions import ClientError, ReadTimeoutError, ResponseStreamingError

from lakehouse.storage.duck import Duck
from lakehouse.storage.entries import EntryConflict
from tests.support.failing import Crash, Failpoints, Operation

Call = Callable[[], Any]


@dataclass(frozen=True)
class Planned:
    """A fault at the `nth` (from 1) operation of a class."""

    kind: str
    of: str
    nth: int

    def __str__(self) -> str:
        return f"{self.kind}, at {self.of} {self.nth}"


def class_of(name: str) -> str:
    """The class of an operation: `write`, `delete`, `read`, `list`, `look` and `move` (of an entry), `statement`."""
    called = name.split(" ", 1)[0]
    return {
        "store.write": "write",
        "store.upload": "write",
        "store.copy": "write",
        "store.delete": "delete",
        "store.list": "list",
        "entries.get": "look",
        "duck": "statement",
    }.get(called, "move" if called.startswith("entries.") else "read")


class Boundaries(Failpoints):
    """The boundaries of one process: counts its operations by class, and strikes where it is planned.

    `others` are what another process does in between, by the name of the fault; `pass_time` lets seconds go by.
    """

    def __init__(self, others: dict[str, Callable[[], None]], pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self.others, self.pass_time = others, pass_time
        self.suspended = False
        self.fired: Counter[str] = Counter()
        self.injected: list[BaseException] = []
        self.plan([])

    def plan(self, planned: list[Planned], watch: Callable[[], None] | None = None) -> None:
        """Begin to count from zero, with these faults."""
        self.arm(watch=watch)
        self.waiting = {(p.of, p.nth): p.kind for p in planned}
        self.seen: Counter[str] = Counter()
        self.here: list[str] = []
        self.injected = []

    def pass_through(self, name: str, writes: bool, call: Call) -> Any:
        return call() if self.suspended else super().pass_through(name, writes, call)

    def _call(self, name: str, writes: bool, call: Call) -> Any:
        of = class_of(name)
        self.seen[of] += 1
        kind = self.waiting.pop((of, self.seen[of]), None)
        if kind is None:
            return call()
        self.struck = True
        self.fired[kind] += 1
        self.here.append(f"{kind}: {Operation(name, writes).kind}")
        try:
            return self._strike(kind, name, call)
        except Crash as crash:
            self._dead = crash
            raise
        except BaseException as error:
            self.injected.append(error)
            raise

    def _strike(self, kind: str, name: str, call: Call) -> Any:
        if kind in self.others:
            found = call()
            self.suspended = True
            try:
                self.others[kind]()
            finally:
                self.suspended = False
            return found
        return KINDS[kind].strike(Struck(name, call, self.pass_time, self.injected))


@dataclass(frozen=True)
class Struck:
    """The call that a fault strikes."""

    name: str
    call: Call
    pass_time: Callable[[float], None]
    injected: list[BaseException]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: the classes of operations that it strikes, and what it does."""

    of: tuple[str, ...]
    strike: Callable[[Struck], Any]


def refusal(code: str) -> ClientError:
    """What AWS answers when it takes nothing."""
    return ClientError(
        {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "Simulated"
    )


def _raising(error: Callable[[], BaseException], *, after: bool = False) -> Callable[[Struck], Any]:
    def strike(struck: Struck) -> Any:
        if after:
            struck.call()
        raise error()

    return strike


def _killed(*, after: bool) -> Callable[[Struck], Any]:
    return _raising(lambda: Crash("the process died"), after=after)


def _no_answer() -> BaseException:
    return ReadTimeoutError(endpoint_url="https://aws")


def _torn(struck: Struck) -> Any:
    """An answer that ends in its middle: a file has a half of it, and the client says so."""
    found = struck.call()
    if found is None:  # a download
        for path in _paths_of(struck.call):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    raise ResponseStreamingError(error="the connection was closed in the middle of an answer")


def _paths_of(call: Call) -> Iterator[Path]:
    for cell in call.__closure__ or ():
        content = cell.cell_contents
        yield from (a for a in (content if isinstance(content, tuple) else ()) if isinstance(a, Path))


def _breaks_off(struck: Struck) -> Iterator[Any]:
    """A listing whose next page is refused."""
    found = list(struck.call())

    def pages() -> Iterator[Any]:
        yield from found[: len(found) // 2]
        struck.injected.append(refusal("InternalError"))
        raise struck.injected[-1]

    return pages()


def _slow(struck: Struck) -> Any:
    struck.pass_time(900)
    return struck.call()


def _refused_repetition(struck: Struck) -> Any:
    struck.call()
    raise EntryConflict("the repetition of a request whose answer was lost was refused")


def _done_without_an_answer(struck: Struck) -> Any:
    struck.call()
    raise _no_answer()


_ANYWHERE = ("write", "delete", "read", "list", "look", "move", "statement")
_S3 = ("write", "delete", "read", "list")
KINDS: dict[str, Kind] = {
    "killed before a write to S3": Kind(("write",), _killed(after=False)),
    "killed after a write to S3": Kind(("write",), _killed(after=True)),
    "killed between deletes on S3": Kind(("delete",), _killed(after=True)),
    "killed before a move in Glue": Kind(("move",), _killed(after=False)),
    "killed after a move in Glue": Kind(("move",), _killed(after=True)),
    "killed while it reads": Kind(("read", "list", "look"), _killed(after=True)),
    "killed at a statement": Kind(("statement",), _killed(after=False)),
    "S3 refuses a write (503)": Kind(("write",), _raising(lambda: refusal("SlowDown"))),
    "S3 writes, the answer is lost": Kind(("write",), _done_without_an_answer),
    "S3 does not write, no answer": Kind(("write",), _raising(_no_answer)),
    "S3 refuses a delete": Kind(("delete",), _raising(lambda: OSError("could not delete 1 objects"))),
    "S3 deletes, the answer is lost": Kind(("delete",), _done_without_an_answer),
    "S3 refuses a read (500)": Kind(("read",), _raising(lambda: refusal("InternalError"))),
    "S3's answer is torn": Kind(("read",), _torn),
    "S3 is slow": Kind(_S3, _slow),
    "a listing breaks off": Kind(("list",), _breaks_off),
    "Glue throttles a look": Kind(("look",), _raising(lambda: refusal("ThrottlingException"))),
    "Glue throttles a move": Kind(("move",), _raising(lambda: refusal("ThrottlingException"))),
    "Glue moves, the answer is lost": Kind(("move",), _done_without_an_answer),
    "Glue moves, the repetition is refused": Kind(("move",), _refused_repetition),
    "Glue is slow": Kind(("look", "move"), _slow),
    "DuckDB's disk is full": Kind(
        ("statement",),
        _raising(lambda: duckdb.OutOfMemoryException("failed to offload: max_temp_directory_size exceeded")),
    ),
    "the machine's disk is full": Kind(("statement",), _raising(lambda: OSError(28, "No space left on device"))),
    "DuckDB cannot read S3 (503)": Kind(("statement",), _raising(lambda: duckdb.HTTPException("HTTP 503 from S3"))),
    "DuckDB needs more than its limit": Kind(
        ("statement",), _raising(lambda: duckdb.OutOfMemoryException("could not allocate (61.0 MiB/61.0 MiB used)"))
    ),
}
"""What strikes one call. What others do meanwhile is added by each history: see `OTHERS`."""
OTHERS: dict[str, tuple[str, ...]] = {
    "meanwhile an object lands": _ANYWHERE,
    "meanwhile another tick": _ANYWHERE,
    "meanwhile maintenance": _ANYWHERE,
    "meanwhile another rebuild": _ANYWHERE,
    "meanwhile another requeue": _ANYWHERE,
    "meanwhile another replay": _ANYWHERE,
    "meanwhile a roll back": _ANYWHERE,
    "meanwhile another recovery": _ANYWHERE,
    "meanwhile a new contract": _ANYWHERE,
    "meanwhile the clock jumps": _ANYWHERE,
}


class StruckDuck(Duck):
    """A batch's connection whose statements pass through the boundaries of the process in hand."""

    boundaries: Boundaries

    def run(self, sql: str, parameters: object = None) -> None:
        self._through(lambda: super(StruckDuck, self).run(sql, parameters))

    def rows(self, sql: str, parameters: object = None) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._through(lambda: super(StruckDuck, self).rows(sql, parameters))
        return found

    def arrow(self, sql: str, parameters: object = None) -> Any:
        return self._through(lambda: super(StruckDuck, self).arrow(sql, parameters))

    def _through(self, call: Call) -> Any:
        return self.boundaries.pass_through("duck", False, call)
