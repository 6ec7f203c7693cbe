"""The stream pump: what AWS's event source mapping does with a DynamoDB stream, as plain functions on plain data.

The emulator's own mapping repeats endlessly and drops what fails, so the laptop stack has this one. Here is the rule
for each outcome of an invocation and the loop that applies it; streams, functions and destinations come in through
small interfaces (`local.stream` has those of AWS). Nothing here sleeps, reads a clock or knows the network.

Semantics, after the AWS Lambda developer guide ("Process DynamoDB records with Lambda"):

- The records of a shard are handed over in order, a batch at a time; a child shard starts after its parent is finished.
- A function error bisects the batch where the mapping says so; splitting does not count as a retry, the halves keep the
  count. A batch that is not split is sent again until `maximum_retries`, then it goes whole to the failure destination.
- A partial batch response acknowledges everything before the *first* failed sequence number; what follows is sent
  again, the already successful included. Failing at the batch's first record acknowledges nothing and is treated as a
  function error. An item identifier that is empty or not of the batch fails the whole batch.
- Throttling is repeated and never counted. The checkpoint moves after each step, so a killed pump repeats at most one
  batch: delivery is at least once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Record = Mapping[str, Any]
"""A stream record as Lambda receives it; only `dynamodb.SequenceNumber` is looked at here."""


class PumpError(RuntimeError):
    """The pump cannot go on; says what it requested, what it got and what to do."""


@dataclass(frozen=True)
class Policy:
    """A mapping's settings; the defaults are those of `RelayMapping` in realtime/template.yaml.

    A batch is one page of the stream: at most 1000 records and 1 MB, well below the 6 MB that Lambda accepts.
    """

    batch_size: int = 1000
    maximum_retries: int = 3
    bisect: bool = True
    partial_responses: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= 1000 or self.maximum_retries < 0:
            raise ValueError(f"expected a batch size of 1 to 1000 and no negative retries, found {self}")


@dataclass(frozen=True)
class Batch:
    """Records that are handed over together, and how often that was already retried."""

    records: tuple[Record, ...]
    retries: int = 0


@dataclass(frozen=True)
class Succeeded:
    """The function returned. `response` is what it answered (possibly a partial batch response)."""

    response: object = None


@dataclass(frozen=True)
class Failed:
    """The function raised, timed out or could not start. `error` is what Lambda says about it."""

    error: str


@dataclass(frozen=True)
class Throttled:
    """The function was not invoked because there was no capacity; trying again does not count."""


Outcome = Succeeded | Failed | Throttled


@dataclass(frozen=True)
class Step:
    """What follows from one outcome: how many leading records are done with, and what to send next, in order.

    `given_up` is set when the retries are used up; its records count as done once the failure destination has them.
    """

    acknowledged: int
    again: tuple[Batch, ...] = ()
    given_up: Batch | None = None
    reason: str = ""


def sequence_number(record: Record) -> str:
    """The record's sequence number, as the text that AWS gave it."""
    return str(record["dynamodb"]["SequenceNumber"])


def after(batch: Batch, outcome: Outcome, policy: Policy) -> Step:
    """The step that AWS's event source mapping takes after `outcome`."""
    match outcome:
        case Throttled():
            return Step(0, (batch,), reason="throttled")
        case Failed(error):
            return _after_failure(batch, error, policy)
        case Succeeded(response):
            position = first_failure(batch, response) if policy.partial_responses else None
            if position is None:
                return Step(len(batch.records))
            reason = f"record {position + 1} of {len(batch.records)} was reported as failed"
            if position == 0:
                return _after_failure(batch, reason, policy)
            return Step(position, (Batch(batch.records[position:]),), reason=reason)


def _after_failure(batch: Batch, reason: str, policy: Policy) -> Step:
    if policy.bisect and len(batch.records) > 1:
        middle = len(batch.records) // 2
        halves = (batch.records[:middle], batch.records[middle:])
        return Step(0, tuple(Batch(half, batch.retries) for half in halves), reason=reason)
    if batch.retries < policy.maximum_retries:
        return Step(0, (Batch(batch.records, batch.retries + 1),), reason=reason)
    return Step(len(batch.records), given_up=batch, reason=reason)


def first_failure(batch: Batch, response: object) -> int | None:
    """The position of the first record that a partial batch response reports as failed; None if all succeeded.

    0 stands for a complete failure, too: an identifier that is empty or not in the batch, or a malformed response.
    """
    if response is None or response == "":
        return None
    if not isinstance(response, Mapping):
        return 0
    failures = response.get("batchItemFailures")
    if not failures:
        return None
    if not isinstance(failures, Sequence) or isinstance(failures, str):
        return 0
    positions = {sequence_number(record): i for i, record in enumerate(batch.records)}
    found = [
        positions.get(str(failure.get("itemIdentifier")), 0) if isinstance(failure, Mapping) else 0
        for failure in failures
    ]
    return min(found)


