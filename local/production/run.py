"""One run of production: parts started, traffic and kills for a time, an upgrade in its midst, then rest and judgement.

What happens to the data is judged as `local.chaos` does; what is Dagster's alone is looked at here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from contracts import load_contracts
from local import commands, emulator, pipeline_process, ports, stack
from local.aws import Aws, lake_at
from local.chaos.evidence import StreamReader
from local.chaos.parts import Parts
from local.chaos.plan import Fault
from local.chaos.run import Result, Run
from local.chaos.traffic import ENTITIES, Writer
from local.exports import Exports, serving
from local.home import REPOSITORY, Stack
from local.postgres import Server, running_server
from local.production import ecs, history, instance
from local.production.loss import Recovery, recovered
from local.production.parts import SERVICES, ProductionParts, installed, task_environment
from local.production.plan import LOSS, STALL, UPGRADE

if TYPE_CHECKING:
    from dagster import DagsterInstance, RunRecord

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".gavel", "build", "target", "logs", ".*_cache", ".hypothesis", "*.pyc", "tests", "benchmarks",
    "node_modules",
)  # fmt: skip
BEFORE, AFTER = "Ingest what landed, audit it and publish it.", "Ingest what landed, audit it, publish it: version 2."
"""What the next version of the code location says of its job `compaction`."""
HEARTBEAT_SECONDS = 90.0
_CODE = "{workspaceOrError{... on Workspace{locationEntries{name loadStatus locationOrLoadError{__typename}}}}}"


@dataclass
class ProductionResult(Result):
    """What a run came to, and what Dagster must not leave behind."""

    stuck: list[str] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    """Runs by how they ended."""
    retried: int = 0
    workers: dict[str, int] = field(default_factory=dict)
    """How many tasks of runs were started from each image."""
    longest_overrides: int = 0
    forgotten: int = 0
    """Runs that were removed at the end, as production removes old ones."""
    ticks: dict[str, dict[str, int]] = field(default_factory=dict)
    """How many ticks of each sensor and schedule ended in which way."""
    tables: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """Rows and bytes of each table of the database: when Dagster had started, at rest, after runs were forgotten."""
    recovery: Recovery | None = None
    """How Dagster came back from the loss of its database, if that was planned."""

    @property
    def wrong(self) -> list[str]:
        """All that is not as it must be, in words."""
        return [*super().wrong, *(f"stuck: {text}" for text in self.stuck)]


@dataclass
class ProductionRun(Run):
    """One run in a folder that is its own."""

    result: ProductionResult = field(default_factory=ProductionResult)
    _database: str = ""

    # ---- starting and stopping

    def _start(self, serves: ExitStack) -> Parts:
        serves.enter_context(own_environment())
        port = ports.free_port()
        self.home.path.mkdir(parents=True, exist_ok=True)
        self.home.save(Stack(**{**vars(Stack.new()), "phase": "stopped", "port": port}))
        contracts = load_contracts()
        self.say("the stack starts")
        current = stack.up(self.home, contracts, port=port, say=self.say).stack
        exports = serves.enter_context(serving(Exports(Aws(current.endpoint))))
        server = serves.enter_context(running_server())
        database = server.new_database(instance.DATABASE)
        parts = ProductionParts(self.home, contracts, self.say, ports.free_port(), {"GAVEL_EXPORTS_URL": exports})
        self._prepare(parts, server, database, serves)
        self.say("Dagster starts: code server, daemon, web server")
        parts.start_dagster()
        self.result.tables["started"] = history.tables(database)
        parts.start_pump()
        commands.drop_reference_data(current)
        return parts

    def _stop(self, parts: Parts) -> None:
        assert isinstance(parts, ProductionParts)
        parts.close()
        super()._stop(parts)

    def _prepare(self, parts: ProductionParts, server: Server, database: str, serves: ExitStack) -> None:
        """Make images, the manifest of models, DAGSTER_HOME and the emulated ECS."""
        first, second = (self._image(number) for number in (1, 2))
        job = second / "orchestration" / "jobs.py"
        text = job.read_text("utf-8")
        if text.count(BEFORE) != 1:
            raise ValueError(f"{job}: expected the description {BEFORE!r} once, found it {text.count(BEFORE)} times")
        job.write_text(text.replace(BEFORE, AFTER), "utf-8")
        parts.server, self._database = server, database
        parts.ports = {"web": parts.ui_port, "code": ports.free_port(), "daemon": 0}
        workspace = instance.write(self.home.dagster, database, parts.ports["code"])
        parts.commands = instance.commands(parts.ports, workspace)
        cluster = ecs.Cluster(ecs.Image(first, {}), self.home.logs / "runs.log", installed("dagster-daemon"))
        ecs_port = serves.enter_context(ecs.serving(cluster))
        self.home.update(ui_url=f"http://127.0.0.1:{parts.ui_port}")
        environment = task_environment(parts, first, ecs_port, server.folder)
        cluster.image = ecs.Image(first, environment)
        parts.cluster = cluster
        os.environ.update({n: v for n, v in environment.items() if n.startswith(("AWS_", "DAGSTER_", "GAVEL_BUCKET"))})
        log = self.home.logs / "prepare.log"
        with pipeline_process.child_of(
            self.home, parts.stack, [*_PYTHON, "-m", "orchestration.prepare"], log
        ) as preparing:
            preparing.communicate()
        if preparing.returncode:
            raise RuntimeError(f"preparing the models ended with {preparing.returncode}:\n{emulator.tail(log)}")

    def _image(self, number: int) -> Path:
        folder = self.folder / f"image-{number}"
        shutil.copytree(REPOSITORY, folder, ignore=LEFT_OUT)
        return folder

    # ---- faults

    def _act(self, fault: Fault, parts: Parts, writers: Sequence[Writer], reader: StreamReader) -> None:
        """Kill something, hold a task back, or upgrade."""
        assert isinstance(parts, ProductionParts)
        assert parts.cluster is not None
        begun = time.time()
        match fault.target:
            case target if target == STALL:
                stalled = parts.cluster.stalled
                parts.cluster.stall += 1
                while parts.cluster.stalled == stalled and not self.over.wait(0.5):
                    pass
                if parts.cluster.stalled == stalled:
                    parts.cluster.stall = 0
                    return
                begun = time.time()
            case target if target == UPGRADE:
                self._note(begun, fault.name)
                parts.upgrade(self.folder / "image-2")
                return
            case target if target == LOSS:
                known = _runs_of(self.home.dagster)
                parts.lose_database(instance.DATABASE)
                self.result.recovery = Recovery(begun, answered_at=time.time(), runs_lost=known)
                self.say(f"Dagster answers on an empty database after {time.time() - begun:.0f} s")
                self.stopping.wait(fault.seconds)  # traffic goes on until the fault counts as done
            case _:
                if not parts.kill(fault.target, fault.seconds, self.over):
                    self.say(f"{fault.name}: there was none")
                    return
                with self.injected.lock:  # it may have been waited for
                    self.injected.times.append((time.time(), fault.name))
        self._note(begun, fault.name)

    # ---- rest and judgement

    def _failures(self, begun: datetime) -> None:
        super()._failures(begun)
        from dagster import DagsterInstance

        with DagsterInstance.from_config(str(self.home.dagster)) as used:
            records = used.get_run_records()
            history.write_runs(records, self.folder / "runs.jsonl")
            self.result.ticks = dict(history.ticks(used))
            self.result.tables["at rest"] = history.tables(self._database)
            self.result.runs = Counter(record.dagster_run.status.value for record in records)
            self.result.retried = sum(bool(record.dagster_run.parent_run_id) for record in records)
            self.result.stuck += [*slots(used), *silent_daemons(used, time.time()), *lost(records)]
            if self._plans(UPGRADE):
                self.result.stuck += not_upgraded(used, records)
            if self.result.recovery is not None:
                current = self.home.load()
                assert current is not None
                lake = lake_at(current.outputs["DataBucketName"], current.endpoint)
                self.result.recovery, found = recovered(self.result.recovery, used, lake, ENTITIES)
                self.result.stuck += found
            self.result.stuck += self._forget(used, [record.dagster_run.run_id for record in records])
            self.result.tables["forgotten"] = history.tables(self._database)

    def _forget(self, used: DagsterInstance, runs: Sequence[str]) -> Iterator[str]:
        """Remove runs as production does each night, but for a tenth of them; the newest of each asset must stay. What
        begins meanwhile does not count."""
        from orchestration.forgetting import forget, holders
        from orchestration.run_history import Keep, ran

        keep = Keep(runs=len(runs) // 10, failed=0, time=timedelta(0), snapshots=0)
        assets = used.all_asset_keys()
        before = {key: used.get_latest_materialization_event(key) for key in assets}
        holding = len(holders(used.event_log_storage))
        self.result.forgotten = forget(used, datetime.now(UTC), keep).runs
        remaining = used.get_run_records()
        left = len({record.dagster_run.run_id for record in remaining}.intersection(runs))
        of_askers = len({ran(record).requested_by for record in remaining})
        if left != len(runs) - self.result.forgotten or left > keep.runs + holding + of_askers:
            yield f"{len(runs)} runs, {self.result.forgotten} forgotten, but {left} are left"
        for key, event in before.items():
            newest = used.get_latest_materialization_event(key)
            if event and (newest is None or newest.timestamp < event.timestamp):
                yield f"the newest of {key.to_user_string()} was forgotten with its run"

    def _judge(self, parts: Parts, journal: object, reader: StreamReader) -> None:
        super()._judge(parts, journal, reader)  # type: ignore[arg-type]
        assert isinstance(parts, ProductionParts)
        assert parts.cluster is not None
        self.result.stuck += _web(parts)
        self.result.workers = {f.name: parts.cluster.ran(f) for f in (self.folder / "image-1", self.folder / "image-2")}
        self.result.longest_overrides = parts.cluster.longest
        if self._plans(UPGRADE):
            self.result.stuck += [f"no run began from {name}" for name, n in self.result.workers.items() if not n]

    def _plans(self, target: str) -> bool:
        return any(fault.target == target for fault in self.plan)


def _runs_of(home: Path) -> int:
    """How many runs Dagster knows."""
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(home)) as used:
        return used.get_runs_count()


_PYTHON = [sys.executable]


@contextmanager
def own_environment() -> Iterator[None]:
    """Restore this process's environment afterwards. Meanwhile all that it starts keeps what is only for a moment in a
    folder that goes: what is killed leaves such things behind. And it obeys SIGINT, as in a container: a shell lets
    what it starts in the background ignore that, and Dagster's servers do with SIGTERM as with SIGINT."""
    before, sign = dict(os.environ), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with TemporaryDirectory(prefix="gavel-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # a socket's is short
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            signal.signal(signal.SIGINT, sign)


def slots(used: DagsterInstance) -> Iterator[str]:
    """Slots of pools that a finished run holds, and steps that wait for one in vain."""
    log = used.event_log_storage
    for pool in sorted(log.get_concurrency_keys()):
        found = log.get_concurrency_info(pool)
        for run_id in sorted(found.active_run_ids | found.pending_run_ids):
            run = used.get_run_by_id(run_id)
            if run is None or run.is_finished:
                yield f"pool {pool}: the run {run_id[:8]} is over and holds a slot or waits for one"


def silent_daemons(used: DagsterInstance, now: float) -> Iterator[str]:
    """Daemons that have not said for a while that they live."""
    for name, beat in sorted(used.get_daemon_statuses().items()):
        last = beat.last_heartbeat
        if last is None or now - last.timestamp > HEARTBEAT_SECONDS:
            yield f"the daemon {name} said last at {last and datetime.fromtimestamp(last.timestamp, UTC)} that it lives"


def lost(records: Sequence[RunRecord]) -> Iterator[str]:
    """Runs that failed with their worker, were not started again, and whose work no later run of the job did.
    `records`: the newest first. Dagster gives a retry up if the code server does not answer at that moment."""
    again = Counter(record.dagster_run.root_run_id or record.dagster_run.run_id for record in records)
    done: set[str] = set()
    for record in records:
        run = record.dagster_run
        of_step = run.tags.get("dagster/failure_reason") == "STEP_FAILURE"  # sensors request that work again
        first = run.status.value == "FAILURE" and not run.parent_run_id and not of_step
        if run.status.value == "SUCCESS":
            done.add(run.job_name)
        elif first and again[run.run_id] == 1 and run.job_name not in done and "dagster/max_retries" in run.tags:
            yield f"the run {run.job_name} {run.run_id[:8]} failed, was not started again, and nobody did its work"


def not_upgraded(used: DagsterInstance, records: Sequence[RunRecord]) -> Iterator[str]:
    """Says if no run of `compaction` is of the next version."""
    jobs = {r.dagster_run.job_snapshot_id for r in records if r.dagster_run.job_name == "compaction"}
    if AFTER not in {used.get_job_snapshot(job).description for job in jobs if job}:
        yield "no run of compaction is of the next version of the code location"


def _web(parts: ProductionParts) -> Iterator[str]:
    """What is wrong with what people see."""
    url = f"http://127.0.0.1:{parts.ports['web']}/graphql"
    request = Request(url, json.dumps({"query": _CODE}).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:  # noqa: S310 - an address of this machine
        (entry,) = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
    loaded = entry["locationOrLoadError"] or {}
    if entry["loadStatus"] != "LOADED" or loaded.get("__typename") != "RepositoryLocation":
        yield f"the web server does not show the code location: {entry}"
    for name in SERVICES:
        if not parts.services[name].alive:
            yield f"{name} does not run"
