"""One history: a plan by a seed, played step by step against the oracle.

The plan says what happens in each step, and each step has dice of its own, so that a step that is left out changes no
other one: a failing history is shortened by leaving out what it does not need.
"""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from pyiceberg.exceptions import CommitFailedException

from contracts import Contract
from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.publish.audit import Audited
from lakehouse.results import (
    BatchResult,
    CatalogLost,
    Check,
    FilesMissing,
    MaintenanceOvertaken,
    NotAudited,
    RebuildFailed,
    StateRetention,
    silent,
)
from lakehouse.storage import duck
from lakehouse.storage.context import Context
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from tests.simulation.arrival import Arrived, Firehose, Stream
from tests.simulation.faults import KINDS, OTHERS, Boundaries, Planned, StruckDuck
from tests.simulation.oracle import Oracle, State, expect
from tests.simulation.source import BAD, GENERATIONS, POISON, WIDE, Source
from tests.support.ageing import ageing
from tests.support.failing import Crash, failing_lake
from tests.support.lakes import Clock, local_lake
from tests.support.limits import LIMITS, limits
from tests.support.poller import Chaos

STATE_RETENTION = StateRetention(recent=timedelta(hours=2), days=0, states=2, grace=timedelta(hours=2))
MOST_STEPS = 4
JOBS = {
    "tick": 10.0,
    "nightly": 1.5,
    "compact": 1.0,
    "publish": 0.5,
    "maintain": 2.0,
    "rebuild": 1.0,
    "requeue": 1.0,
    "replay": 1.0,
    "roll back": 0.7,
    "lose the catalog": 0.7,
}
"""The jobs of a step, and how often each is done."""
_USUAL = {"write": 8, "delete": 3, "read": 12, "list": 2, "look": 10, "move": 6, "statement": 60}
"""Among how many operations of a class a fault is placed."""
_OTHER_WRITERS = (EntryConflict, CommitFailedException, NotAudited, MaintenanceOvertaken)
"""How a job may end that another writer was quicker than, or that finds what a job left behind that died."""


def no_poison(audited: Audited) -> Check:
    """An invariant that some changes break."""
    found = audited.duck.count(
        f"SELECT count(*) FROM valid SEMI JOIN accepted USING (_rid) WHERE recipient = '{POISON}'"
    )
    return Check("no poison", found == 0, f"found {found}")


class SimulationFailed(AssertionError):
    """A history in which the lake was wrong: what happened, and how to play it again."""


@dataclass(frozen=True)
class Step:
    """What happens in a step: `number` seeds its dice."""

    number: int
    job: str
    faults: tuple[Planned, ...]

    def __str__(self) -> str:
        return f"step {self.number}: {self.job}" + "".join(f"; {planned}" for planned in self.faults)


