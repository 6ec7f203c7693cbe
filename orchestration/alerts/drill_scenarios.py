"""Faults for the drill, one for each kind of alert: how each is seeded and healed, in an instance and a view of its
own.

The watches and the sensor are the real ones. What they look at is an instance of Dagster with real runs, checks and
ticks in a folder of the drill's own, and, in place of the environment's lake, stream and queues, what is seeded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets.data_times import TABLES_READ
from contracts import load_contracts
from contracts.health import Health
from lakehouse.drift.findings import OUTSIDE, Drifted, Report
from lakehouse.intake.hourly import Hour
from lakehouse.publish.lateness import Followed, in_order
from lakehouse.results import Failing, Failure, Published
from lakehouse.storage.store import StoredObject
from orchestration.alerts.outbox import Outbox
from orchestration.alerts.stream_metrics import StreamMetrics
from orchestration.private_dagster import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
    ScheduleInstigatorData,
    SensorInstigatorData,
    SerializableErrorInfo,
    TickData,
    TickStatus,
)

ENTITY = "orders"
MART = dg.AssetKey(["marts", "drill"])
CHECK, PARITY_CHECK = "drill", "parity_drill"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
JOB, LASTING_JOB = "drill", "drill_that_lasts"


@dataclass
class SeededView:
    """An environment as it is wanted. An exception in place of a value belongs to its entity, or is raised."""

    states: dict[str, Published | Exception] = field(default_factory=dict)
    objects: list[StoredObject] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    failing_objects: dict[str, list[Failing] | Exception] = field(default_factory=dict)
    hours: dict[str, dict[datetime, Hour] | Exception] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)
    metrics: StreamMetrics = field(default_factory=StreamMetrics)
    bills: dict[str, float] = field(default_factory=dict)
    publications: Followed = field(default_factory=lambda: Followed(datetime.now(UTC), {}))
    looked: dict[str, Report] = field(default_factory=dict)
    shown: list[Health] = field(default_factory=list)

    def published(self) -> tuple[list[Published], dict[str, Exception]]:
        good, errors = _parted(self.states)
        return list(good.values()), errors

    def listed(self, prefix: str) -> Iterator[StoredObject]:
        yield from (o for o in self.objects if o.key.startswith(prefix))
        if prefix in self.unlisted:
            raise ConnectionError(f"{prefix} timed out")

    def failing(self) -> tuple[dict[str, list[Failing]], dict[str, Exception]]:
        return _parted(self.failing_objects)

    def hourly(self) -> tuple[dict[str, dict[datetime, Hour]], dict[str, Exception]]:
        return _parted(self.hours)

    def letters(self) -> Mapping[str, int]:
        return self.queues

    def stream(self) -> StreamMetrics:
        return self.metrics

    def billed(self, day: datetime) -> float:
        return self.bills.get(f"{day:%Y-%m-%d}", 0.0)

    def followed(self) -> Followed:
        return self.publications

    def drift(self) -> tuple[Mapping[str, Report], Mapping[str, Exception]]:
        return self.looked, {}

    def show(self, found: Health) -> None:
        self.shown.append(found)


def _parted(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Exception]]:
    errors = {name: value for name, value in found.items() if isinstance(value, Exception)}
    return {name: value for name, value in found.items() if name not in errors}, errors


@dataclass
class World:
    """What the drill's sensor looks at, and the switches of its code location; `refusing` is the receiver's."""

    instance: dg.DagsterInstance
    view: SeededView = field(default_factory=SeededView)
    failing_step: bool = False
    refusing: Callable[[bool], None] = lambda refuse: None
    lasting: list[dg.DagsterRun] = field(default_factory=list)

    def definitions(self) -> dg.Definitions:
        """Jobs with a step that fails when it is to, and a mart with two checks."""

        @dg.op(name="step")
        def step() -> None:
            if self.failing_step:
                raise OSError("no space left on device")

        jobs = [dg.GraphDefinition(name=name, node_defs=[step]).to_job(name) for name in (JOB, LASTING_JOB)]

        @dg.asset(
            key=MART, check_specs=[dg.AssetCheckSpec(CHECK, asset=MART), dg.AssetCheckSpec(PARITY_CHECK, asset=MART)]
        )
        def mart() -> dg.MaterializeResult: ...  # type: ignore[type-arg, empty-body]

        return dg.Definitions(assets=[mart], jobs=jobs)

    def run(self) -> None:
        """Run the job."""
        self.definitions().resolve_job_def(JOB).execute_in_process(instance=self.instance, raise_on_error=False)


@dataclass(frozen=True)
class Scenario:
    """How a kind of alert is provoked, and how what provoked it is set right."""

    kind: str
    seed: Callable[[World], None]
    heal: Callable[[World], None]


def state(age: timedelta = timedelta(0)) -> Published:
    """A published table whose watermark is so old."""
    return Published(ENTITY, "m", "c", 1, 1, datetime.now(UTC) - age, 1, 1, 1, 1, "1")


def healthy(world: World) -> None:
    """The world without a fault: what a drill begins with."""
    world.view = SeededView(states={ENTITY: state()})
    materialize(world, timedelta(0))


def materialize(world: World, age: timedelta) -> None:
    """Let the mart be made of rows of so long ago, which are not the present ones."""
    read = {ENTITY: {"rows": "0:0", "until": (datetime.now(UTC) - age).isoformat()}}
    event = dg.AssetMaterialization(MART, metadata={TABLES_READ: dg.MetadataValue.json(read)})
    world.instance.report_runless_asset_event(event)


def _run(fail: bool) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.failing_step = fail
        world.run()

    return act


def _begin_a_run(world: World) -> None:
    job = world.definitions().resolve_job_def(LASTING_JOB)
    world.lasting.append(world.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED))


def _end_the_run(world: World) -> None:
    world.instance.report_run_canceled(world.lasting.pop())


def _check(name: str, passed: bool) -> Callable[[World], None]:
    def act(world: World) -> None:
        result = dg.AssetCheckEvaluation(MART, name, passed, {}, description="3 rows differ")
        world.instance.report_runless_asset_event(result)

    return act


def _view(**changes: Any) -> Callable[[World], None]:
    """Sets parts of the view; what is callable is made at that moment."""

    def act(world: World) -> None:
        for name, value in changes.items():
            setattr(world.view, name, value() if callable(value) else value)

    return act


def _tick(kind: InstigatorType, good: bool) -> Callable[[World], None]:
    def act(world: World) -> None:
        now, name = datetime.now(UTC), f"drill_{kind.value.lower()}"
        data = (
            ScheduleInstigatorData("0 0 1 1 *", now.timestamp())
            if kind is InstigatorType.SCHEDULE
            else SensorInstigatorData(min_interval=30, last_tick_timestamp=now.timestamp())
        )
        known = _put(world, name, kind, data)
        status = TickStatus.SKIPPED if good else TickStatus.FAILURE
        error = None if good else SerializableErrorInfo("PermissionError: the bucket", [], None)
        tick = TickData(
            known.instigator_origin_id, name, kind, status, now.timestamp(), selector_id=known.selector_id, error=error
        )
        world.instance.create_tick(tick)

    return act


def _note(unseen: Mapping[str, str]) -> Callable[[World], None]:
    """Lets a sensor note in its cursor what it cannot look at."""

    def act(world: World) -> None:
        now = datetime.now(UTC)
        cursor = Outbox(unseen={name: (now, why) for name, why in unseen.items()}).to_cursor("{}")
        data = SensorInstigatorData(min_interval=30, last_tick_timestamp=now.timestamp(), cursor=cursor)
        _put(world, "drill_listing", InstigatorType.SENSOR, data)

    return act


def _put(
    world: World, name: str, kind: InstigatorType, data: ScheduleInstigatorData | SensorInstigatorData
) -> InstigatorState:
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("drill"), "__repository__")
    known = InstigatorState(RemoteInstigatorOrigin(repository, name), kind, InstigatorStatus.DECLARED_IN_CODE, data)
    there = world.instance.get_instigator_state(known.instigator_origin_id, known.selector_id)
    (world.instance.update_instigator_state if there else world.instance.add_instigator_state)(known)
    return known


def _object(prefix: str) -> Callable[[], list[StoredObject]]:
    return lambda: [StoredObject(f"{prefix}{ENTITY}/drill", "e", 1, datetime.now(UTC))]


def _held() -> dict[str, list[Failing]]:
    failing = Failing(ENTITY, f"landing/{ENTITY}/drill.parquet", "e", Failure.DATA, "the audit failed", held=True)
    return {ENTITY: [failing]}


def _bad_rows() -> dict[str, dict[datetime, Hour]]:
    return {ENTITY: {datetime.now(UTC) - HOUR: Hour(100, 60)}}


def _silence() -> dict[str, dict[datetime, Hour]]:
    """Six weeks of an even flow, and nothing in the last three hours."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return {ENTITY: {now - back * HOUR: Hour(200, 0) for back in range(4, 6 * 7 * 24)}}


