"""The way of the changes to the lake: the product's relay behind a poller, and a Firehose that writes what it took as
objects, late, twice, torn, in another order."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import Contract, Contracts
from contracts.change import CHANGE_COLUMNS
from local.pump import Policy, Pump, Record
from local.stream import S3FailureDestination
from ops.environment import Environment
from ops.redrive import Redrive
from realtime.deadline import Deadline
from realtime.relay.delivery import Delivery
from realtime.relay.handler import Relay
from realtime.relay.settings import Settings
from tests.simulation.source import Row
from tests.support import poller
from tests.support.poller import Chaos, Invocations, Memory, PollerDied, Seconds, Shards

_BUCKET = "lake"
_SETTINGS = Settings("test", _BUCKET, "alerts", "7")
_FUNCTION = "gavel-test-relay"


@dataclass
class Stream:
    """The stream's poller, the relay, and what AWS keeps of both. `contract` is the one that the relay knows."""

    chaos: Chaos
    records: list[Record]
    contract: Callable[[], Contract]
    aws: poller.World = field(init=False)
    memory: Memory = field(default_factory=Memory)
    pump: Pump | None = None

    def __post_init__(self) -> None:
        self.aws = poller.World(self.chaos)
        self.aws.functions[_FUNCTION] = self._redriven

    def flow(self, rng: random.Random) -> None:
        """Hand over what is in the stream, until it is through, been kept, or given up."""
        policy = Policy(batch_size=rng.randint(1, 12), maximum_retries=rng.randint(0, 3))
        given_up = S3FailureDestination(self.aws, _BUCKET, "stream", _FUNCTION, "relay")
        while True:
            run = Invocations(self.chaos, self._relayed)
            pump = Pump(Shards({"a": self.records}), run, given_up, self.memory, policy)
            try:
                counts = pump.drain()
            except PollerDied:
                continue
            self.chaos.struck["batch bisected or sent again"] += counts.retries > 0
            self.chaos.struck["batch given up"] += counts.given_up > 0
            return

    def redrive(self) -> None:
        """Put back what was kept, with nothing going wrong."""
        self.chaos.calm = True
        try:
            Redrive(Environment("test", lambda service: self.aws), _BUCKET).run()
        finally:
            self.chaos.calm = False

    def kept(self) -> set[str]:
        """The ids of the records that are kept whole, by the relay or in batches that were given up."""
        found = [*self.aws.kept()]
        for key, body in self.aws.objects.items():
            if key.startswith("aws/lambda/"):
                found += json.loads(json.loads(body)["payload"])["Records"]
        return {str(record["eventID"]) for record in found}

    def take(self) -> list[Row]:
        """What Firehose took since it was last looked at, as rows of text."""
        taken = [blob for stream in list(self.aws.taken) for blob in self.aws.taken.pop(stream)]
        return [json.loads(line) for blob in taken for line in blob.splitlines()]

    def _relay(self, clock: Seconds) -> Relay:
        contract = self.contract()
        delivery = Delivery(self.aws, pause=clock.pause, chance=lambda: 0.5)  # type: ignore[arg-type]
        contracts = Contracts({contract.name: contract})
        return Relay(_SETTINGS, contracts, delivery, s3=lambda: self.aws, sns=lambda: self.aws)

    def _relayed(self, batch: Sequence[Record]) -> dict[str, Any]:
        clock = Seconds(self.chaos.roll("time").uniform(0, 3))
        return self._relay(clock).run(batch, Deadline(clock.left))

    def _redriven(self, batch: Sequence[Record]) -> dict[str, Any]:
        return self._relay(Seconds(50)).redrive(batch, Deadline(lambda: 50.0))


@dataclass(frozen=True)
class Arrived:
    """An object that Firehose writes at a moment. `rows` is None where nobody can read it."""

    at: datetime
    key: str
    content: bytes
    rows: tuple[Row, ...] | None


@dataclass
class Firehose:
    """Objects of what it took, as they arrive in landing."""

    contract: Callable[[], Contract]
    write: Callable[[Arrived], None]
    often: float
    encode: bool = True
    """Whether objects have their content: not where nobody reads it."""
    fired: Counter[str] = field(default_factory=Counter)
    waiting: list[Arrived] = field(default_factory=list)
    written: list[Arrived] = field(default_factory=list)
    count: int = 0

    def deliver(self, rows: list[Row], now: datetime, rng: random.Random) -> None:
        """Make objects of the rows, and write those that are due."""
        cut = rng.choice([1, 1, 2])
        for part in filter(None, [rows[n::cut] for n in range(cut)]):
            self._object(part, now, rng)
        if self.written and self._goes_wrong("object delivered again under its key", rng):
            self.waiting.append(self._again(rng.choice(self.written), now, rng))
        if self._goes_wrong("object without a row", rng):
            self.waiting.append(self._of([], now, now))
        if self._goes_wrong("object of garbage", rng):
            self.waiting.append(Arrived(now, self._key(now), b"no parquet at all", None))
        self.arrive(now)

    def arrive(self, now: datetime) -> None:
        """Write what is due."""
        due = [o for o in self.waiting if o.at <= now]
        self.waiting = [o for o in self.waiting if o.at > now]
        for arrived in due:
            self.write(arrived)
            self.written.append(arrived)

    def _object(self, rows: list[Row], now: datetime, rng: random.Random) -> None:
        if self._goes_wrong("rows in another order", rng):
            rng.shuffle(rows)
        at = now
        if self._goes_wrong("object hours late", rng):
            at = now + timedelta(hours=rng.choice([1, 3, 20, 24]))
        whole = self._of(rows, now, at)
        if self._goes_wrong("object torn, then written whole", rng):
            self.waiting.append(Arrived(at, self._key(now), whole.content[: len(whole.content) // 2], None))
        self.waiting.append(whole)
        if self._goes_wrong("object twice", rng):
            self.waiting.append(self._of(rows, now, at + timedelta(minutes=rng.choice([0, 50, 500]))))

    def _again(self, arrived: Arrived, now: datetime, rng: random.Random) -> Arrived:
        """The same object, or a grown one, under its key; what was torn is whole then."""
        others = [o for o in self.written if o.rows]
        if arrived.rows is None or not others or rng.random() < 0.5:
            return Arrived(now, arrived.key, arrived.content, arrived.rows)
        self.fired["object grown under its key"] += 1
        newest = next(o for o in reversed(self.written) if o.key == arrived.key)
        rows = (*(newest.rows or ()), *(rng.choice(others).rows or ()))
        return Arrived(now, arrived.key, self._parquet(rows), rows)

    def _of(self, rows: Sequence[Row], hour: datetime, at: datetime) -> Arrived:
        return Arrived(at, self._key(hour), self._parquet(rows), tuple(rows))

    def _key(self, hour: datetime) -> str:
        self.count += 1
        return f"landing/{self.contract().name}/dt={hour:%Y-%m-%d}/hh={hour:%H}/firehose-{self.count:04d}.parquet"

    def _parquet(self, rows: Sequence[Row]) -> bytes:
        if not self.encode:
            return b""
        columns = (*self.contract().field_names, *CHANGE_COLUMNS)
        buffer = io.BytesIO()
        pq.write_table(pa.table({c: pa.array([r.get(c) for r in rows], pa.string()) for c in columns}), buffer)
        return buffer.getvalue()

    def _goes_wrong(self, kind: str, rng: random.Random) -> bool:
        happened = rng.random() < self.often
        self.fired[kind] += happened
        return happened