@dataclass
class Result:
    """What came of a history."""

    seed: int
    trace: list[str]
    fired: Counter[str]
    jobs: Counter[str]
    states: int

    @property
    def digest(self) -> str:
        """The same for histories that went the same way."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


def plan(seed: int) -> list[Step]:
    """The steps of a history."""
    rng = random.Random(f"plan {seed}")
    return [_step(number, rng) for number in range(rng.randint(2, MOST_STEPS))]


def _step(number: int, rng: random.Random) -> Step:
    (job,) = rng.choices([*JOBS], [*JOBS.values()])
    planned = []
    for _ in range(rng.choices([0, 1, 2], [2, 6, 2])[0]):
        if rng.random() < 0.25:
            kind = rng.choice([*OTHERS])
            of = rng.choice(OTHERS[kind])
        else:
            kind = rng.choice([*KINDS])
            of = rng.choice(KINDS[kind].of)
        planned.append(Planned(kind, of, 1 + rng.randrange(_USUAL[of])))
    return Step(number, job, tuple(planned))


def play(seed: int, only: Sequence[int] | None = None, steps: Sequence[Step] = ()) -> Result:
    """Play a history, with `only` some of its steps, or with other `steps`; raises `SimulationFailed`."""
    steps = steps or [s for s in plan(seed) if only is None or s.number in only]
    with _world(seed) as history:
        try:
            for step in steps:
                history.step(step)
            history.end()
        except Exception as error:
            happened = "\n".join(f"  {line}" for line in history.trace[-30:])
            chosen = "" if only is None else f" --steps {','.join(map(str, only))}"
            raise SimulationFailed(
                f"seed {seed}: {type(error).__name__}: {error}\n{happened}\n"
                f"play it again: python -m tests.simulation --seeds {seed}{chosen}"
            ) from error
        return Result(seed, history.trace, history.fired(), history.jobs, history.oracle.checked)


def shortest(seed: int) -> SimulationFailed | None:
    """The failure of a history with as few of its steps as need be; None if it does not fail."""
    numbers = [step.number for step in plan(seed)]
    failure = _failure(seed, None)
    for number in list(numbers) if failure else ():
        fewer = [n for n in numbers if n != number]
        if shorter := _failure(seed, fewer):
            numbers, failure = fewer, shorter
    return failure


def _failure(seed: int, only: Sequence[int] | None) -> SimulationFailed | None:
    try:
        play(seed, only)
    except SimulationFailed as failed:
        return failed
    return None


@contextmanager
def _world(seed: int) -> Iterator[History]:
    """A new history on a machine of its own: nothing in it depends on chance, on threads, or on the time."""
    chance = random.Random(f"names {seed}")
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="gavel-simulation-", dir=memory if memory.is_dir() else None))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        clock = Clock()
        stack.enter_context(ageing(clock))
        stack.enter_context(limits(random.Random(f"limits {seed}").choice([*LIMITS])))
        for place in ("concurrent.futures", "realtime.relay.handler", "lakehouse.publish.publication_log"):
            stack.enter_context(mock.patch(f"{place}.ThreadPoolExecutor", OneAfterTheOther))
        stack.enter_context(mock.patch("uuid.uuid4", partial(_identity, chance)))
        stack.enter_context(mock.patch.object(duck, "_Engine", _engine))
        stack.enter_context(mock.patch.object(duck, "Duck", StruckDuck))
        stack.enter_context(redirect_stdout(io.StringIO()))  # what the relay logs
        history = History(seed, folder, clock)
        stack.enter_context(mock.patch.object(StruckDuck, "boundaries", history.boundaries, create=True))
        stack.enter_context(mock.patch("lakehouse.batch.chunks.CHUNK_OBJECTS", history.chunk))
        yield history


def _identity(chance: random.Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=4)


_engines: dict[tuple[Any, ...], Any] = {}
_new_engine = duck._Engine


def _engine(options: Any) -> Any:
    """One engine for all histories: what a batch makes in it are temporary things of its own connection."""
    known = (options.threads, options.memory_limit)
    if known not in _engines:
        _engines[known] = _new_engine(replace(options, scratch=None))
    return _engines[known]


class OneAfterTheOther:
    """Threads that are none, so that a history is the same each time."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> OneAfterTheOther:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        return [function(*each) for each in zip(*arguments, strict=False)]

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*arguments))
        return done


def _databases(lake: Lake) -> tuple[str, str]:
    return lake.work_database, lake.published_database


