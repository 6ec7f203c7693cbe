"""The lake against a model in plain Python, under anything that can happen to it.

A machine lands changes in any order and repetition, runs every job of the engine through its public functions, and lets
jobs crash, lose answers and race with another writer at any of their steps. After each step the published rows, changes
and ledger must be those of the model, by two independent readers; what a reader saw at any moment within the step must
be the model before or after it, also when it is read later.

`MACHINE_EXAMPLES=500 pytest --hypothesis-profile=search tests/property/lakehouse/test_machine.py` looks for faults with
other histories than those that every run plays.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from pyiceberg.exceptions import CommitFailedException

from contracts import Contract
from lakehouse.api import compact, maintain, pending, rebuild
from lakehouse.batch.compaction import requeue
from lakehouse.intake.attempts import Attempts
from lakehouse.intake.landing import LATEST_DELIVERY, LandedObject, Scope
from lakehouse.intake.ledger import Ledger
from lakehouse.publish.audit import Audited, audit_table
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import published
from lakehouse.results import BatchResult, Check, NotAudited, RebuildFailed, StateRetention
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from tests.support import model
from tests.support.ageing import ageing
from tests.support.depth import examples
from tests.support.failing import Crash, Failpoints, Fault, Unanswered, failing_lake
from tests.support.lakes import NOON, Clock, Landing, local_lake
from tests.support.limits import LIMITS, limits
from tests.support.model import NO_HORIZON, Landed, Outcome, Tables, Terms
from tests.support.operational import CONTRACTS, KEYS, LOADED, POISON, Change, Key, OperationalTable
from tests.support.readers import by_both, by_duckdb, differences, plain

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", examples(16, least=6)))
STEPS = 14
Row = dict[str, Any]
Line = tuple[Tables, ...]
"""The states that a table went through, as rolling back sees them; the last is the present one."""


def no_poison(audited: Audited) -> Check:
    """An invariant that some data breaks: the object that brings it is held."""
    found = audited.duck.count(
        f"SELECT count(*) FROM valid SEMI JOIN accepted USING (_rid) WHERE recipient = '{POISON}'"
    )
    return Check("no poison", found == 0, f"found {found}")


# --- what readers see ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sight:
    """What one metadata file of the compacted table shows: its rows and changes without bookkeeping, its ledger, and
    the bookkeeping (`_batch` by key, `_object` by event)."""

    rows: dict[Key, Row]
    changes: dict[str, Row]
    taken: dict[str, tuple[str, str, int]]  # key -> ETag, status, rows in quarantine
    horizon: int
    batches: dict[Key, int]
    objects: dict[str, str]


def look(location: str, lake: Lake) -> Sight:
    """Read everything that belongs to a metadata file, with both readers."""
    properties = json.loads(Path(location).read_text())["properties"]
    rows = by_both(location, "sent_at < '2026-02-01T00:00:00'", "sent_at >= '2026-02-01T00:00:00'")
    changes = by_both(properties["gavel.changes"])
    ledger = Ledger.load(lake, properties.get("gavel.ledger", ""))
    sight = Sight(
        rows={key_of(r): plain(r) for r in rows},
        changes={r["_event_id"]: plain(r) for r in changes},
        taken={t.key: (t.etag, t.status, t.quarantined) for day in ledger.days for t in ledger.segment(day).values()},
        horizon=int(properties.get("gavel.floor", NO_HORIZON)),
        batches={key_of(r): r["_batch"] for r in rows},
        objects={r["_event_id"]: r["_object"] for r in changes},
    )
    assert len(sight.rows) == len(rows), "a key is there twice"
    assert len(sight.changes) == len(changes), "a change is there twice"
    return sight


def key_of(row: Row) -> Key:
    return row["parcel_id"], row["part"]


# --- what can happen ----------------------------------------------------------------------------------------------

ACTION = st.tuples(
    st.sampled_from(
        [
            *("write", "write", "write", "write", "bulk", "bulk", "load"),
            *("delete", "remove", "expire", "foreign", "foreign", "foreign", "again", "together"),
            *("export", "restore", "stream", "clock", "clock"),
            *("poison", "wide", "broken"),
        ]
    ),
    st.integers(0, len(KEYS) - 1),
    st.integers(0, 59),
)
STATE_RETENTION = StateRetention(recent=timedelta(hours=2), days=0, states=2, grace=timedelta(hours=2))


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in a job, at which of its operations: `place` in 0 to 999, wherever that is among them.

    `tick` and `maintain` are another process that ingests everything, with one more object, or maintains.
    """

    what: str
    after: bool
    place: int

    def fault(self, at: int) -> Fault | None:
        """The fault at that operation, if it is one."""
        match self.what:
            case "crash" | "error" | "refusal" as kind:
                return Fault(at, kind, self.after)
        return None


