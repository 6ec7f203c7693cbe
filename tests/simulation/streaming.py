"""Histories of the first half of the way alone: table, stream, relay, Firehose, landing. They cost a small part of
those that go on through the lake, so that rare meetings of faults are played, too.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest import mock

from contracts import Contract
from tests.simulation.arrival import Arrived, Firehose, Stream
from tests.simulation.history import OneAfterTheOther, Result, SimulationFailed
from tests.simulation.oracle import Wrong, expect, fold
from tests.simulation.source import GENERATIONS, Event, Row, Source, said
from tests.support.lakes import Clock
from tests.support.poller import Chaos

MOST_STEPS = 6


@dataclass
class Streaming:
    """What is on its way, and what landed."""

    seed: int
    generation: int = 0
    clock: Clock = field(default_factory=Clock)
    trace: list[str] = field(default_factory=list)
    landed: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = random.Random(f"stream {self.seed}")
        self.chaos = Chaos(self.seed, rng.choice([0, 5, 15, 15, 40]))
        self.source = Source(None, self.clock)  # type: ignore[arg-type]  (no lake is behind it)
        self.stream = Stream(self.chaos, self.source.records, lambda: self.contract)
        self.firehose = Firehose(lambda: self.contract, self._write, rng.choice([0, 0.2, 0.5]), encode=False)

    @property
    def contract(self) -> Contract:
        return GENERATIONS[self.generation]

    def step(self, number: int) -> None:
        """Changes happen, and some of them land."""
        rng = random.Random(f"stream {self.seed} {number}")
        self.clock.forward(minutes=rng.choice([0, 1, 61, 1500]))
        for _ in range(rng.randint(0, 6)):
            self.trace.append(self.source.happen(rng))
            self.clock.forward(seconds=rng.choice([0, 0, 1, 100]))
        self.source.expire()
        if rng.random() < 0.1:
            self.generation = min(self.generation + 1, len(GENERATIONS) - 1)
        if rng.random() < 0.8:
            self.stream.flow(rng)
        if rng.random() < 0.2:
            self.stream.redrive()
        self.firehose.deliver(self.stream.take(), self.clock(), rng)
        self.trace.append(f"step {number}: {len(self.landed)} rows landed, {len(self.stream.aws.objects)} objects kept")

    def end(self) -> None:
        """Nothing goes wrong any more: every change has landed as it was, and what is left is what cannot land."""
        rng = random.Random(f"stream {self.seed} end")
        self.chaos.often, self.firehose.often = 0, 0
        self.stream.flow(rng)
        self.stream.redrive()
        self.firehose.deliver(self.stream.take(), self.clock(), rng)
        self.firehose.arrive(self.clock() + timedelta(days=3))
        kept, poison = self.stream.kept(), {record["eventID"] for record in self.source.poison}
        expect(kept == poison, f"expected {sorted(poison)} to be kept, found {sorted(kept)}")
        known = self.source.known
        found = {row["_event_id"] for row in self.landed}
        expect(
            found == known.keys(), f"lost: {sorted(known.keys() - found)}, or invented: {sorted(found - known.keys())}"
        )
        for row in self.landed:
            expect(said(typed(row)) == known[row["_event_id"]].row, f"wrong: {row}, expected {known[row['_event_id']]}")
        order = {row["_event_id"]: (int(row["_version"]), int(row["_seq"])) for row in self.landed}
        last = fold(Event(e.id, e.key, order[e.id], e.row, e.state) for e in known.values())
        expect(last.keys() == self.source.latest().keys(), "other keys")
        for key, event in self.source.latest().items():
            expect(last[key].id == event.id, f"{key}: expected {event.id} to be its last change, found {last[key].id}")

    def _write(self, arrived: Arrived) -> None:
        self.landed += arrived.rows or ()


def typed(row: Mapping[str, str | None]) -> Row:
    """A landed row with the values that its text says."""
    found: Row = dict(row)
    found["part"], found["_version"] = int(row["part"] or 0), int(row["_version"] or 0)
    found["price"] = Decimal(row["price"] or "NaN")
    found["sent_at"] = datetime.fromisoformat(row["sent_at"] or "").astimezone(UTC).replace(tzinfo=None)
    return found


def play(seed: int) -> Result:
    """Play a history; raises `SimulationFailed`."""
    history = Streaming(seed)
    with redirect_stdout(io.StringIO()), mock.patch("realtime.relay.handler.ThreadPoolExecutor", OneAfterTheOther):
        try:
            for number in range(random.Random(f"length {seed}").randint(1, MOST_STEPS)):
                history.step(number)
            history.end()
        except (Wrong, Exception) as error:
            happened = "\n".join(f"  {line}" for line in history.trace[-30:])
            raise SimulationFailed(
                f"seed {seed}: {type(error).__name__}: {error}\n{happened}\n"
                f"play it again: python -m tests.simulation --part stream --seeds {seed}"
            ) from error
    history.trace.append(hashlib.sha256(json.dumps(history.landed).encode()).hexdigest())
    return Result(seed, history.trace, history.chaos.struck + history.firehose.fired, Counter(), 0)