@dataclass
class History:
    """The table, the way of its changes, the lake, and what went on."""

    seed: int
    folder: Path
    clock: Clock
    skew: timedelta = timedelta(0)
    """By how much the worker's clock is before AWS's."""
    generation: int = 0
    trace: list[str] = field(default_factory=list)
    jobs: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    published: State | None = None
    looks: set[str] = field(default_factory=set)
    """Where readers found the table lately."""
    backwards: bool = False
    """Whether somebody rolled the table back since it was last looked at."""
    lost: bool = False
    """Whether entries of the catalog are gone, and nobody has recovered them for sure."""
    doubtful: bool = False
    """Whether a job may have left work tables behind."""

    def __post_init__(self) -> None:
        rng = random.Random(f"world {self.seed}")
        self.chunk = rng.choice([1, 2, *[5_000] * 8])
        self.chaos = Chaos(self.seed, rng.choice([0, 5, 15, 40]))
        others = {
            "meanwhile an object lands": self._lands,
            "meanwhile another tick": self._other(lambda lake: self._tick(lake, Scope.last_hours(2, lake.now()))),
            "meanwhile maintenance": self._other(
                lambda lake: api.maintain(lake, self.contract, state_retention=STATE_RETENTION), LookupError
            ),
            "meanwhile another rebuild": self._other(lambda lake: self._rebuild(lake), RebuildFailed),
            "meanwhile another requeue": self._other(self._requeue),
            "meanwhile another replay": self._other(self._replay),
            "meanwhile a roll back": self._other(self._roll_back, LookupError),
            "meanwhile another recovery": self._other(self._recover),
            "meanwhile a new contract": self._new_contract,
            "meanwhile the clock jumps": self._clock_jumps,
        }
        self.boundaries = Boundaries(others, lambda seconds: self.clock.forward(seconds=seconds))
        self.outside = local_lake(self.folder / "lake", self.clock)
        """Another process, that nothing disturbs."""
        self.source = Source(self.outside, self.clock)
        self.stream = Stream(self.chaos, self.source.records, lambda: self.contract)
        self.firehose = Firehose(lambda: self.contract, self._write, rng.choice([0, 0.1, 0.3]))
        self.oracle = Oracle(self.source.known)
        self.others = random.Random(f"others {self.seed}")
        self._restart()

    @property
    def contract(self) -> Contract:
        return GENERATIONS[self.generation]

    def fired(self) -> Counter[str]:
        """How often each kind of fault struck."""
        return self.boundaries.fired + self.chaos.struck + self.firehose.fired + self.happened

    # --- steps ---

    def step(self, step: Step) -> None:
        """Changes happen and arrive, then a job runs, and what readers see is compared."""
        rng = random.Random(f"step {self.seed} {step.number}")
        self.trace.append(str(step))
        self._time_passes(rng)
        for _ in range(rng.randint(0, 5)):
            self.trace.append("  " + self.source.happen(rng))
            if rng.random() < 0.3:
                self.clock.forward(seconds=rng.randint(1, 300))
        self.source.expire()
        self.stream.flow(rng)
        if rng.random() < 0.2 and self.stream.aws.objects:
            self.happened["redrive between"] += 1
            self.stream.redrive()
        self.firehose.deliver(self.stream.take(), self.clock(), rng)
        self._run(step, rng)

    def _time_passes(self, rng: random.Random) -> None:
        self.clock.forward(minutes=rng.choice([1, 10, 61, 300, 1500]))
        if rng.random() < 0.1:
            self._clock_jumps()
        if rng.random() < 0.1:
            self._new_contract()
        self.firehose.arrive(self.clock())

    def _run(self, step: Step, rng: random.Random) -> None:
        """The job with its faults; after a death, another process may do it again."""
        jobs = {
            "tick": lambda lake: self._tick(lake, Scope.last_hours(2, lake.now())),
            "nightly": lambda lake: self._tick(lake, Scope.everything()),
            "compact": lambda lake: self._tick(lake, Scope.last_hours(2, lake.now()), publishing=False),
            "publish": lambda lake: api.publish(lake, self.contract),
            "maintain": lambda lake: api.maintain(lake, self.contract, state_retention=STATE_RETENTION),
            "rebuild": self._rebuild,
            "requeue": self._requeue,
            "replay": self._replay,
            "roll back": self._roll_back,
            "lose the catalog": self._recover,
        }
        if step.job == "lose the catalog":
            self._lose(rng)
        self.jobs[step.job] += 1
        self.boundaries.plan(list(step.faults), watch=self._watch)
        self.oracle.suspect |= any(planned.kind == "DuckDB needs more than its limit" for planned in step.faults)
        try:
            result = jobs[step.job](self.lake)
            ended = "done"
            if isinstance(result, BatchResult):
                expect(result.counts.conserved, f"counts do not add up: {result.counts}")
                self._none_is_blamed(result)
                ended = str(result.counts)
        except Crash:
            ended, self.oracle.suspect = "died", True
            self._restart()
        except Exception as error:  # noqa: BLE001 (raised again unless there was a reason for it)
            ended = self._explained(step.job, error)
        self.doubtful |= ended != "done" or step.job == "compact"
        self.trace += [f"  {line}" for line in (*self.boundaries.here, ended)]
        self.boundaries.plan([])
        if self.lost:
            self._recover(self.outside)
            self.lost = False
        self._compare()
        self.doubtful &= ended != "done" or step.job not in ("tick", "nightly", "rebuild", "replay", "requeue")

    def _explained(self, job: str, error: Exception) -> str:
        """What an error is by which a job ended; raises it again if there was no reason for it."""
        causes = [error]
        while (cause := causes[-1].__cause__) is not None and isinstance(cause, Exception):
            causes.append(cause)
        mine = self.boundaries.injected
        quicker = isinstance(error, _OTHER_WRITERS) and (self.doubtful or self.boundaries.struck)
        nothing = isinstance(error, LookupError | RebuildFailed | FilesMissing) and job in (
            "publish", "maintain", "roll back", "rebuild",
        )  # fmt: skip
        nothing |= isinstance(error, CatalogLost) and self.lost
        if not (quicker or nothing or any(c is m for c in causes for m in mine)):
            raise error
        return f"ended: {type(error).__name__}"

    def end(self) -> None:
        """Nothing goes wrong any more: what was kept is put back, all arrives, and the lake is what the table was."""
        self.trace.append("end")
        self.skew, self.chaos.often = timedelta(0), 0
        rng = random.Random(f"end {self.seed}")
        self.stream.flow(rng)
        self.stream.redrive()
        kept, poison = self.stream.kept(), {record["eventID"] for record in self.source.poison}
        expect(kept == poison, f"expected {sorted(poison)} to be left by a redrive, found {sorted(kept)}")
        self.firehose.often = 0
        self.firehose.deliver(self.stream.take(), self.clock(), rng)
        self.clock.forward(hours=25)
        self.firehose.arrive(self.clock())
        for _ in range(3):  # what a process died with waits for the others
            self._finally(lambda: self._tick(self.outside, Scope.everything()))
            if not api.pending(self.outside, self.contract, Scope.everything()):
                break
        if self._waits_for_requeue():
            self.generation = len(GENERATIONS) - 1
            self._finally(lambda: self._requeue(self.outside))
            for key in self._held():  # what processes died of is taken only where it alone is named
                self._finally(lambda key=key: self._requeue(self.outside, frozenset({key})))  # type: ignore[misc]
        self._all_is_there()

    def _waits_for_requeue(self) -> bool:
        """Whether something is aside that the newest contract takes, or that was held."""
        refused = any(e.state == WIDE for e in self.source.known.values())
        return bool(self._held()) or (refused and self.published is not None)

    def _held(self) -> list[str]:
        taken = self.published.taken if self.published else {}
        return sorted(key for key, entry in taken.items() if entry.status == "held")

    def _finally(self, job: Callable[[], BatchResult]) -> None:
        self._none_is_blamed(job())
        self.looks.add(self._location() or "")
        self._compare()

    def _none_is_blamed(self, result: BatchResult) -> None:
        """Only an object that was made so breaks an invariant; nothing fails that nothing struck."""
        blamed = [o for o in (*result.failing, *result.held) if not self.oracle.is_poisoned(o.key)]
        expect(not blamed or self.oracle.suspect, f"fails with nothing wrong: {blamed}")

    def _all_is_there(self) -> None:
        """The published table is the operational one: nothing lost, nothing doubled, nothing wrong."""
        latest = self.source.latest()
        known = self.source.known
        if self.published is None:
            expect(not known, "nothing is published")
            return
        wanted = {event.id for event in known.values() if event.state != BAD}
        expect(self.published.events == wanted, f"lost at the end: {sorted(wanted - self.published.events)}")
        for key, last in latest.items():
            shown = self.published.rows.get(key)
            if last.state != BAD:
                expect(shown is not None and shown["_event_id"] == last.id, f"{key}: expected {last.id}, found {shown}")
        taken = self.published.taken.values()
        landed = {o.key: o for o in self.firehose.written}
        expect({t.key for t in taken} == landed.keys(), "objects that landed are not in the ledger")
        expect(not self._held(), f"held at the end: {self._held()}")
        bad = {f.origin: f.rows for f in api.list_files(self.outside, self.contract)}
        rows_of = {key: sum(known[str(r["_event_id"])].state == BAD for r in o.rows or ()) for key, o in landed.items()}
        whole = {key: 1 for key, o in landed.items() if o.rows is None}
        expect(
            bad.keys() == {key for key, n in (rows_of | whole).items() if n},
            f"quarantine: expected {rows_of}, {[*whole]}, found {bad}",
        )

    # --- jobs ---

    def _tick(self, lake: Lake, scope: Scope, publishing: bool = True) -> BatchResult:
        result = api.compact(lake, self.contract, scope, invariants=[no_poison])
        if result.committed and publishing:
            api.publish(lake, self.contract)
        return result

    def _rebuild(self, lake: Lake) -> BatchResult:
        result = api.rebuild(lake, self.contract, invariants=[no_poison])
        api.publish(lake, self.contract)
        return result

    def _requeue(self, lake: Lake, origins: frozenset[str] | None = None) -> BatchResult:
        result = api.requeue(lake, self.contract, origins)
        api.publish(lake, self.contract)
        return result

    def _replay(self, lake: Lake) -> BatchResult:
        now = self.clock()
        result = api.compact(lake, self.contract, Scope.replay(now - timedelta(hours=30), now), invariants=[no_poison])
        api.publish(lake, self.contract)
        return result

    def _lose(self, rng: random.Random) -> None:
        """Entries of the catalog are gone."""
        names = [(d, self.contract.name + of) for d in _databases(self.outside) for of in ("", "_changes")]
        for database, name in rng.sample(names, rng.randint(1, len(names))):
            if entry := self.outside.entries.get(database, name):
                self.outside.entries.delete(entry)
                self.happened["entries of the catalog are gone"] += 1
                self.lost = self.doubtful = True

    def _recover(self, lake: Lake) -> object:
        return api.recover_catalog(Context(lake, self.contract, silent))

    def _roll_back(self, lake: Lake) -> object:
        self.backwards = True
        return api.rollback(lake, self.contract)

    # --- what others do meanwhile ---

    def _other(self, job: Callable[[Lake], object], *refusals: type[Exception]) -> Callable[[], None]:
        def act() -> None:
            self.doubtful = True
            try:
                job(self.outside)
            except CatalogLost:
                if not self.lost:
                    raise
            except (*refusals, *_OTHER_WRITERS) as error:
                self.trace.append(f"  the other one: {type(error).__name__}")
            self._watch()

        return act

    def _lands(self) -> None:
        self.firehose.arrive(self.clock() + timedelta(hours=30))

    def _new_contract(self) -> None:
        if self.generation < len(GENERATIONS) - 1:
            self.generation += 1
            self.happened["contract grows"] += 1

    def _clock_jumps(self) -> None:
        jump = self.others.choice([-90, -3, 0, 2, 45, 0])
        self.happened["worker's clock jumps back" if jump < 0 else "worker's clock jumps ahead"] += jump != 0
        self.skew = timedelta(minutes=jump)

    def _write(self, arrived: Arrived) -> None:
        self.outside.store.write(arrived.key, arrived.content)
        (stored,) = (o for o in self.outside.store.list(arrived.key) if o.key == arrived.key)
        self.oracle.land(arrived.key, stored.etag, arrived.rows, self.clock())

    # --- what readers see ---

    def _restart(self) -> None:
        """A new process."""
        self.boundaries.suspended = False
        clock: Any = lambda: self.clock() + self.skew  # noqa: E731
        self.lake = failing_lake(self.folder / "lake", self.boundaries, clock, reads=True)
        self.lake.store.clock = self.clock  # type: ignore[method-assign]

    def _location(self) -> str | None:
        entry = self.outside.entries.get(self.outside.published_database, self.contract.name)
        return None if entry is None else entry.metadata_location

    def _watch(self) -> None:
        if location := self._location():
            self.looks.add(location)

    def _compare(self) -> None:
        """Every state that readers found meanwhile is right, and what they find now has all that there was."""
        self._watch()
        for location in sorted(self.looks - {""}, key=lambda p: Path(p).name):
            self.oracle.state(self.outside, self.contract, location)
        self.looks = set()
        location = self._location()
        now = self.oracle.state(self.outside, self.contract, location) if location else None
        if self.published is not None and not self.backwards:
            expect(now is not None and now.has(self.published), "what was published is lost again")
        self.published, self.backwards = now, False