TROUBLE = st.one_of(
    st.none(),
    st.builds(
        Trouble,
        st.sampled_from(["crash", "crash", "error", "refusal", "tick", "maintain"]),
        st.booleans(),
        st.integers(0, 999),
    ),
)


@dataclass(frozen=True)
class Arrivals:
    """What happens to the operational table, and how it lands: in any order, some again, some not yet."""

    actions: list[tuple[str, int, int]]
    shuffle: int
    objects: int
    repeated: int
    kept_back: int
    hours_ago: int
    odd: str


ARRIVALS = st.builds(
    Arrivals,
    actions=st.lists(ACTION, min_size=1, max_size=8),
    shuffle=st.integers(0, 1 << 16),
    objects=st.integers(1, 3),
    repeated=st.integers(0, 4),
    kept_back=st.integers(0, 2),
    hours_ago=st.sampled_from([0, 0, 1, 20]),
    odd=st.sampled_from(["", "", "", "garbage", "empty"]),
)


@dataclass(frozen=True)
class Expected:
    """What a job does to the published table that it finds.

    `published` holds the lines that the published table may have afterwards (one, unless it is unknown what the work
    table holds), `work` those that the work table may have; `outcome` is that of its run. `refusal` is the error that
    it must end in (or, where `perhaps` is set, may end in).
    """

    published: tuple[Line, ...]
    work: tuple[Line, ...] | None = None
    outcome: Outcome | None = None
    refusal: type[Exception] | None = None
    perhaps: bool = False


@dataclass(frozen=True)
class Job:
    """A job of the engine, and what it does to a published table by the model."""

    name: str
    run: Callable[[Lake, Contract], object]
    expect: Callable[[Line], Expected]


def and_publish(run: Callable[..., BatchResult]) -> Callable[[Lake, Contract], BatchResult]:
    """The job, and its publication."""

    def both_steps(lake: Lake, contract: Contract) -> BatchResult:
        result = run(lake, contract)
        publish(lake, contract)
        return result

    return both_steps


LOST = (CommitFailedException, EntryConflict)
"""How a job ends that another writer was quicker than."""


