"""The nightly look for drift, and the watch that reports it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest
from moto import mock_aws

from assets.resources import LakeResource
from contracts import load_contracts
from lakehouse.drift.definitions import POOLS
from lakehouse.drift.findings import NIGHTLY, OUTSIDE, Drifted, Report, Unread, key_of, read, written
from orchestration import drift
from orchestration.alerts.drill_scenarios import SeededView
from orchestration.alerts.view import LakeView, Memory
from orchestration.alerts.watches.drift import GRACE, watch_drift
from orchestration.private_dagster import (
    GrpcServerCodeLocationOrigin,
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
    SensorInstigatorData,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dg.op
def step() -> None: ...


def repository(*jobs: str) -> dg.RepositoryDefinition:
    """A code location with these jobs, and a sensor and a schedule over the first."""
    made = [dg.GraphDefinition(name=name, node_defs=[step]).to_job(name) for name in jobs]

    @dg.sensor(job=made[0], name="looks", default_status=dg.DefaultSensorStatus.RUNNING)
    def looks() -> dg.SkipReason:
        return dg.SkipReason("nothing")

    schedule = dg.ScheduleDefinition(name="nightly", job=made[0], cron_schedule="0 1 * * *")
    return dg.Definitions(jobs=made, sensors=[looks], schedules=[schedule]).get_repository_def()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def switch(instance: dg.DagsterInstance, on: bool, location: str = "gavel") -> None:
    """What the UI does when a person turns the sensor on or off."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__"), "looks"
    )
    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    state = InstigatorState(origin, InstigatorType.SENSOR, status, SensorInstigatorData(min_interval=30))
    there = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
    (instance.update_instigator_state if there else instance.add_instigator_state)(state)


def looked(instance: dg.DagsterInstance, run: Any, of: dg.RepositoryDefinition) -> list[Any]:
    context: Any = SimpleNamespace(repository_def=of, run=run, instance=instance)
    return [one for unit in drift.definition_units(context) for one in unit.look()]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a run that was started from a code server of these definitions; the server's answers are recorded ones."""

    def run(of: dg.RepositoryDefinition) -> Any:
        location = GrpcServerCodeLocationOrigin(host="code.gavel-prod.internal", port=4000, location_name="gavel")
        names = drift.names_of(of)

        def listed(kind: str) -> list[Any]:
            return [SimpleNamespace(name=name) for name in (*names[kind], "__ASSET_JOB")]

        answer = SimpleNamespace(
            get_all_jobs=lambda: listed("job"),
            get_sensors=lambda: listed("sensor"),
            get_schedules=lambda: listed("schedule"),
        )
        opened = SimpleNamespace(get_repository=lambda name: answer, cleanup=lambda: None)
        monkeypatch.setattr(GrpcServerCodeLocationOrigin, "create_location", lambda self, instance: opened)
        origin = SimpleNamespace(repository_origin=RemoteRepositoryOrigin(location, "__repository__"))
        return SimpleNamespace(remote_job_origin=origin)

    return run


def test_what_is_loaded_is_compared_with_this_version(instance: dg.DagsterInstance, served: Any) -> None:
    ours = repository("ingest", "build")
    assert looked(instance, served(ours), ours) == []
    found = looked(instance, served(repository("ingest", "older")), ours)
    assert [(one.name, one.found) for one in found] == [("job build", "none"), ("job older", "one of another version")]


def test_a_code_server_that_does_not_answer_is_unread(instance: dg.DagsterInstance, served: Any) -> None:
    from lakehouse.drift.findings import look_at

    run = served(repository("ingest"))
    switch(instance, on=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GrpcServerCodeLocationOrigin, "create_location", lambda self, instance: 1 / 0)
        context: Any = SimpleNamespace(repository_def=repository("ingest"), run=run, instance=instance)
        report = look_at(drift.definition_units(context))
    assert [one.name for one in report.drifted] == ["sensor looks"]
    assert [one.unit for one in report.unread] == ["code location"]


def test_a_sensor_that_is_switched_off_is_found_until_it_is_on(instance: dg.DagsterInstance) -> None:
    run, ours = SimpleNamespace(remote_job_origin=None), repository("ingest")
    assert looked(instance, run, ours) == []
    switch(instance, on=False)
    assert [(one.name, one.expected, one.found) for one in looked(instance, run, ours)] == [
        ("sensor looks", "RUNNING", "STOPPED")
    ]
    switch(instance, on=True)
    assert looked(instance, run, ours) == []


def test_a_pool_of_more_than_one_writer_is_found_until_it_is_as_the_rest() -> None:
    pools = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}
    with dg.DagsterInstance.ephemeral(settings=pools) as instance:
        context: Any = SimpleNamespace(repository_def=repository("ingest"), run=None, instance=instance)
        look = next(unit.look for unit in drift.definition_units(context) if unit.name == POOLS)
        log = instance.event_log_storage
        log.initialize_concurrency_limit_to_default("orders")
        log.set_concurrency_slots("bids", 1)
        assert list(look()) == []
        log.set_concurrency_slots("bids", 4)
        (one,) = look()
        assert isinstance(one, Drifted)
        assert (one.unit, one.name, one.expected, one.found) == ("pools", "pool bids", "1", "4")


