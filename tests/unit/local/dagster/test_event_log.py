"""The laptop's run history: what Dagster's own storage promises, with engines that are kept."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import dagster as dg
import pytest
from sqlalchemy import Connection, Engine, event

from local.dagster import event_log
from local.dagster.event_log import Engines, LaptopEventLog, LaptopRuns, work_on
from local.dagster.prepare import prepare_instance
from local.dagster.private_dagster import SqliteEventLogStorage
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


@pytest.fixture
def worked_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says that this process works on a run, as long as the test lasts."""
    monkeypatch.setattr(event_log, "_worked_on", set())
    return work_on


@dg.asset(check_specs=[dg.AssetCheckSpec(f"check_{number}", asset="checked") for number in range(20)])
def checked() -> dg.MaterializeResult:
    return dg.MaterializeResult(
        check_results=[dg.AssetCheckResult(passed=True, check_name=f"check_{n}") for n in range(20)]
    )


def test_a_laptop_keeps_its_history_in_these_storages(instance: dg.DagsterInstance):
    assert isinstance(instance.event_log_storage, LaptopEventLog)
    assert isinstance(instance.run_storage, LaptopRuns)


def test_another_process_sees_what_a_run_did(instance: dg.DagsterInstance, home: str):
    run = dg.materialize([made], instance=instance)
    with dg.DagsterInstance.from_config(home) as other:
        assert [r.run_id for r in other.get_runs()] == [run.run_id]
        assert len(other.all_logs(run.run_id)) == len(instance.all_logs(run.run_id)) > 5
        made_last = other.get_latest_materialization_event(dg.AssetKey("made"))
        assert made_last is not None
        assert made_last.run_id == run.run_id


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


def test_a_process_that_works_on_a_run_keeps_its_file_open_and_others_see_each_event(
    instance: dg.DagsterInstance, home: str, worked_on: Callable[[str], None]
):
    seen: list[tuple[int, int]] = []
    heard: Queue[str] = Queue()

    @dg.op
    def step(context: dg.OpExecutionContext) -> None:
        file = Path(storage.path_for_shard(context.run_id))
        other.watch_event_logs(context.run_id, None, lambda entry, _: heard.put(entry.user_message))
        for number in range(3):
            context.log.info(f"line {number}")
            assert heard.get(timeout=60), "whoever watches hears of it"
            said = [entry.user_message for entry in other.all_logs(context.run_id)]
            seen.append((sum(text.startswith("line") for text in said), file.stat().st_mtime_ns))

    @dg.job
    def logs() -> None:
        step()

    storage = instance.event_log_storage
    assert isinstance(storage, LaptopEventLog)
    worked_on(run_id := str(uuid.uuid4()))
    with dg.DagsterInstance.from_config(home) as other:
        logs.execute_in_process(instance=instance, run_id=run_id)
    assert [lines for lines, _ in seen] == [1, 2, 3]
    assert len({touched for _, touched in seen}) == 3
    assert Path(f"{storage.path_for_shard(run_id)}-wal").exists(), "the file is open"


def test_events_that_belong_together_are_kept_all_or_none(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    storage = instance.event_log_storage
    assert isinstance(storage, LaptopEventLog)
    run = dg.materialize([made], instance=instance)
    planned = [e for e in instance.all_logs(run.run_id) if "PLANNED" in str(e.dagster_event_type)]
    assert len(planned) == 2
    kept = SqliteEventLogStorage.store_event

    def fails_at_the_last(self: SqliteEventLogStorage, entry: dg.EventLogEntry) -> None:
        kept(self, entry)
        if entry is planned[-1]:
            raise RuntimeError("no room")

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", fails_at_the_last)
    with pytest.raises(RuntimeError, match="no room"):
        storage.store_event_batch(planned)
    assert len(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)) == 1
    monkeypatch.undo()
    storage.store_event_batch(planned)
    assert len(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)) == 2


def test_what_a_run_plans_is_written_at_once(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    committed: list[str] = []

    def note(connection: Connection) -> None:
        committed.append(str(connection.engine.url))

    event.listen(Engine, "commit", note)
    try:
        run = instance.create_run_for_job(dg.Definitions([checked]).resolve_implicit_global_asset_job_def())
    finally:
        event.remove(Engine, "commit", note)
    planned = [e for e in instance.all_logs(run.run_id) if "PLANNED" in str(e.dagster_event_type)]
    assert len(planned) == 21
    files = [Path(url).name for url in committed]
    assert files.count("index.db") <= 1
    assert files.count(f"{run.run_id}.db") <= 3  # it is made, too


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
