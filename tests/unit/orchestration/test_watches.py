"""Whatever goes wrong and is right again, and whatever cannot be looked at meanwhile: each time is reported once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as settings_of_search
from hypothesis import strategies as st

from assets.data_times import TableRead
from assets.resources import LakeResource
from contracts import load_contracts
from lakehouse.intake.hourly import Hour
from lakehouse.results import Failing, Failure, Published
from lakehouse.storage.store import StoredObject
from orchestration.alerts.drill_scenarios import SeededView
from orchestration.alerts.late import Late
from orchestration.alerts.outbox import Outbox
from orchestration.alerts.sensor import Look, Seen, alert_sensor, look_at_all
from orchestration.alerts.stream_metrics import StreamMetrics
from orchestration.alerts.ticks import Trouble
from orchestration.alerts.watches import cost, freshness, ticks, watches
from orchestration.alerts.watches.objects import PREFIXES
from orchestration.alerts.watches.quarantine import rate_problem
from orchestration.definitions import build
from orchestration.settings import Settings
from tests.support.alerting import NOON, Topic
from tests.support.depth import examples
from tests.support.private_dagster import AssetCheckEvaluationPlanned

ENTITIES = ("orders", "bids", "lots", "payments")
REPORTS = {f"r{n}": dg.AssetKey(["reports", f"r{n}"]) for n in range(4)}
READS = {"r0": ("orders",), "r1": ("bids", "lots"), "r2": ("payments",), "r3": ("orders", "payments")}
STATES = ("fresh", "late", "unreadable")
PATHS = [prefix.path for prefix in PREFIXES]
searching = settings_of_search(
    max_examples=examples(10), deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
Tick = Callable[..., Any]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dg.RepositoryDefinition:
    """The product's code location on a small manifest."""
    from tests.support.manifests import small_manifest

    home = tmp_path_factory.mktemp("home")
    manifest = home / "dbt" / "local" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(small_manifest()))
    return build(Settings(home=home, endpoint_url="http://127.0.0.1:1")).get_repository_def()


@pytest.fixture(scope="module")
def tick(repository: dg.RepositoryDefinition) -> Iterator[Tick]:
    """Evaluates one tick of a sensor that has a single watch, in a view, and gives its cursor back."""
    lags = {key: timedelta(minutes=30) for key in REPORTS.values()}
    view: list[SeededView] = []
    of_watch = {
        name: alert_sensor({name: watch}, lambda lake, memory, now: view[-1], 60, "http://ui")
        for name, watch in watches(load_contracts(), lags, "http://ui").items()
    }
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(name: str, cursor: str | None, seen: SeededView, topic: Topic, of: Any = instance) -> Any:
            view[:] = [seen]
            context = dg.build_sensor_context(
                instance=of,
                cursor=cursor,
                repository_def=repository,
                resources={"alerts": topic, "lake": LakeResource(environment="local", bucket="bucket")},
            )
            return of_watch[name].evaluate_tick(context)

        yield tick


def through(tick: Tick, name: str, looks: list[SeededView]) -> tuple[Topic, list[Any]]:
    """A tick for each look: what was reported, and the ticks."""
    topic, cursor, ticked = Topic([]), None, []
    for look in looks:
        ticked.append(tick(name, cursor, look, topic))
        cursor = ticked[-1].cursor
        assert len(cursor) < 20_000
    return topic, ticked


def state(entity: str, late: bool) -> Published:
    mark = NOON if late else datetime.now(UTC).replace(microsecond=0)
    return Published(entity, "m", "c", 1, 1, mark, 1, 1, 1, 1, "1")


def view_of(step: Mapping[str, str]) -> SeededView:
    """What is published, by entity: fresh, late or unreadable."""
    return SeededView(
        {e: FileNotFoundError("gone") if s == "unreadable" else state(e, s == "late") for e, s in step.items()}
    )


def turned(history: list[str], to: str) -> int:
    """How often something became so; nothing is known of it while it is unreadable."""
    known = [one for one in history if one != "unreadable"]
    return sum(one == to and (not n or known[n - 1] != to) for n, one in enumerate(known))


def streaks(history: list[bool]) -> tuple[int, int]:
    """How often it began, and how often it ended."""
    began = sum(now and (not n or not history[n - 1]) for n, now in enumerate(history))
    return began, sum(not now and n > 0 and history[n - 1] for n, now in enumerate(history))


def reported(topic: Topic, text: str) -> tuple[int, int]:
    """How often something was said to be wrong, and to be over."""
    raised = sum((part.what + part.why).count(text) > 0 for part in topic.parts())
    return raised, sum(text in part.what + part.why for part in topic.parts("resolved"))


states = st.lists(
    st.fixed_dictionaries({entity: st.sampled_from(STATES) for entity in ENTITIES}), min_size=1, max_size=5
)


