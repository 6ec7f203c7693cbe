"""A lake whose store and catalog fail where a test wants them to, or let another writer act there.

Every write of the engine goes through `Lake.store` and `Lake.entries`; here each of their writes is an operation with a
number. Reading an entry is an operation too, since what another writer does right after it matters. A delete of many
keys is one operation per key, because S3 deletes them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from tests.support.lakes import Clock, local_lake

_STORE_WRITES = frozenset({"write", "upload", "copy"})
_STORE_READS = frozenset({"read", "read_part", "download", "list"})
_ENTRY_WRITES = frozenset({"create", "update", "delete"})

Kind = Literal["crash", "error", "refusal"]


class Crash(BaseException):
    """The process died here. No `Exception`, so that nothing in the engine can catch it."""


class Unanswered(OSError):
    """A request without an answer: its sender cannot know whether it took effect."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the operation number `at` (from 1), `after` it took effect or instead of that.

    `crash`: the process dies. `error`: the request fails without an answer, and the process lives on. `refusal`: the
    client sent a request again whose answer was lost, and the repetition was refused; so it did take effect.
    """

    at: int
    kind: Kind = "crash"
    after: bool = True

    def __str__(self) -> str:
        return f"{self.kind} {'after' if self.after else 'instead of'} operation {self.at}"


@dataclass(frozen=True)
class Operation:
    """One call of the store or the catalog: what it was, and whether it writes."""

    name: str
    writes: bool

    @property
    def kind(self) -> str:
        """What it does, and to which area, without the file's own name."""
        return self.name.rpartition("/")[0] or self.name


class Failpoints:
    """Numbers the operations of one process and strikes at one of them.

    `fault` is what goes wrong. `meanwhile` (number, action) lets another writer act once, right before that operation.
    `watch` is called before and after every operation that writes, as a reader that may look at any moment.
    """

    def __init__(
        self,
        fault: Fault | None = None,
        meanwhile: tuple[int, Callable[[], None]] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> None:
        self.arm(fault, meanwhile, watch)

    def arm(
        self,
        fault: Fault | None = None,
        meanwhile: tuple[int, Callable[[], None]] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> None:
        """Begin to count from zero, with this fault."""
        self.fault, self.meanwhile, self.watch = fault, meanwhile, watch
        self._lock = Lock()
        self._dead: Crash | None = None
        self.operations: list[Operation] = []
        self.struck = False
        """Whether the fault or the other writer had its turn."""

    def pass_through(self, name: str, writes: bool, call: Callable[[], Any]) -> Any:
        """One operation. One at a time, also from several threads; none after the process died."""
        with self._lock:
            if self._dead is not None:
                raise self._dead
            self.operations.append(Operation(name, writes))
            if self.meanwhile is not None and self.meanwhile[0] == len(self.operations):
                self.struck = True
                self.meanwhile[1]()
            if not writes or self.watch is None:
                return self._call(name, writes, call)
            self.watch()
            try:
                return self._call(name, writes, call)
            finally:
                self.watch()

    def _call(self, name: str, writes: bool, call: Callable[[], Any]) -> Any:
        if self.fault is None or self.fault.at != len(self.operations):
            return call()
        self.struck = True
        try:
            return _failing(self.fault, name, writes, call)
        except Crash as crash:
            self._dead = crash
            raise


def _failing(fault: Fault, name: str, writes: bool, call: Callable[[], Any]) -> Any:
    """The call with its fault. A refusal makes sense for a write of an entry only: any other write may be repeated."""
    refused = fault.kind == "refusal"
    answer = call() if fault.after or refused else None
    if refused and name.startswith("entries.") and writes:
        raise EntryConflict(f"{name}: the repetition of a request was refused")
    if fault.kind == "crash":
        raise Crash(f"{fault}: {name}")
    if fault.kind == "error":
        raise Unanswered(f"{fault}: {name}")
    return answer


class _FailingStore:
    def __init__(self, inner: Any, points: Failpoints, reads: bool) -> None:
        self._inner, self._points, self._reads = inner, points, _STORE_READS if reads else frozenset()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _STORE_WRITES | self._reads:
            return found
        writes = name in _STORE_WRITES

        def call(*arguments: Any) -> Any:
            key = next(a for a in (reversed(arguments) if writes else arguments) if isinstance(a, str))
            return self._points.pass_through(f"store.{name} {key}", writes, lambda: found(*arguments))

        return call

    def delete(self, keys: Iterable[str]) -> None:
        for key in sorted(set(keys)):
            self._points.pass_through(f"store.delete {key}", True, lambda key=key: self._inner.delete([key]))


class _FailingEntries:
    def __init__(self, inner: Any, points: Failpoints) -> None:
        self._inner, self._points = inner, points

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _ENTRY_WRITES and name != "get":
            return found

        def call(*arguments: Any) -> Any:
            about = " ".join(a for a in arguments if isinstance(a, str))
            return self._points.pass_through(
                f"entries.{name} {about}", name in _ENTRY_WRITES, lambda: found(*arguments)
            )

        return call


def failing_lake(root: Path, points: Failpoints, clock: Clock | None = None, reads: bool = False) -> Lake:
    """A new process over the lake in a folder; its operations pass through the failpoints, with `reads` also those that
    only read the bucket."""
    lake = local_lake(root, clock)
    lake.__dict__["store"] = _FailingStore(lake.store, points, reads)
    lake.__dict__["entries"] = _FailingEntries(lake.entries, points)
    return lake