class LakeMachine(RuleBasedStateMachine):
    """The lake, the operational table that feeds it, and what the model says of both."""

    def __init__(self) -> None:
        super().__init__()
        self.exit = ExitStack()
        self.root = Path(self.exit.enter_context(tempfile.TemporaryDirectory()))
        self.clock = Clock()
        self.exit.enter_context(ageing(self.clock))
        self.points = Failpoints()
        self.outside = local_lake(self.root, self.clock)
        """Another process, that nothing disturbs: other writers, and the reader."""
        self.source = OperationalTable()
        self.waiting: list[Change] = []
        self.objects: dict[str, Landed] = {}
        self.brought: dict[str, set[str]] = {}
        self.etags: dict[tuple[str, int], str] = {}
        self.generation = 0
        self.strict = True
        self.chunk = 5_000
        self.published: Line = (Tables(),)
        self.work: tuple[Line, ...] = ((Tables(),),)
        self.doubtful = True  # whether the work table may lack an audit result, or be older than what is published
        self.batch = 0  # the highest that a reader has seen
        self.last: dict[Key, Row] = {}
        self.shown: set[str] = set()
        self.sights: dict[str, Sight] = {}
        self.histories: dict[str, frozenset[str]] = {}
        self.seen: dict[tuple[str, str], None] = {}
        self.readers: list[tuple[datetime, str, Tables]] = []
        self.lenient = False  # whether the table may have snapshots of its own, or lack earlier ones
        self.operations: dict[str, int] = {}  # of the last run of each job: where its troubles may be
        self.restart()

    def teardown(self) -> None:
        try:
            if self.objects:
                self.land_rows(self.waiting, 0)
                self.perform(self.tick(Scope.everything()), None)
                self.read_late()
                self.ends_as_the_table_does()
                assert audit_table(self.outside, self.contract).passed
        finally:
            self.exit.close()

    @property
    def contract(self) -> Contract:
        return CONTRACTS[self.generation]

    @property
    def terms(self) -> Terms:
        return Terms(self.generation, self.strict, self.chunk)

    def terms_after_deaths(self, terms: Terms, again: bool) -> Terms:
        """The terms with what was written down when processes died. What is ingested `again` is taken whole."""
        tried = Attempts(self.outside, self.contract)
        landed = {
            key: LandedObject(key, self.etags[key, o.writing], 0, o.hour, o.hour) for key, o in self.objects.items()
        }
        tries = {key: found for key, o in landed.items() if (found := tried.of(o))}
        company = {key: found.together for key, found in tries.items() if found.together}
        if again:
            return replace(terms, company=company)
        twice = (key for key, found in tries.items() if (key, found.etag) in tried.died and found.deaths > 1)
        given_up = (key for key in tries if tried.is_given_up(landed[key]))
        return replace(terms, company=company, waiting=frozenset(twice), given_up=frozenset(given_up))

    @property
    def checks(self) -> list[Callable[[Audited], Check]]:
        return [no_poison] if self.strict else []

    def restart(self) -> None:
        """A new process."""
        self.lake = failing_lake(self.root, self.points, self.clock)

    # --- landing ---

    @initialize(chunk=st.sampled_from([1, 2, 5_000]), sizes=st.sampled_from(list(LIMITS)), loaded=st.integers(0, 4))
    def begin(self, chunk: int, sizes: str, loaded: int) -> None:
        self.chunk = chunk
        self.exit.enter_context(mock.patch("lakehouse.batch.chunks.CHUNK_OBJECTS", chunk))
        self.exit.enter_context(limits(sizes))
        if loaded:
            self.act("load", 0, 7)
            self.land_rows(self.waiting, 0)
            self.waiting = []
            self.perform(self.tick(Scope.everything()), None)

    def land(self, arrivals: Arrivals) -> None:
        """Changes happen; they and earlier ones land."""
        for action in arrivals.actions:
            self.act(*action)
        chance = random.Random(arrivals.shuffle)
        chance.shuffle(self.waiting)
        cut = max(0, len(self.waiting) - arrivals.kept_back)
        rows, self.waiting = self.waiting[:cut], self.waiting[cut:]
        rows += [chance.choice(self.source.emitted) for _ in range(arrivals.repeated if self.source.emitted else 0)]
        chance.shuffle(rows)
        for number in range(arrivals.objects):
            if part := rows[number :: arrivals.objects]:
                self.land_rows(part, arrivals.hours_ago)
        if arrivals.odd == "empty":
            self.land_rows([], arrivals.hours_ago)
        elif arrivals.odd == "garbage":
            self.land_rows(None, arrivals.hours_ago)

    @rule(
        what=st.sampled_from(["object again", "hours", "contract", "contract", "invariant", "invariant", "retention"]),
        number=st.integers(0, 20),
    )
    def something_happens(self, what: str, number: int) -> None:
        """Beside the engine: a delivery repeated under its key, time, a new contract, an invariant, lost landing."""
        match what:
            case "object again":
                self.write_again(number)
            case "hours":
                self.clock.forward(hours=number / 4)
            case "contract":
                self.generation = min(self.generation + 1, len(CONTRACTS) - 1)
            case "invariant":
                self.strict = not self.strict
            case "retention":
                self.expire_landing()

    def write_again(self, index: int) -> None:
        """An object is written again under its key, and brings more than the first time."""
        recent = [o for o in self.objects.values() if self.clock() - o.hour < LATEST_DELIVERY - timedelta(hours=2)]
        if recent:
            landed = recent[index % len(recent)]
            rows = [*(landed.rows or ()), *self.waiting, *self.source.emitted[: index % 3]]
            self.waiting = []
            self.land_rows(rows, 0, landed)

    def expire_landing(self) -> None:
        """What was landed until now is not retained any longer."""
        self.clock.forward(days=9)
        self.source.now += 9 * 86_400
        self.outside.store.delete(list(self.objects))
        self.objects = {}

    def act(self, action: str, index: int, content: int) -> None:
        """One thing that happens to the operational table."""
        table, key, generation = self.source, KEYS[index], self.generation
        before = len(table.emitted)
        match action:
            case "write" | "poison" | "wide" | "broken":
                table.write(key, content, generation, special=action)
            case "load":
                for number, loaded in enumerate(LOADED):
                    table.write(loaded, content + number, generation)
            case "bulk":
                table.write(LOADED[content % len(LOADED)], content, generation)
            case "foreign":
                table.write_foreign(
                    (*KEYS, *LOADED)[(index + content) % (len(KEYS) + len(LOADED))], content, generation
                )
            case "delete" | "remove" | "expire" if key in table.items:
                if action == "delete":
                    table.mark_deleted(key, generation)
                else:
                    table.remove(key, generation, op=action)
            case "again":
                # Whoever writes: at times in the same second, before or after a removal and a write by hand.
                table.write(key, content, generation)
                table.write_foreign(key, content + 1, generation)
                if content % 3:
                    table.remove(key, generation, op="expire" if content % 2 else "remove")
                    table.write(key, content + 2, generation)
                    table.write(key, content + 3, generation)
            case "together":
                table.write_together((key, *LOADED[: content % 3]), content, generation)
            case "export":
                table.export()
            case "restore":
                table.restore(generation)
            case "stream":
                table.start_new_stream()
            case "clock":
                table.now, table.ahead = max(0, table.now + content % 6 - 2), (0, 1, 5, 0, -3)[content % 5]
        self.waiting += table.emitted[before:]

    def land_rows(self, rows: list[Change] | None, hours_ago: int, again: Landed | None = None) -> Landed:
        landing = Landing(self.outside, self.contract, count=len(self.etags))
        hour = (self.clock() - timedelta(hours=hours_ago)).replace(minute=0) if again is None else again.hour
        name = "" if again is None else again.key.rpartition("/")[2]
        if rows is None:
            key = landing.land_bytes(b"no parquet at all", hour, name)
        else:
            key = landing.land([row.text for row in rows], hour, name)
        writing = 1 if again is None else again.writing + 1
        (stored,) = (o for o in self.outside.store.list(key) if o.key == key)
        if again is not None and stored.etag == self.etags[key, again.writing]:
            writing = again.writing
        self.etags[key, writing] = stored.etag
        self.objects[key] = Landed(key, writing, hour, None if rows is None else tuple(rows))
        for row in rows or ():
            self.brought.setdefault(row.event, set()).add(key)
        return self.objects[key]

    def ends_as_the_table_does(self) -> None:
        """Whoever wrote, and however it landed: each key whose last change was accepted shows what the table holds."""
        tables = self.published[-1]
        for key, last in self.source.latest.items():
            if last.event in tables.changes:
                row = tables.rows.get(key)
                agrees = last.removes if row is None else row.tells(last)
                assert agrees, f"{key}: expected {last}, found {row}"

    # --- jobs ---

    @rule(arrivals=ARRIVALS, everything=st.booleans(), trouble=TROUBLE)
    def run_a_tick(self, arrivals: Arrivals, everything: bool, trouble: Trouble | None) -> None:
        self.land(arrivals)
        scope = Scope.everything() if everything else Scope.last_hours(2, self.clock())
        self.perform(self.tick(scope), trouble)

    @rule(arrivals=ARRIVALS, trouble=TROUBLE)
    def compact_only(self, arrivals: Arrivals, trouble: Trouble | None) -> None:
        self.land(arrivals)
        self.perform(self.tick(Scope.everything(), publishing=False), trouble)

    @rule(trouble=TROUBLE)
    def publish_only(self, trouble: Trouble | None) -> None:
        self.perform(Job("publish", publish, self.expect_publication), trouble)

    @rule(first=st.integers(-30, 5), hours=st.integers(1, 40), trouble=TROUBLE)
    def replay_a_range(self, first: int, hours: int, trouble: Trouble | None) -> None:
        start = NOON + timedelta(hours=first)
        end = start + timedelta(hours=hours)

        def select(tables: Tables) -> list[Landed]:
            return [o for o in self.objects.values() if start <= o.hour < end]

        self.perform(self.compaction("replay", Scope.replay(start, end), select), trouble)

    @rule(trouble=TROUBLE)
    def requeue_what_wants_attention(self, trouble: Trouble | None) -> None:
        looks: list[frozenset[str]] = []

        def expect(before: Line) -> Expected:
            """What wants attention is looked up first; another writer may act after that look."""
            looks.append(before[-1].attention())
            lines = []
            for wanted in looks:
                objects = [o for o in self.objects.values() if o.key in wanted]
                expected = self.expect_run(before, partial(model.compact, objects=objects), strict=False, again=True)
                lines += expected.published
            return replace(expected, published=tuple(lines))

        self.perform(Job("requeue", and_publish(requeue), expect), trouble)

    @rule(trouble=TROUBLE)
    def rebuild_everything(self, trouble: Trouble | None) -> None:
        def expect(before: Line) -> Expected:
            objects = list(self.objects.values())
            if any(t.status == "merged" and key not in self.objects for key, t in before[-1].taken.items()):
                return Expected((before,), (before,), refusal=RebuildFailed)
            expected = self.expect_run(before, partial(model.rebuild, objects=objects), again=True)
            assert expected.outcome is not None
            if expected.outcome.held:
                return Expected((before,), (before,), refusal=RebuildFailed)
            # A table that is not whole yet is nobody's to publish.
            return replace(expected, work=(before, *expected.published))

        run = partial(rebuild, invariants=self.checks)
        self.perform(Job("rebuild", and_publish(run), expect), trouble)

    @rule(trouble=TROUBLE)
    def roll_back(self, trouble: Trouble | None) -> None:
        def expect(before: Line) -> Expected:
            if self.lenient:
                earlier = tuple(before[:n] for n in range(len(before), 0, -1))
                return Expected(earlier, refusal=LookupError, perhaps=True)
            lengths = [n for n in range(len(before) - 1, 0, -1) if before[n - 1].snapshot != before[-1].snapshot]
            return Expected((before[: lengths[0]],)) if lengths else Expected((before,), refusal=LookupError)

        self.perform(Job("roll back", rollback, expect), trouble)

    @rule(trouble=TROUBLE)
    def maintain_the_tables(self, trouble: Trouble | None) -> None:
        self.perform(self.maintenance(), trouble)

    @rule()
    def read_late(self) -> None:
        """Readers that looked up the table in an earlier step read it now."""
        for _, location, tables in self.readers:
            self.assert_shows(look(location, self.outside), tables)
        self.readers = []

    # --- what jobs do by the model ---

    def tick(self, scope: Scope, publishing: bool = True) -> Job:
        return self.compaction("tick", scope, lambda tables: tables.unknown(self.objects.values()), publishing)

    def compaction(
        self, name: str, scope: Scope, select: Callable[[Tables], list[Landed]], publishing: bool = True
    ) -> Job:
        def expect(before: Line) -> Expected:
            taking = partial(model.compact, objects=select(before[-1]))
            expected = self.expect_run(before, taking, again=scope.again)
            return expected if publishing else replace(expected, published=(before,))

        run = partial(compact, scope=scope, invariants=self.checks)
        return Job(name, and_publish(run) if publishing else run, expect)

    def maintenance(self) -> Job:
        """Rows stay as they are; which tombstones are purged depends on the files, and is found by looking."""

        def run(lake: Lake, contract: Contract) -> object:
            self.lenient = True
            since = self.clock() - STATE_RETENTION.recent
            self.readers = [reader for reader in self.readers if reader[0] > since]
            result = maintain(lake, contract, state_retention=STATE_RETENTION)
            assert result.same_rows
            assert result.removal is not None
            assert result.removal.exact
            return result

        def expect(before: Line) -> Expected:
            if not self.location():
                return Expected((before,), refusal=LookupError)
            after = (*before, replace(before[-1], snapshot=before[-1].snapshot + 1))
            return Expected((after,), (before, after))

        return Job("maintain", run, expect)

    def expect_run(
        self, before: Line, run: Callable[..., Outcome], strict: bool | None = None, again: bool = False
    ) -> Expected:
        terms = self.terms if strict is None else replace(self.terms, strict=strict)
        terms = self.terms_after_deaths(terms, again)
        outcome = run(before[-1], terms=terms)
        states = outcome.states[-1:]  # only a whole run leaves a state that may be published, and no single chunk of it
        if len(outcome.states) == 1:
            states = ()
        work = tuple(before + states[:n] for n in range(len(states) + 1))
        return Expected((before + states,), work, outcome)

    def expect_publication(self, before: Line) -> Expected:
        return Expected(self.work) if self.location() else Expected((before,), refusal=LookupError)

    # --- one step ---

    def perform(self, job: Job, trouble: Trouble | None) -> None:
        """Run a job, with what goes wrong, and compare what readers saw and see with the model."""
        self.seen = {}
        step = Step(self, job, trouble)
        at = 1 + (trouble.place if trouble else 0) % self.operations.get(job.name, 12)
        fault = trouble.fault(at) if trouble else None
        meanwhile = (at, step.race) if trouble and fault is None else None
        self.points.arm(fault=fault, meanwhile=meanwhile, watch=self.watch)
        try:
            result = job.run(self.lake, self.contract)
        except Crash as error:
            self.restart()
            step.failed(error)
        except (Unanswered, *LOST) as error:
            # A work table that was left behind by a writer that lost is not published.
            if not self.points.struck and not (self.doubtful and job.run is publish):
                raise
            step.failed(error)
        except NotAudited as error:
            if not self.doubtful:
                raise
            step.failed(error)
        except (RebuildFailed, LookupError) as error:
            if not isinstance(error, step.expected.refusal or ()):
                raise
            step.failed(error)
        else:
            refusal = None if step.raced or step.expected.perhaps else step.expected.refusal
            assert refusal is None, f"expected {refusal}"
            step.succeeded(result)
            if not step.raced:
                self.operations[job.name] = len(self.points.operations) + 1

    def watch(self) -> None:
        """A reader that looks up both entries at this moment."""
        if location := self.location():
            changes = self.outside.entries.get(self.outside.published_database, "parcels_changes")
            assert changes is not None, "rows are published without their changes"
            self.seen[location, changes.metadata_location] = None

    def location(self) -> str | None:
        """Where readers find the table now."""
        entry = self.outside.entries.get(self.outside.published_database, "parcels")
        return None if entry is None else entry.metadata_location

    def sight(self, location: str) -> Sight:
        if location not in self.sights:
            self.sights[location] = look(location, self.outside)
        return self.sights[location]

    def purged(self, line: Line, sight: Sight) -> Line:
        """The line without the tombstones that a maintained table lacks. None may go that a landed object, merged
        again, could contradict."""
        tables = line[-1]
        landed = {row.key for o in self.objects.values() for row in o.rows or ()}
        gone = {
            key: row
            for key, row in tables.rows.items()
            if key not in sight.rows and row.removes and key not in landed and self.lenient
        }
        if not gone:
            return line
        rows = {key: row for key, row in tables.rows.items() if key not in gone}
        horizon = max(tables.horizon, *(row.version + 1 for row in gone.values()))
        return (*line[:-1], replace(tables, rows=rows, horizon=horizon))

    def events(self, location: str) -> frozenset[str]:
        """The identities of the changes in a metadata file of `_changes`."""
        if location not in self.histories:
            self.histories[location] = frozenset(r["_event_id"] for r in by_duckdb(location))
        return self.histories[location]

    def assert_shows(self, sight: Sight, tables: Tables) -> None:
        taken = {key: (self.etags[key, t.writing], t.status, t.quarantined) for key, t in tables.taken.items()}
        differing = {
            **differences(sight.taken, taken),
            **differences(sight.rows, {key: model.visible(row) for key, row in tables.rows.items()}),
            **differences(sight.changes, {event: row.typed for event, row in tables.changes.items()}),
            **(
                {}
                if sight.horizon == tables.horizon
                else {"horizon": f"horizon: expected {tables.horizon}, found {sight.horizon}"}
            ),
        }
        assert not differing, f"{len(differing)} differences, such as\n  " + "\n  ".join(list(differing.values())[:3])
        for identity, key in sight.objects.items():
            assert key in self.brought[identity], "a change names an object that did not bring it"

    def identify(self, location: str | None, candidates: Sequence[Line]) -> Line:
        """Which of the lines (the longest) the metadata file shows; any other is a mix or a loss."""
        if location is None:
            assert any(line[-1] == Tables() for line in candidates)
            return (Tables(),)
        distinct: list[Line] = []
        for line in (*candidates, *(self.purged(line, self.sight(location)) for line in candidates)):
            if not any(len(line) == len(known) and line[-1].same(known[-1]) for known in distinct):
                distinct.append(line)
        refusals, found = [], []
        for line in distinct:
            try:
                self.assert_shows(self.sight(location), line[-1])
            except AssertionError as error:
                refusals.append(str(error).split("\nassert ")[0])
            else:
                found.append(line)
        if found:
            return max(found, key=len)
        raise AssertionError("readers see neither what was before nor after:\n" + "\n".join(refusals))