def test_the_empty_table_of_a_first_batch_is_not_late(tick: Tick) -> None:
    """It is there before the batch is published."""
    empty = replace(state("orders", late=True), watermark=None, snapshot_id=None)
    never = replace(state("bids", late=True), watermark=None)
    topic, _ = through(tick, "published tables", [SeededView({"orders": empty, "bids": never})])
    assert topic.whats == ["Published data is late: bids"]


@given(steps=states)
@searching
def test_tables_are_reported_once_for_each_time_that_they_turn(tick: Tick, steps: list[dict[str, str]]) -> None:
    topic, _ = through(tick, "published tables", [view_of(step) for step in steps])
    for entity in ENTITIES:
        history = [step[entity] for step in steps]
        assert reported(topic, f"{entity} is published up to")[0] == turned(history, "late")
        unreadable = streaks([one == "unreadable" for one in history])
        assert reported(topic, f"{entity} cannot be read: ")[0] == unreadable[0]
        over = [p for p in topic.parts("resolved") if p.kind == "published-data-is-late" and entity in p.what]
        known = [one for one in history if one != "unreadable"]
        assert len(over) == streaks([one == "late" for one in known])[1]


@given(steps=states)
@searching
def test_models_are_not_forgotten_while_a_table_is_unreadable(
    tick: Tick, monkeypatch: pytest.MonkeyPatch, steps: list[dict[str, str]]
) -> None:
    """A model is as late as its tables: while one of them is unreadable it stays what it was, and is not reported."""
    built = {REPORTS[name]: {e: TableRead("1:1", NOON) for e in read} for name, read in READS.items()}
    monkeypatch.setattr(freshness, "recorded_reads", lambda instance, models: built)
    topic, ticked = through(tick, "marts and reports", [view_of(step) for step in steps])
    for name, read in READS.items():
        histories = [[step[entity] for entity in read] for step in steps]
        history = ["unreadable" if "unreadable" in h else "late" if "late" in h else "fresh" for h in histories]
        assert reported(topic, f"reports/{name} is true for")[0] == turned(history, "late"), (name, history)
        known = [one for one in history if one != "unreadable"]
        last = Late.from_text(json.loads(Outbox.from_cursor(ticked[-1].cursor).inner or "")["marts and reports"]).late
        assert (f"reports/{name}" in last) == (known[-1:] == ["late"])


@given(
    steps=st.lists(
        st.fixed_dictionaries({path: st.sampled_from(("nothing", "there", "unreadable")) for path in PATHS}),
        min_size=1,
        max_size=5,
    )
)
@searching
def test_every_prefix_is_reported_by_itself(tick: Tick, steps: list[dict[str, str]]) -> None:
    """What is there where it can be listed, and once for each streak that it cannot: neither hides the other."""
    looks = [
        SeededView(
            objects=[StoredObject(f"{p}orders/1", "e", 1, NOON) for p, s in step.items() if s != "nothing"],
            unlisted={p for p, s in step.items() if s == "unreadable"},
        )
        for step in steps
    ]
    topic, _ = through(tick, "objects that are set aside", looks)
    for path in PATHS:
        history = [step[path] for step in steps]
        known = [one == "there" for one in history if one != "unreadable"]
        assert reported(topic, f"1 object(s) below {path}") == streaks(known)
        blind = streaks([one == "unreadable" for one in history])
        assert reported(topic, f"Objects below {path}")[0] == blind[0]


@given(steps=st.lists(st.sets(st.sampled_from("abcdef")), min_size=1, max_size=5))
@searching
def test_ticks_in_trouble_are_reported_once_a_streak(
    tick: Tick, monkeypatch: pytest.MonkeyPatch, steps: list[set[str]]
) -> None:
    remaining = list(steps)

    def found(instance: object, now: datetime) -> list[Trouble]:
        step = remaining.pop(0)
        unseen = {f"entity-{name}": (NOON, "OSError") for name in step}
        return [
            *(Trouble(f"name-{name}", "sensor", NOON, "tick failed") for name in step),
            Trouble("landed_objects", "sensor", NOON, "in part", noted=True, unseen=unseen),
            Trouble("alerts", "sensor", NOON, "2 alert(s) could not be sent", noted=True, unseen={"x": (NOON, "y")}),
        ]

    monkeypatch.setattr(ticks, "troubles", found)
    topic, _ = through(tick, "ticks", [SeededView()] * len(steps))
    for name in "abcdef":
        history = [name in step for step in steps]
        assert reported(topic, f"name-{name}") == streaks(history)
        assert reported(topic, f"entity-{name}") == streaks(history)
    assert not any("alerts" in part.what for alert in topic.sent for part in alert.parts), "it tells that itself"


