"""The laptop's run history: what Dagster's own storage promises, with engines that are kept."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from local.dagster import event_log
from local.dagster.event_log import Engines, LaptopEventLog, LaptopRuns
from local.dagster.prepare import prepare_instance
from orchestration.settings import Settings


@dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="made")])
def made() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 3}, check_results=[dg.AssetCheckResult(passed=True)])


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(prepare_instance(Settings(home=tmp_path)))


@pytest.fixture
def instance(home: str) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(home) as instance:
        yield instance


def test_a_laptop_keeps_its_history_in_these_storages(instance: dg.DagsterInstance):
    assert isinstance(instance.event_log_storage, LaptopEventLog)
    assert isinstance(instance.run_storage, LaptopRuns)


def test_another_process_sees_what_a_run_did(instance: dg.DagsterInstance, home: str):
    run = dg.materialize([made], instance=instance)
    with dg.DagsterInstance.from_config(home) as other:
        assert [r.run_id for r in other.get_runs()] == [run.run_id]
        assert len(other.all_logs(run.run_id)) == len(instance.all_logs(run.run_id)) > 5
        event = other.get_latest_materialization_event(dg.AssetKey("made"))
        assert event is not None
        assert event.run_id == run.run_id


def test_a_run_that_was_deleted_is_gone_and_the_next_is_kept(instance: dg.DagsterInstance, home: str):
    first = dg.materialize([made], instance=instance)
    instance.delete_run(first.run_id)
    second = dg.materialize([made], instance=instance)
    assert [r.run_id for r in instance.get_runs()] == [second.run_id]
    assert instance.all_logs(first.run_id) == []


def test_whoever_watches_a_run_sees_its_events_while_it_goes_on(instance: dg.DagsterInstance, tmp_path: Path):
    storage = instance.event_log_storage
    assert isinstance(storage, LaptopEventLog)
    changed: list[int] = []

    @dg.op
    def step(context: dg.OpExecutionContext) -> None:
        file = Path(storage.path_for_shard(context.run_id))
        for number in range(3):
            context.log.info(f"line {number}")
            changed.append(file.stat().st_mtime_ns)

    @dg.job
    def logs() -> None:
        step()

    logs.execute_in_process(instance=instance)
    assert len(set(changed)) == 3


def test_a_run_makes_few_engines_however_many_events_it_has(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    made_for: list[str] = []
    make = event_log.create_engine
    monkeypatch.setattr(event_log, "create_engine", lambda url, **given: made_for.append(url) or make(url, **given))
    dg.materialize([made], instance=instance)
    assert len(made_for) == len(set(made_for)) <= 3


def test_a_wiped_history_is_empty_and_goes_on(instance: dg.DagsterInstance, home: str):
    first = dg.materialize([made], instance=instance)
    instance.wipe()
    assert instance.all_logs(first.run_id) == []
    second = dg.materialize([made], instance=instance)
    with dg.DagsterInstance.from_config(home) as other:
        assert [r.run_id for r in other.get_runs()] == [second.run_id]
        assert other.get_latest_materialization_event(dg.AssetKey("made")) is not None


def test_only_the_engines_used_last_are_kept():
    engines = Engines()
    first = engines.engine("sqlite:///first")
    for number in range(event_log._KEPT - 1):
        engines.engine(f"sqlite:///{number}")
    assert engines.engine("sqlite:///first") is first
    engines.engine("sqlite:///one-more")
    engines.engine("sqlite:///0")
    assert engines.engine("sqlite:///first") is first
    for number in range(event_log._KEPT):
        engines.engine(f"sqlite:///later-{number}")
    assert engines.engine("sqlite:///first") is not first


def test_a_run_says_no_events_of_dagster_on_the_screen_but_keeps_them(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
):
    @dg.asset
    def talks(context: dg.AssetExecutionContext) -> None:
        context.log.debug("a detail")
        context.log.info("a word")

    run = dg.materialize([talks], instance=instance)
    said = capfd.readouterr().err
    assert "a word" in said
    assert "DEBUG" not in said
    kinds = {entry.dagster_event_type for entry in instance.all_logs(run.run_id)}
    assert {dg.DagsterEventType.STEP_START, dg.DagsterEventType.ASSET_MATERIALIZATION} <= kinds