class Step:
    """One job and what became of it."""

    def __init__(self, machine: LakeMachine, job: Job, trouble: Trouble | None) -> None:
        self.machine, self.job, self.trouble = machine, job, trouble
        self.before = machine.published
        self.expected = job.expect(self.before)
        self.moments: list[Line] = [self.before, *self.expected.published]
        """What readers may see at any moment of the step."""
        self.raced = False

    def race(self) -> None:
        """Another process does its work and publishes it before our next operation."""
        machine = self.machine
        found = machine.location()
        reached = machine.identify(found, self.moments)
        if self.trouble and self.trouble.what == "maintain" and machine.location():
            theirs = machine.maintenance()
        else:
            machine.act("bulk", 0, len(machine.etags) % 60)
            machine.land_rows(machine.waiting, 0)
            machine.waiting = []
            theirs = machine.tick(Scope.everything())
        lines = theirs.expect(reached).published
        theirs.run(machine.outside, machine.contract)
        line = machine.identify(machine.location(), lines)
        machine.work, machine.doubtful, machine.lenient, self.raced = (line,), True, True, True
        earlier = self.expected.published if machine.location() == found else ()
        self.before, self.expected = line, self.job.expect(line)
        # Where they had nothing to publish, we may still publish what we had.
        self.expected = replace(self.expected, published=(*self.expected.published, *earlier))
        self.moments += [line, *self.expected.published]

    def failed(self, error: BaseException) -> None:
        """The job ended in an error: readers have the old or the new, and the work table may hold anything between."""
        self._compare([self.before, *self.expected.published], error)
        if self.expected.work is not None:
            self.machine.work += self.expected.work
            self.machine.doubtful = self.raced or self.expected.refusal is None

    def succeeded(self, result: object) -> None:
        """The job came to its end: readers have the new (or what a quicker writer made of it)."""
        machine = self.machine
        self._compare([*([self.before] if self.raced else []), *self.expected.published])
        if self.expected.work is not None:
            machine.work = (*(machine.work if self.raced else ()), self.expected.work[-1])
            machine.doubtful = self.raced
        if isinstance(result, BatchResult) and not self.raced:
            self._compare_result(result)

    def _compare(self, finals: Sequence[Line], ended: BaseException | None = None) -> None:
        machine = self.machine
        location = machine.location()
        machine.published = machine.identify(location, finals)
        event(self.job.name, "as expected" if ended is None else type(ended).__name__)
        for (seen, changes), _ in machine.seen.items():
            line = machine.identify(seen, self.moments)
            events = machine.events(changes)
            assert all(row.event in events for row in line[-1].rows.values()), "a reader saw a row without its change"
            machine.readers = [*machine.readers[-5:], (machine.clock(), seen, line[-1])]
        if location is not None:
            self._compare_batches(machine.sight(location), location)

    def _compare_batches(self, sight: Sight, location: str) -> None:
        """Rows that changed have a batch number that no reader has seen, so that a mart may follow them."""
        machine = self.machine
        if location not in machine.shown and self.job.run is not rollback:
            for key, row in sight.rows.items():
                if row != machine.last.get(key):
                    assert sight.batches[key] > machine.batch, f"{key} changed in batch {sight.batches[key]}"
        machine.shown.add(location)
        machine.last = sight.rows
        machine.batch = max([machine.batch, *sight.batches.values()])

    def _compare_result(self, result: BatchResult) -> None:
        machine, outcome = self.machine, self.expected.outcome
        assert outcome is not None
        assert vars(result.counts) == vars(outcome.counts)
        assert result.counts.conserved
        assert {h.key for h in result.held} == outcome.held
        assert result.rows == len(outcome.final.rows)
        state = published(machine.outside, machine.contract)
        assert state is not None
        if machine.published[-1].same(outcome.final):
            assert (state.rows, state.changes) == (len(outcome.final.rows), len(outcome.final.changes))
        if self.job.name == "tick":
            assert result.watermark == machine.clock()
            if machine.published[-1].same(outcome.final):
                assert pending(machine.outside, machine.contract, Scope.everything()) == []


LakeMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    # Shrinking takes minutes: a failure is reported as it was found, unless someone is searching.
    phases=[phase for phase in Phase if phase is not Phase.shrink or "MACHINE_SHRINK" in os.environ],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestLake = LakeMachine.TestCase
