"""Production's Dagster forgets old runs, on a real PostgreSQL; whoever asks for the newest notices nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from orchestration.forgetting import Forgotten, forget
from orchestration.history_job import JOB, history_definitions
from orchestration.private_dagster import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from orchestration.run_history import PRODUCTION, Keep, all_runs
from tests.support.postgres import Server

SMALL = Keep(runs=1, failed=1, time=timedelta(0), snapshots=0)
KEYS = [dg.AssetKey("lots"), dg.AssetKey("bids")]
HOURS = dg.AssetKey("hours")


class Plan(dg.Config):
    fails: bool = False


@dg.multi_asset(
    specs=[dg.AssetSpec(key, skippable=True) for key in KEYS],
    check_specs=[dg.AssetCheckSpec("good", asset=key) for key in KEYS],
    can_subset=True,
)
def tables(context: dg.AssetExecutionContext, config: Plan) -> Iterator[Any]:
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(key)
        yield dg.AssetCheckResult(asset_key=key, check_name="good", passed=not config.fails)
    if config.fails:
        raise dg.Failure("fails on purpose")


JOB_OF_ALL = dg.Definitions(assets=[tables]).resolve_implicit_global_asset_job_def()


@pytest.fixture
def instance(tmp_path: Path, postgres_server: Server) -> Iterator[dg.DagsterInstance]:
    storage = {"postgres": {"postgres_url": postgres_server.new_database()}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def run(instance: dg.DagsterInstance, *keys: dg.AssetKey, fails: bool = False) -> str:
    done = JOB_OF_ALL.get_subset(asset_selection=set(keys)).execute_in_process(
        instance=instance, raise_on_error=False, run_config={"ops": {"tables": {"config": {"fails": fails}}}}
    )
    return done.run_id


def test_old_runs_go_and_the_newest_of_everything_stays(instance: dg.DagsterInstance) -> None:
    oldest = run(instance, *KEYS)
    first = run(instance, KEYS[0])
    failed = [run(instance, KEYS[1], fails=True) for _ in range(2)]
    rest = [run(instance, KEYS[1]) for _ in range(4)]
    for hour in (1, 1, 2):
        instance.report_runless_asset_event(dg.AssetMaterialization(HOURS, partition=f"h{hour}"))
    before = {key: instance.get_latest_materialization_event(key) for key in (*KEYS, HOURS)}

    done = forget(instance, datetime.now(UTC) + timedelta(seconds=1), SMALL)

    left = {found.run_id for found in instance.get_runs()}
    assert left == {first, failed[-1], rest[-1]}, "the newest of an asset, the newest failure, the newest run"
    assert done.runs == 8 - len(left)
    assert done.events >= 1, "the first report of an hour that was reported again"
    assert done.descriptions >= 1, "nobody needs the job of all tables any more"
    assert not instance.all_logs(oldest)
    assert instance.all_logs(first)
    assert before == {key: instance.get_latest_materialization_event(key) for key in (*KEYS, HOURS)}
    assert forget(instance, datetime.now(UTC) + timedelta(seconds=1), SMALL) == Forgotten()


def test_production_forgets_each_night_what_is_older_than_a_month(instance: dg.DagsterInstance) -> None:
    definitions = history_definitions()
    schedule = definitions.resolve_schedule_def("nightly_history")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    runs = [run(instance, KEYS[0]) for _ in range(3)]
    assert definitions.resolve_job_def(JOB).execute_in_process(instance=instance).success
    assert {*runs} < {found.run_id for found in instance.get_runs()}
    few = replace(PRODUCTION, runs=1, failed=0)
    assert forget(instance, datetime.now(UTC) + timedelta(days=29), few).runs == 0
    assert forget(instance, datetime.now(UTC) + timedelta(days=31), few).runs == 2


def test_every_run_is_found_though_others_remove_runs_meanwhile(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.run_history.PAGE", 2)
    made = [instance.create_run_for_job(JOB_OF_ALL).run_id for _ in range(5)]
    found = []
    for record in all_runs(instance):
        found.append(record.dagster_run.run_id)
        if len(found) == 2:
            instance.delete_run(made[3])
            instance.delete_run(made[4])
    assert found == [made[4], made[3], made[2], made[1], made[0]]


def test_what_a_kill_left_of_a_run_goes_with_the_next(instance: dg.DagsterInstance) -> None:
    killed, whole = run(instance, KEYS[0]), run(instance, KEYS[0])
    instance.run_storage.delete_run(killed)  # Dagster removes its events after this
    assert instance.event_log_storage.get_logs_for_run(killed)
    done = forget(instance, datetime.now(UTC), PRODUCTION)
    assert (done.runs, done.leftovers) == (0, 1)
    assert not instance.event_log_storage.get_logs_for_run(killed)
    assert instance.event_log_storage.get_logs_for_run(whole)


def test_ticks_of_a_sensor_that_is_no_more_go_but_for_the_last(instance: dg.DagsterInstance) -> None:
    now = datetime.now(UTC)
    old = with_ticks(instance, "renamed", [now - timedelta(days=days) for days in (400, 300, 200)])
    current = with_ticks(instance, "current", [now - timedelta(days=days) for days in (100, 20, 0)])
    assert forget(instance, now, PRODUCTION).ticks == 3
    assert ages(instance, old, now) == [200]
    assert ages(instance, current, now) == [0, 20]


def with_ticks(instance: dg.DagsterInstance, name: str, moments: list[datetime]) -> InstigatorState:
    """A sensor with a tick at each of these, which a killed daemon left as it began."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("gavel"), "__repository__")
    kind = InstigatorType.SENSOR
    state = InstigatorState(
        RemoteInstigatorOrigin(repository, name), kind, InstigatorStatus.DECLARED_IN_CODE, SensorInstigatorData()
    )
    instance.add_instigator_state(state)
    for moment in moments:
        instance.create_tick(
            TickData(
                state.instigator_origin_id,
                name,
                kind,
                TickStatus.STARTED,
                moment.timestamp(),
                selector_id=state.selector_id,
            )
        )
    return state


def ages(instance: dg.DagsterInstance, state: InstigatorState, now: datetime) -> list[int]:
    """How many days old the ticks of a sensor are, the newest first."""
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    return [round((now.timestamp() - tick.timestamp) / 86400) for tick in ticks]