def _flow() -> dict[str, dict[datetime, Hour]]:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return {ENTITY: {now - back * HOUR: Hour(200, 0) for back in range(6 * 7 * 24)}}


def _bills(today: float) -> Callable[[], dict[str, float]]:
    def bills() -> dict[str, float]:
        days = [datetime.now(UTC) - timedelta(days=back) for back in range(16)]
        return {f"{day:%Y-%m-%d}": today if day is days[0] else 10.0 for day in days}

    return bills


def _followed(late: timedelta) -> Callable[[], Followed]:
    """Three weeks in which the table was published each minute, but for one gap, which ended a minute ago."""

    def followed() -> Followed:
        now = datetime.now(UTC)
        ages = [timedelta(minutes=back) for back in range(3 * 7 * 24 * 60)]
        target = timedelta(minutes=load_contracts()[ENTITY].freshness_minutes)
        kept = [now - age for age in ages if age <= MINUTE or age > late + target]
        return Followed(now, in_order({("table", ENTITY): [(at, at, True) for at in kept]}))

    return followed


def _lost() -> StreamMetrics:
    return StreamMetrics(unrelayed_since=datetime.now(UTC) - timedelta(hours=30))


def _by_hand() -> Drifted:
    role, who = "gavel-drill-runs", "arn:aws:iam::000000000000:user/drill"
    do = "Set it back by hand, as the template has it: deploying again changes only what differs between templates."
    found = "arn:aws:iam::aws:policy/AdministratorAccess"
    unit = "gavel-drill-pipeline"
    return Drifted(
        "policies", unit, role, "attached policy", "none but the template's", found, do, datetime.now(UTC), who
    )