# ---- the loop ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shard:
    """A shard of the stream; it may only be read after its parent is finished."""

    shard_id: str
    parent_id: str | None = None


@dataclass(frozen=True)
class Page:
    """Records read from a shard, in order, and the iterator that reads on; None when the shard is closed and read."""

    records: tuple[Record, ...]
    next_iterator: str | None


class Stream(Protocol):
    """Where changes come from."""

    def shards(self) -> Sequence[Shard]: ...

    def iterator(self, shard_id: str, after: str | None) -> str:
        """Reads after that sequence number, or from the oldest record if it is None or no longer there."""
        ...

    def read(self, iterator: str, limit: int) -> Page: ...


class Function(Protocol):
    """What changes are handed to."""

    def invoke(self, shard_id: str, records: Sequence[Record]) -> Outcome: ...


class FailureDestination(Protocol):
    """Where batches go that were given up; it must keep the full records before it returns."""

    def keep(self, shard_id: str, batch: Batch, reason: str) -> None: ...


class Checkpoint(Protocol):
    """Remembers how far each shard was handled: the sequence number of its last finished record."""

    def load(self) -> dict[str, str]: ...

    def save(self, positions: Mapping[str, str]) -> None: ...


@dataclass
class Counts:
    """What one pump did so far; `handled` includes the records that were given up."""

    handled: int = 0
    invocations: int = 0
    retries: int = 0
    given_up: int = 0


@dataclass
class Pump:
    """Hands the records of a stream to a function, in order for each shard, until it must stop.

    `wait(attempt)` is called before sending again, with 1 for the first time; `progress` after each step.
    """

    stream: Stream
    function: Function
    failures: FailureDestination
    checkpoint: Checkpoint
    policy: Policy = field(default_factory=Policy)
    wait: Callable[[int], None] = lambda attempt: None
    progress: Callable[[Counts], None] = lambda counts: None
    counts: Counts = field(default_factory=Counts)
    _positions: dict[str, str] | None = None
    _iterators: dict[str, str] = field(default_factory=dict)
    _finished: set[str] = field(default_factory=set)

    def drain(self, stopping: Callable[[], bool] = lambda: False) -> Counts:
        """Hand over everything that is in the stream, and return when a look at every shard finds nothing more."""
        finished = -1
        while not stopping() and (self.round(stopping) or len(self._finished) != finished):
            finished = len(self._finished)
        return self.counts

    def round(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """One page of each shard that may be read; returns how many records were handled."""
        handled = 0
        for shard in self._readable():
            if stopping():
                break
            handled += self._page(shard.shard_id, stopping)
        return handled

    def _readable(self) -> list[Shard]:
        shards = list(self.stream.shards())
        known = {shard.shard_id for shard in shards}
        self._finished &= known
        return [
            s
            for s in shards
            if s.shard_id not in self._finished
            and (s.parent_id is None or s.parent_id not in known or s.parent_id in self._finished)
        ]

    @property
    def positions(self) -> dict[str, str]:
        """The sequence number of the last finished record of each shard."""
        if self._positions is None:
            self._positions = dict(self.checkpoint.load())
        return self._positions

    def _page(self, shard_id: str, stopping: Callable[[], bool]) -> int:
        iterator = self._iterators.pop(shard_id, None) or self.stream.iterator(shard_id, self.positions.get(shard_id))
        page = self.stream.read(iterator, self.policy.batch_size)
        before = self.counts.handled
        if page.records and not self._hand_over(shard_id, Batch(page.records), stopping):
            return self.counts.handled - before
        if page.next_iterator is None:
            self._finished.add(shard_id)
        else:
            self._iterators[shard_id] = page.next_iterator
        return self.counts.handled - before

    def _hand_over(self, shard_id: str, batch: Batch, stopping: Callable[[], bool]) -> bool:
        """Sends a batch and all that comes of it; False if stopped in between, with the checkpoint where it got to."""
        queue = deque([batch])
        repeated = 0
        while queue:
            if stopping():
                return False
            current = queue.popleft()
            self.counts.invocations += 1
            step = after(current, self.function.invoke(shard_id, current.records), self.policy)
            if step.given_up is not None:
                self.failures.keep(shard_id, step.given_up, step.reason)
                self.counts.given_up += len(step.given_up.records)
            if step.acknowledged:
                self.positions[shard_id] = sequence_number(current.records[step.acknowledged - 1])
                self.checkpoint.save(self.positions)
                self.counts.handled += step.acknowledged
            queue.extendleft(reversed(step.again))
            if step.again:
                self.counts.retries += 1
                repeated = 1 if step.acknowledged else repeated + 1
                self.wait(repeated)
            else:
                repeated = 0
            self.progress(self.counts)
        return True
