"""One run of chaos: parts started, traffic and faults for a time, then rest, then the judgement.

Order belongs here. What a fault is, how parts are killed and what is compared belongs to the other modules.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread

from contracts import load_contracts
from local import commands, pipeline_process, ports, stack, status
from local.aws import Aws
from local.chaos import evidence, judge, operators
from local.chaos.clock import Clocks
from local.chaos.failures import explained, failures
from local.chaos.model import fold, plain
from local.chaos.parts import Parts
from local.chaos.plan import CLOCK_LASTS, Fault
from local.chaos.proxy import Injected, Rule, proxying
from local.chaos.settling import settle
from local.chaos.traffic import ENTITIES, Journal, Writer
from local.draining import lag
from local.exports import Exports, serving
from local.home import REPOSITORY, Home, Stack

WRITERS = 3
FIRST_SECONDS = 900.0
"""How long the first publication of all tables may take: faults strike a stack that runs."""
LEFT_SECONDS = 600.0
"""How long traffic goes on after the last planned fault until each has fired."""
SETTLE_SECONDS = 2400.0
"""How long the stack may take to come to rest: a table whose worker was killed is merged in small parts."""
EXTRA_FIELD = "chaos_note"


class ChaosError(RuntimeError):
    """The run could not be done as planned; says why."""


@dataclass
class Result:
    """What a run of chaos came to. It passed if nothing is `wrong`; `left_out` are faults that cannot be done here."""

    fired: Counter[str] = field(default_factory=Counter)
    planned: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    starts: dict[str, int] = field(default_factory=dict)
    changes: int = 0
    settled_seconds: float = 0.0
    explained: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def never_fired(self) -> list[str]:
        """Planned faults that did not happen."""
        return sorted(self.planned.keys() - self.fired.keys() - set(self.left_out))

    @property
    def wrong(self) -> list[str]:
        """All that is not as it must be, in words; of a run that could not go on, only why."""
        if self.trouble:
            return [f"trouble: {text}" for text in self.trouble]
        return [
            *(f"planned, but never fired: {name}" for name in self.never_fired),
            *(f"failed without an injected cause: {text}" for text in self.unexplained),
            *(f"not at rest: {text}" for text in self.unsettled),
            *(f"set aside: {text}" for text in self.set_aside),
            *(f"contradiction: {text}" for text in self.contradictions),
            *(f"difference: {text}" for text in self.differences),
        ]


@dataclass
class Run:
    """One run: `say` gets a line with the time for each thing that happens."""

    home: Home
    plan: Sequence[Fault]
    seed: int
    folder: Path
    say: Callable[[str], None]
    injected: Injected = field(default_factory=Injected)
    stopping: Event = field(default_factory=Event)
    paused: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)
    """Set when nothing more is killed."""
    result: Result = field(default_factory=Result)
    _threads: list[Thread] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)
    clocks: Clocks | None = None
    _extra: str | None = None

    def do(self) -> Result:
        """All of it."""
        begun = datetime.now(UTC)
        self.result.planned = Counter(fault.name for fault in self.plan)
        jumping = sorted({f.name for f in self.plan if f.kind == "clock"})
        self.clocks = Clocks.make(self.folder / "clocks") if jumping else None
        if jumping and self.clocks is None:
            self.result.left_out = jumping
            self.say("no clock jumps here: that needs Linux and a C compiler (cc)")
        with ExitStack() as serves:
            try:
                parts = self._start(serves)
            except BaseException:  # Ctrl-C among them
                stack.down(self.home, self.say)
                raise
            try:
                journal, reader = self._storm(parts)
                self.result.requests, self.result.changes = journal.counts, len(journal.changes)
                if not self.result.trouble:
                    self._rest(parts)
                    reader.read()
                    self._failures(begun)
                    self._judge(parts, journal, reader)
            finally:
                self.stopping.set()
                self.over.set()
                self.result.starts = dict(parts.starts)
                self.result.fired = Counter(self.injected.fired)
                self._stop(parts)
        return self.result

    # ---- starting and stopping

    def _start(self, serves: ExitStack) -> Parts:
        port = ports.free_port()
        front = serves.enter_context(proxying(port, self.injected))
        self.home.path.mkdir(parents=True, exist_ok=True)
        self.home.save(replace(Stack.new(), phase="stopped", port=port, front=f"http://127.0.0.1:{front}"))
        contracts = load_contracts()
        self.say("the stack starts")
        if self.clocks:
            os.environ.update(self.clocks.of_functions())
        current = stack.up(self.home, contracts, port=port, say=self.say).stack
        exports = serves.enter_context(serving(Exports(Aws(current.endpoint))))
        pipeline_process.prepare(self.home, current)()
        more = {"GAVEL_EXPORTS_URL": exports, **(self.clocks.of_pipeline() if self.clocks else {})}
        parts = Parts(self.home, contracts, self.say, ports.free_port(), more)
        parts.start_dagster()
        parts.start_pump()
        commands.drop_reference_data(current)
        return parts

    def _stop(self, parts: Parts) -> None:
        self.say("the stack stops")
        for thread in self._threads:
            thread.join(timeout=60)
        stack.down(self.home, self.say)

    # ---- traffic and faults

    def _storm(self, parts: Parts) -> tuple[Journal, evidence.StreamReader]:
        """Traffic, and all that is planned; ends when each fault has fired, or in time."""
        current = parts.stack
        journal = Journal(self.folder / "journal.jsonl")
        reader = evidence.StreamReader(Aws(current.endpoint), current.outputs["TableStreamArn"])
        client = stack.connect(current)
        writers = [
            Writer(n, client, journal, random.Random(f"writer {self.seed} {n}"), lambda: self._extra)
            for n in range(WRITERS)
        ]
        for writer in writers:
            writer.begin()
        self._in_thread("reader", lambda: reader.run(self.stopping, parts.down))
        self._in_thread("keeper", lambda: self._keep(parts))
        traffic = Event()
        for writer in writers:
            self._in_thread(f"writer {writer.number}", lambda w=writer: w.run(traffic, self.paused))  # type: ignore[misc]
        try:
            self._await_tables(parts)
            self._faults(parts, writers, reader)
        finally:
            traffic.set()
            self._idle(writers)
        return journal, reader

    def _await_tables(self, parts: Parts) -> None:
        """Wait until each table was published once."""
        self.say("the tables are published for the first time")
        deadline = time.monotonic() + FIRST_SECONDS
        while not all(evidence.published(parts.stack, entity) for entity in ENTITIES):
            if time.monotonic() > deadline:
                raise ChaosError(f"expected published tables within {FIRST_SECONDS:.0f} s, found some missing")
            if self.stopping.wait(2.0):
                return

    def _faults(self, parts: Parts, writers: Sequence[Writer], reader: evidence.StreamReader) -> None:
        begun = time.monotonic()
        for fault in self.plan:
            if self.stopping.wait(max(0.0, begun + fault.at - time.monotonic())):
                break
            self.say(str(fault))
            if fault.kind not in ("kill", "clock", "once"):
                self.injected.arm(Rule(fault.kind, fault.target, fault.count, fault.seconds, fault.name))
                continue
            self._in_thread(fault.name, lambda f=fault: self._act(f, parts, writers, reader))  # type: ignore[misc]
        deadline = time.monotonic() + LEFT_SECONDS
        while (waits := self._waiting()) and time.monotonic() < deadline and not self.stopping.wait(1.0):
            self.say(f"waits for {', '.join(waits[:5])}")
            self.stopping.wait(4.0)
        self.over.set()
        self.injected.disarm()

    def _waiting(self) -> list[str]:
        """Faults that are planned and have not fired."""
        with self.injected.lock:
            return sorted(self.result.planned.keys() - self.injected.fired.keys() - set(self.result.left_out))

    def _act(self, fault: Fault, parts: Parts, writers: Sequence[Writer], reader: evidence.StreamReader) -> None:
        """Kill something, or do what is done once."""
        begun = time.time()
        match fault.target if fault.kind == "once" else fault.kind:
            case "clock":
                self._move_clock(fault, parts)
            case "emulator restarted":
                self._restart_emulator(parts, writers, reader)
            case "contract changed":
                self._change_contract(parts)
            case "two rebuilds":
                self._note(begun, fault.name)
                operators.two_rebuild(parts, self.stopping)
            case "two recoveries":
                self._note(begun, fault.name)
                operators.two_recover(parts, self.stopping)
            case _:
                if not parts.kill(fault.target, fault.seconds, self.over):
                    self.say(f"{fault.name}: there was none")
                    return
        self._note(begun, fault.name)

    def _move_clock(self, fault: Fault, parts: Parts) -> None:
        """Let clocks jump, and after a while jump back."""
        if self.clocks is not None:
            parts.disturb(fault.target)
            self.clocks.move(fault.target, int(fault.seconds))
            try:
                self.stopping.wait(CLOCK_LASTS)
            finally:
                self.clocks.move(fault.target, 0)

    def _note(self, at: float, name: str) -> None:
        with self.injected.lock:
            self.injected.times.append((at, name))
            self.injected.fired[name] += not any(n == name and t == at for t, n in self.injected.times[:-1])

    def _restart_emulator(self, parts: Parts, writers: Sequence[Writer], reader: evidence.StreamReader) -> None:
        """Stop traffic, let the pump hand over what the emulator forgets, then stop it and start it again."""
        self.paused.set()
        try:
            self._idle(writers)
            deadline = time.monotonic() + 180
            while any(lag(self.home, parts.stack, c) for c in (self.home.checkpoint, self.home.fanout_checkpoint)):
                if time.monotonic() > deadline:
                    raise ChaosError("the stream could not be emptied before the emulator stops")
                time.sleep(0.5)
            with parts.changing:
                parts.down.set()
                reader.read()
                parts.restart_emulator()
                reader.forget_places()
        finally:
            parts.down.clear()
            self.paused.clear()
        self.say("the emulator was stopped and goes on")

    def _change_contract(self, parts: Parts) -> None:
        """A person adds a field to a contract of the project's copy, and brings it into force."""
        file = REPOSITORY / "contracts" / "entities" / "customers.yaml"
        file.write_text(with_field(file.read_text(), EXTRA_FIELD))
        contracts = load_contracts()
        from contracts.dbt import write

        write(contracts)
        parts.change_contracts(contracts, self.stopping)
        self._extra = EXTRA_FIELD
        self.say(f"customers have the field {EXTRA_FIELD}")

    def _idle(self, writers: Sequence[Writer]) -> None:
        """Wait until no writer is in the midst of a change; they begin none while they are paused."""
        for writer in writers:
            with writer.turn:
                pass

    def _keep(self, parts: Parts) -> None:
        while not self.stopping.wait(1.0):
            parts.look_after()

    def _in_thread(self, name: str, work: Callable[[], object]) -> None:
        def reported() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - it ends the run, and is reported
                if not self.stopping.is_set():
                    with self._lock:
                        self.result.trouble.append(f"{name}: {type(error).__name__}: {error}")
                    self.say(f"trouble: {self.result.trouble[-1]}")
                    self.stopping.set()

        thread = Thread(target=reported, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # ---- rest and judgement

    def _rest(self, parts: Parts) -> None:
        self.say("faults and traffic have stopped")
        begun = time.monotonic()
        self.result.unsettled = settle(parts, SETTLE_SECONDS, self.say)
        self.result.settled_seconds = time.monotonic() - begun

    def _judge(self, parts: Parts, journal: Journal, reader: evidence.StreamReader) -> None:
        current, contracts = parts.stack, parts.contracts
        states, self.result.contradictions = fold(journal.changes)
        table = evidence.table(current, contracts)
        found = judge.requests_and_table(states, table)
        history: dict[str, list[str]] = {}
        for entity in ENTITIES:
            found += judge.table_and_lake(table, evidence.visible(current, contracts, entity), (entity,), entity)
            history[entity] = [str(row["_event_id"]) for row in evidence.published(current, entity, changes=True)]
        events = {entity: reader.events.get(entity, set()) for entity in ENTITIES}
        found += judge.stream_and_history(events, history)
        for mart, (entity, names, rows) in evidence.marts(self.home).items():
            wanted = [tuple(dict(item).get(n) for n in names) for key, item in table.items() if key[0] == entity]
            found += judge.lake_and_mart(mart, wanted, [tuple(plain(v) for v in row) for row in rows])
        self.result.differences = [str(difference) for difference in found]
        self.result.set_aside = [*_set_aside(self.home, current, parts)]

    def _failures(self, begun: datetime) -> None:
        from dagster import DagsterInstance

        with DagsterInstance.from_config(str(self.home.dagster)) as instance:
            for failure in failures(instance, begun):
                known = explained(failure, self.injected.times)
                (self.result.explained if known else self.result.unexplained).append(str(failure))


def _set_aside(home: Home, current: Stack, parts: Parts) -> Iterator[str]:
    """Landed objects that are held or fail, and files in quarantine: all that came was right, so there must be none."""
    for failing in status.failing_objects(current, parts.contracts):
        yield f"{failing.key} of {failing.entity} ({failing.failure.value}): {failing.reason}"
    for entity, file in status.quarantined(home, parts.contracts, None):
        yield f"{entity}: {file.rows} rows of {file.origin} in quarantine: {dict(file.reasons)}"


def with_field(contract: str, name: str) -> str:
    """The text of a contract with one more field of text, which nobody must have."""
    marker = "    customProperties:\n      - property: origin"
    if contract.count(marker) != 1:
        raise ChaosError("expected the properties of one table in the contract, found another form")
    numbers = [int(part.split("}")[0]) for part in contract.split("fieldId, value: ")[1:]]
    added = (
        f"      - name: {name}\n        logicalType: string\n        physicalType: string\n"
        f"        description: What somebody noted.\n        classification: internal\n"
        f"        customProperties:\n          - {{property: fieldId, value: {max(numbers) + 1}}}\n"
    )
    head, _, rest = contract.partition("\nversion: ")
    major, minor, tail = rest.split(".", 2)
    return f"{head}\nversion: {major}.{int(minor) + 1}.{tail}".replace(marker, added + marker)
