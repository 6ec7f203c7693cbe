"""Production's Dagster forgets old runs, on a real PostgreSQL; whoever asks for the newest notices nothing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from orchestration.run_history import JOB, PRODUCTION, Keep, all_runs, forget, history_definitions
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

    runs, events, descriptions = forget(instance, datetime.now(UTC) + timedelta(seconds=1), SMALL)

    left = {found.run_id for found in instance.get_runs()}
    assert left == {first, failed[-1], rest[-1]}, "the newest of an asset, the newest failure, the newest run"
    assert runs == 8 - len(left)
    assert events >= 1, "the first report of an hour that was reported again"
    assert descriptions >= 1, "nobody needs the job of all tables any more"
    assert not instance.all_logs(oldest)
    assert instance.all_logs(first)
    assert before == {key: instance.get_latest_materialization_event(key) for key in (*KEYS, HOURS)}
    assert forget(instance, datetime.now(UTC) + timedelta(seconds=1), SMALL) == (0, 0, 0)


def test_production_forgets_each_night_what_is_older_than_a_month(instance: dg.DagsterInstance) -> None:
    definitions = history_definitions()
    schedule = definitions.resolve_schedule_def("nightly_history")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    runs = [run(instance, KEYS[0]) for _ in range(3)]
    assert definitions.resolve_job_def(JOB).execute_in_process(instance=instance).success
    assert {*runs} < {found.run_id for found in instance.get_runs()}
    few = replace(PRODUCTION, runs=1, failed=0)
    assert forget(instance, datetime.now(UTC) + timedelta(days=29), few)[0] == 0
    assert forget(instance, datetime.now(UTC) + timedelta(days=31), few)[0] == 2


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