def test_one_that_runs_under_its_present_address_is_on(instance: dg.DagsterInstance) -> None:
    switch(instance, on=False, location="earlier")
    switch(instance, on=True)
    assert looked(instance, SimpleNamespace(remote_job_origin=None), repository("ingest")) == []


def test_the_job_leaves_a_report_and_unread_is_not_over(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lake's bucket is a folder, its Glue is moto's, where nothing was deployed: no landing table is there. A job
    that a test runs belongs to no code location: its switches are unread."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    lake = LakeResource(environment="local", bucket="b", local_root=str(tmp_path / "lake"))
    job = drift.drift_job(load_contracts(), None)
    definitions = dg.Definitions(jobs=[job], resources={"lake": lake})

    def looked() -> Report:
        with mock_aws():
            result = definitions.resolve_job_def(drift.DRIFT).execute_in_process(instance=instance)
        assert result.success
        return read(lake.lake.store.read("drift/nightly.json"))

    first = looked()
    assert {one.what for one in first.drifted} == {"table"}
    assert [(one.part, one.unit) for one in first.unread] == [("definitions", "switches")]
    assert first.parts == ("tables", "definitions")

    def denied(glue: Any, database: str) -> Any:
        raise PermissionError("glue:GetTables")

    monkeypatch.setattr("lakehouse.drift.tables.entries_of", denied)
    second = looked()
    assert second.drifted == first.drifted
    assert len(second.unread) == 4

    lake.lake.store.write("drift/nightly.json", b'{"at": "torn')
    assert len(looked().unread) == 4, "a report that cannot be read stands in no night's way"


# ---- the watch ------------------------------------------------------------------------------------------------------


def found(part: str = "policies", unit: str = "gavel-prod-pipeline", who: str = "arn:somebody") -> Drifted:
    return Drifted(part, unit, "role", "trust policy", "a", "b", "Deploy again.", NOW - timedelta(hours=2), who)


def seen(environment: str = "prod", **reports: Report) -> Any:
    look: Any = SimpleNamespace(now=NOW, view=SeededView(looked=reports), lake=SimpleNamespace(environment=environment))
    return watch_drift("http://ui")(look, None)


def report(*drifted: Drifted, unread: tuple[Unread, ...] = (), age: timedelta = timedelta(0)) -> Report:
    return Report(NOW - age, ("policies", "stacks"), drifted, unread)


def test_what_drifted_is_a_problem_with_what_and_who() -> None:
    looked = seen(**{OUTSIDE: report(found(), found("stacks", "gavel-prod: resources", ""))})
    by_name = {problem.name: problem for problem in looked.problems}
    policies = by_name["policies, gavel-prod-pipeline"]
    assert (policies.severity, policies.since) == ("error", NOW - timedelta(hours=2))
    assert "trust policy: expected a, found b (by arn:somebody, 2026-11-21 10:00:00 UTC). Deploy again." in policies.why
    assert by_name["stacks, gavel-prod: resources"].severity is None
    assert looked.unseen == {}


def test_another_change_of_the_same_thing_is_news() -> None:
    before, same, other = (
        seen(**{OUTSIDE: report(one)}).problems[0].marks
        for one in (found(who="arn:somebody"), found(who="arn:another"), replace(found(), found="c"))
    )
    assert before == same
    assert not before & other


def test_what_is_unread_is_said_and_stays() -> None:
    looked = seen(**{OUTSIDE: report(found(), unread=(Unread("policies", "gavel-prod-pipeline", "AccessDenied"),))})
    assert [problem.name for problem in looked.problems] == ["policies, gavel-prod-pipeline"]
    assert {name: str(error) for name, error in looked.unseen.items()} == {
        "policies, gavel-prod-pipeline": "AccessDenied"
    }


def test_that_nobody_is_known_to_have_changed_it_is_said() -> None:
    (problem,) = seen("local", **{NIGHTLY: report(found(who=""))}).problems
    assert problem.why.endswith("Who changed it is not known")


def test_a_damaged_report_hides_no_other_and_ends_nothing(tmp_path: Path) -> None:
    lake = LakeResource(environment="local", bucket="b", local_root=str(tmp_path / "lake"))
    lake.lake.store.write(key_of(OUTSIDE), written(report(found())))
    lake.lake.store.write(key_of(NIGHTLY), b'{"at": "torn')
    view = LakeView(lake.lake, "prod", load_contracts(), Memory(), NOW)
    looked = watch_drift("http://ui")(cast(Any, SimpleNamespace(now=NOW, view=view, lake=lake)), None)
    assert [problem.name for problem in looked.problems] == ["policies, gavel-prod-pipeline"]
    assert [*looked.unseen] == ["drift/nightly.json"]
    assert [*looked.unknown] == ["environment-drifted"], "what was open of it stays open"


@pytest.mark.parametrize(
    ("environment", "age", "missing"),
    [("prod", None, True), ("prod", GRACE + timedelta(hours=1), True), ("prod", GRACE, False), ("local", None, False)],
)
def test_that_nobody_looks_from_outside_is_said(environment: str, age: timedelta | None, missing: bool) -> None:
    outside = {} if age is None else {OUTSIDE: report(age=age)}
    looked = seen(environment, **{NIGHTLY: report(), **outside})
    assert list(looked.unseen) == (["stacks and policies"] if missing else [])
    assert seen(environment).unseen == {}, "before the first night nobody has looked"