def _looked(*drifted: Drifted) -> dict[str, Report]:
    return {OUTSIDE: Report(datetime.now(UTC), ("policies",), drifted)}


def _refuse(refuse: bool) -> Callable[[World], None]:
    def act(world: World) -> None:
        world.refusing(refuse)
        world.view.queues = {"inbound-dead-letters": 1} if refuse else {}

    return act


def _of_freshness() -> list[Scenario]:
    return [
        Scenario(
            "published-data-is-late",
            _view(states=lambda: {ENTITY: state(timedelta(days=1))}),
            _view(states=lambda: {ENTITY: state()}),
        ),
        Scenario(
            "tables-cannot-be-read",
            _view(states=lambda: {ENTITY: FileNotFoundError("metadata.json")}),
            _view(states=lambda: {ENTITY: state()}),
        ),
        Scenario(
            "marts-are-late",
            lambda world: materialize(world, timedelta(days=1)),
            lambda world: materialize(world, timedelta(0)),
        ),
        Scenario(
            "freshness-budget-is-used-up",
            _view(publications=_followed(9 * HOUR)),
            _view(publications=_followed(MINUTE)),
        ),
        Scenario(
            "freshness-budget-burns-fast",
            _view(publications=_followed(HOUR)),
            _view(publications=_followed(MINUTE)),
        ),
    ]


def scenarios() -> list[Scenario]:
    """One for each kind of alert."""
    assert ENTITY in load_contracts()
    sensor, schedule = InstigatorType.SENSOR, InstigatorType.SCHEDULE
    late = {"relay": timedelta(minutes=40)}
    well = _view(metrics=StreamMetrics())
    nothing = _view(objects=list)
    return [
        Scenario("run-failed", _run(fail=True), _run(fail=False)),
        Scenario("run-takes-long", _begin_a_run, _end_the_run),
        Scenario("sensor-does-not-work", _tick(sensor, good=False), _tick(sensor, good=True)),
        Scenario("schedule-does-not-work", _tick(schedule, good=False), _tick(schedule, good=True)),
        Scenario("landing-cannot-be-listed", _note({ENTITY: "OSError: timed out"}), _note({})),
        Scenario("checks-failed", _check(CHECK, passed=False), _check(CHECK, passed=True)),
        Scenario("lake-and-table-differ", _check(PARITY_CHECK, passed=False), _check(PARITY_CHECK, passed=True)),
        *_of_freshness(),
        Scenario("rows-in-quarantine", _view(objects=_object("quarantine/")), nothing),
        Scenario("firehose-errors", _view(objects=_object("firehose-errors/")), nothing),
        Scenario("relay-failures", _view(objects=_object("relay-failures/")), nothing),
        Scenario("batches-given-up", _view(objects=_object("aws/lambda/")), nothing),
        Scenario("objects-held", _view(failing_objects=_held), _view(failing_objects=dict)),
        Scenario("many-rows-break-their-contract", _view(hours=_bad_rows), _view(hours=dict)),
        Scenario("dead-letters", _view(queues=lambda: {"inbound-dead-letters": 3}), _view(queues=dict)),
        Scenario("stream-is-late", _view(metrics=lambda: StreamMetrics(ages=late)), well),
        Scenario("changes-may-be-lost", _view(metrics=_lost), well),
        Scenario(
            "firehose-is-late",
            _view(metrics=lambda: StreamMetrics(undelivered={ENTITY: timedelta(hours=1)})),
            well,
        ),
        Scenario(
            "volume-is-unusual",
            _view(hours=_silence, states=lambda: {ENTITY: state()}),
            _view(hours=_flow, states=lambda: {ENTITY: state(-HOUR)}),
        ),
        Scenario("cost-is-high", _view(bills=_bills(99.0)), _view(bills=dict)),
        Scenario("environment-drifted", _view(looked=lambda: _looked(_by_hand())), _view(looked=_looked)),
        Scenario("cannot-be-watched", _view(unlisted=lambda: {"quarantine/"}), _view(unlisted=set)),
        Scenario("alerts-not-sent", _refuse(refuse=True), _refuse(refuse=False)),
    ]
