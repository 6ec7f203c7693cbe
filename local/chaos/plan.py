"""What happens when in a run of chaos: a list of faults that follows from the seed and the length alone.

Nothing here knows how a fault is done. The same seed and length give the same plan on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REQUESTS: dict[str, tuple[str, ...]] = {
    "error500": ("s3 read", "s3 write", "glue read", "glue write", "dynamodb read", "dynamodb write", "firehose write"),
    "error503": ("s3 read", "s3 write", "glue read", "glue write", "dynamodb write", "firehose write"),
    "throttled": (
        "s3 read",
        "s3 write",
        "glue read",
        "glue write",
        "dynamodb read",
        "dynamodb write",
        "firehose write",
    ),
    "dropped": ("s3 read", "s3 write", "glue write", "dynamodb write", "firehose write"),
    "slow": ("s3 read", "s3 write", "glue read", "glue write", "dynamodb write", "firehose write"),
    "torn": ("s3 read", "s3 write", "glue read", "glue write", "dynamodb read", "dynamodb write", "firehose write"),
    "repeated": ("s3 write", "glue write", "dynamodb write", "firehose write"),
    "lost": ("s3 write", "glue write", "dynamodb write", "firehose write"),
    "full": ("s3 write",),
}
"""How requests are spoiled, and which: answered with an error, not carried out because the connection ends, late, with
half an answer, carried out twice, carried out without an answer, refused because nothing more can be stored."""

KILLS = ("pump", "relay", "api", "fanout", "worker", "dbt", "daemon", "code server", "emulator frozen")
"""What is killed without a word (the emulator is only frozen for a while)."""

CLOCKS = {"functions": (60, 3000), "pipeline": (30, 1200)}
"""Whose clock jumps, and by how many seconds, ahead or back; Dagster's by no more than the run is long: what Dagster
wrote down while it was ahead it waits for afterwards, a sensor's next look and the end of a place in a pool."""
CLOCK_LASTS = 20.0  # seconds until it is right again

ONCE = ("emulator restarted", "contract changed", "two rebuilds", "two recoveries")
"""What happens once in a run: each takes its time."""

REQUEST_GAP, KILL_GAP = (2.0, 6.0), (7.0, 16.0)  # seconds between two faults
BURSTS = ((1, 2), (3, 6), (10, 14))
"""How many requests one after the other are spoiled: what a client's second attempt gets over, what most get over,
what none gets over."""
SLOW = (0.5, 6.0)  # seconds


@dataclass(frozen=True)
class Fault:
    """One planned fault: `at` seconds after the start, `kind` (of `REQUESTS`, `kill`, `clock` or `once`), what it is
    done to, to how many requests, and for a slow or frozen one how many seconds, for a clock by how many it jumps."""

    number: int
    at: float
    kind: str
    target: str
    count: int = 1
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Kind and target, as tables count them."""
        return f"{self.kind} {self.target}"

    def __str__(self) -> str:
        more = f" x{self.count}" if self.count > 1 else ""
        return f"{self.number:4d}  {self.at:7.1f} s  {self.name}{more}" + (
            f"  {self.seconds} s" if self.seconds else ""
        )


def make_plan(seed: int, minutes: float) -> list[Fault]:
    """The faults of a run of so many minutes, in order of time; each kind comes before any comes again."""
    chance = random.Random(f"chaos {seed}")
    end = minutes * 60
    planned: list[tuple[float, str, str, int, float]] = []
    pairs = [(kind, target) for kind, targets in REQUESTS.items() for target in targets]
    at = chance.uniform(*REQUEST_GAP)
    for kind, target in endless(chance, pairs):
        if at >= end:
            break
        burst = chance.choices(BURSTS, (5, 3, 2))[0]
        seconds = round(chance.uniform(*SLOW), 1) if kind == "slow" else 0.0
        planned.append((at, kind, target, 1 if kind == "slow" else chance.randint(*burst), seconds))
        at += chance.uniform(*REQUEST_GAP)
    at = chance.uniform(*KILL_GAP)
    for kind, target in endless(chance, [("kill", kill) for kill in KILLS] + [("clock", whose) for whose in CLOCKS]):
        if at >= end:
            break
        seconds = round(chance.uniform(2, 8), 1) if "frozen" in target else 0.0
        if kind == "clock":
            least, most = CLOCKS[target]
            most = max(least, min(most, int(end))) if target == "pipeline" else most
            seconds = float(chance.randint(least, most) * chance.choice((1, -1)))
        planned.append((at, kind, target, 1, seconds))
        at += chance.uniform(*KILL_GAP)
    for target in ONCE:
        planned.append((chance.uniform(0.15, 0.85) * end, "once", target, 1, 0.0))
    planned.sort()
    return [
        Fault(number, round(at, 1), kind, target, count, seconds)
        for number, (at, kind, target, count, seconds) in enumerate(planned, start=1)
    ]


def endless(chance: random.Random, things: Sequence[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """All of them in an order of chance, again and again."""
    while True:
        yield from chance.sample(things, len(things))


def write_plan(plan: Sequence[Fault], path: Path, seed: int, minutes: float) -> None:
    """Keep a plan as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"seed": seed, "minutes": minutes, "faults": [asdict(fault) for fault in plan]}
    path.write_text(json.dumps(content, indent=2) + "\n")