@given(failing=st.lists(st.integers(0, 3), min_size=1, max_size=4))
@settings_of_search(
    max_examples=examples(5), deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_every_job_whose_run_failed_is_reported(tick: Tick, failing: list[int]) -> None:
    """Those of other code locations are not ours to tell, and what failed before the first look is history. A job that
    fails again before it succeeded is the same problem."""
    topic, cursor = Topic([]), None
    with dg.DagsterInstance.ephemeral() as instance:
        for fail in [2, *failing]:
            for number in range(fail):
                job = "compaction" if number % 2 == 0 else "somebody_elses"
                instance.report_run_failed(instance.create_run_for_job(_trivial(job)))
            cursor = tick("runs", cursor, SeededView(), topic, of=instance).cursor
        assert len(topic.sent) == any(failing)
        if any(failing):
            _trivial("compaction").execute_in_process(instance=instance)
            tick("runs", cursor, SeededView(), topic, of=instance)
            assert topic.whats[1:] == ["Resolved: Run of compaction failed"]


def _trivial(name: str) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    return dg.GraphDefinition(name=name, node_defs=[nothing]).to_job(name)


CHECKS = [dg.AssetCheckKey(dg.AssetKey(["catalog", e]), "no_hand_made_change") for e in ("orders", "bids", "lots")]


def plan_check(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> None:
    """A run that will execute the check begins."""
    run = instance.create_run_for_job(_trivial("checked"))
    planned = AssetCheckEvaluationPlanned(asset_key=key.asset_key, check_name=key.name)
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value
    event = dg.DagsterEvent(kind, run.job_name, event_specific_data=planned)
    instance.report_dagster_event(event, run.run_id)


@given(
    steps=st.lists(
        st.lists(st.sampled_from((None, "under way", False, True)), min_size=3, max_size=3), min_size=1, max_size=5
    )
)
@searching
def test_every_check_that_turns_red_is_reported_once_a_streak(tick: Tick, steps: list[list[bool | str | None]]) -> None:
    """Of whatever severity; a check that is not run again, or is being run, stays what it was."""
    topic, cursor = Topic([]), None
    with dg.DagsterInstance.ephemeral() as instance:
        for step in steps:
            for key, passed in zip(CHECKS, step, strict=True):
                if passed == "under way":
                    plan_check(instance, key)
                elif isinstance(passed, bool):
                    result = dg.AssetCheckEvaluation(key.asset_key, key.name, passed, {}, description="who was it?")
                    instance.report_runless_asset_event(result)
            cursor = tick("checks", cursor, SeededView(), topic, of=instance).cursor
    for number, key in enumerate(CHECKS):
        history = [step[number] for step in steps if isinstance(step[number], bool)]
        said = f"{key.asset_key.to_user_string()} {key.name}"
        assert reported(topic, said) == streaks([passed is False for passed in history])


def test_a_red_check_is_not_over_while_it_is_run_again(tick: Tick) -> None:
    topic, cursor, key = Topic([]), None, CHECKS[0]
    with dg.DagsterInstance.ephemeral() as instance:
        for passed in (False, None, None, False, None, True):
            if passed is None:
                plan_check(instance, key)
            else:
                instance.report_runless_asset_event(dg.AssetCheckEvaluation(key.asset_key, key.name, passed, {}))
            cursor = tick("checks", cursor, SeededView(), topic, of=instance).cursor
    name = "Checks failed: catalog/orders no_hand_made_change"
    assert topic.whats == [name, f"Resolved: {name}"]


def test_a_warning_of_models_counts_when_two_builds_found_it_or_none_came_after(
    tick: Tick, repository: dg.RepositoryDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = next(k for k in repository.asset_graph.asset_check_keys if k.asset_key.path[0] == "marts")
    name = f"Checks failed: {key.asset_key.to_user_string()} {key.name}"

    def said(results: list[tuple[bool, dg.AssetCheckSeverity]]) -> list[str]:
        topic, cursor = Topic([]), None
        with dg.DagsterInstance.ephemeral() as instance:
            for passed, severity in results:
                result = dg.AssetCheckEvaluation(key.asset_key, key.name, passed, {}, severity=severity)
                instance.report_runless_asset_event(result)
                cursor = tick("checks", cursor, SeededView(), topic, of=instance).cursor
        return topic.whats

    warned, passed = (False, dg.AssetCheckSeverity.WARN), (True, dg.AssetCheckSeverity.WARN)
    assert said([warned, passed, warned, passed]) == []
    assert said([passed, warned, warned, warned, passed]) == [name, f"Resolved: {name}"]
    assert said([(False, dg.AssetCheckSeverity.ERROR)]) == [name]
    monkeypatch.setattr("orchestration.alerts.watches.checks.PATIENCE", timedelta(0))
    assert said([warned]) == [name]


def test_a_watch_that_fails_or_takes_long_hides_no_other() -> None:
    going_on = Event()

    def fails(look: Look, cursor: str | None) -> Seen:
        raise PermissionError("the bucket")

    def hangs(look: Look, cursor: str | None) -> Seen:
        going_on.wait()
        return Seen("later", "")

    def works(look: Look, cursor: str | None) -> Seen:
        return Seen("now", "All is well.")

    look: Any = None
    try:
        found = look_at_all({"a": fails, "b": hangs, "c": works}, look, {}, {}, seconds=0.2)
    finally:
        going_on.set()
    assert isinstance(found["a"], PermissionError)
    assert "b" not in found, "see test_slow_watches"
    assert found["c"] == Seen("now", "All is well.")


def test_what_a_failed_watch_had_reported_is_not_over(tick: Tick) -> None:
    letters = SeededView(queues={"inbound-dead-letters": 2})
    broken: Any = SimpleNamespace()  # no queue can be looked at
    topic, ticked = through(tick, "dead letters", [letters, broken, broken, letters, SeededView()])
    assert topic.whats == [
        "2 dead letter(s) wait: inbound-dead-letters",
        "dead letters cannot be watched",
        "Resolved: dead letters cannot be watched",
        "Resolved: 2 dead letter(s) wait: inbound-dead-letters",
    ]
    assert ticked[-1].skip_message == "No dead letter waits."


def test_held_objects_are_named_and_how_they_are_put_back(tick: Tick) -> None:
    held = [Failing("orders", f"landing/orders/{n}", "e", Failure.DATA, "audit", held=True) for n in range(2)]
    many = [
        Failing("orders", f"landing/orders/{n}", "e", Failure.POISON, "x", held=False, attempts=2) for n in range(12)
    ]
    topic, _ = through(tick, "held objects", [SeededView(failing_objects={"orders": one}) for one in (held, many, [])])
    (first,) = topic.parts()
    assert first.what == "2 landed object(s) of orders held or failing"
    assert '"objects": ["landing/orders/0", "landing/orders/1"]' in first.why
    assert "landing/orders/1 (data; held): audit" in first.why
    assert topic.whats[-1].startswith("Resolved: ")
    assert len(topic.sent) == 2, "twelve are not ten times as many as two"


@pytest.mark.parametrize(
    ("rows", "aside", "severity"),
    [(1000, 19, None), (1000, 49, None), (1000, 50, "error"), (100, 50, "critical"), (10, 10, None), (0, 0, None)],
)
def test_many_bad_rows_are_reported_by_their_share(rows: int, aside: int, severity: str | None) -> None:
    hours = {NOON - timedelta(hours=2): Hour(rows, aside), NOON - timedelta(days=3): Hour(1000, 1000)}
    problem = rate_problem("orders", hours, NOON, "")
    assert (problem and (problem.severity or "error")) == severity


@pytest.mark.parametrize(
    ("metrics", "whats"),
    [
        (StreamMetrics(ages={"relay": timedelta(minutes=14)}), []),
        (StreamMetrics(ages={"fanout": timedelta(hours=13)}), [("stream-is-late", "critical")]),
        (StreamMetrics(ages={"relay": timedelta(minutes=16)}), [("stream-is-late", "error")]),
        (StreamMetrics(unrelayed_since=NOON - timedelta(hours=1)), []),
        (StreamMetrics(unrelayed_since=NOON - timedelta(hours=3)), [("stream-is-late", "error")]),
        (
            StreamMetrics(unrelayed_since=NOON - timedelta(hours=25)),
            [("stream-is-late", "critical"), ("changes-may-be-lost", "critical")],
        ),
        (
            StreamMetrics(ages={"relay": timedelta(hours=24)}),
            [("stream-is-late", "critical"), ("changes-may-be-lost", "critical")],
        ),
    ],
)
def test_the_stream_is_reported_long_before_it_forgets(metrics: StreamMetrics, whats: list[tuple[str, str]]) -> None:
    look: Any = SimpleNamespace(view=SeededView(metrics=metrics), now=NOON)
    seen = watches(load_contracts(), {}, "")["stream"](look, None)
    assert [(p.kind, p.severity or "critical") for p in seen.problems] == whats


@pytest.mark.parametrize(
    ("usd", "usual", "limit", "is_reported"),
    [(4.9, 1.0, None, 0), (5.1, 1.0, None, 1), (29.0, 10.0, None, 0), (31.0, 10.0, None, 1), (11.0, 10.0, 10.5, 1)],
)
def test_a_day_that_costs_much_more_than_usual_or_than_allowed_is_reported(
    usd: float, usual: float, limit: float | None, is_reported: int
) -> None:
    bills = [usd, usual, *[usual] * 14]
    problem = cost.cost_problem(NOON, usd, bills[2:], limit, "")
    assert bool(problem) == bool(is_reported)
