"""What a laptop's Dagster forgets: old runs go with all they left, and nobody who asks for the newest notices."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assets.data_times import TABLES_READ, TableRead, as_metadata, recorded_reads
from local.dagster.event_log import LaptopEventLog, LaptopRuns
from local.dagster.history import LaptopKeep, compact, prune
from local.dagster.prepare import prepare_instance
from orchestration.forgetting import holders
from orchestration.run_history import Keep, Ran, to_forget
from orchestration.sensors import REQUEST_TAG
from orchestration.settings import Settings
from tests.support.depth import examples

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ASSETS = [dg.AssetKey(name) for name in ("one", "two", "three")]
CHECKS = [dg.AssetCheckKey(key, "good") for key in ASSETS]
HOUR = dg.AssetKey("hours")
SMALL = LaptopKeep(runs=2, failed=1, time=timedelta(0), snapshots=0, tick_logs=timedelta(0))


# ---- which runs go -------------------------------------------------------------------------------------------------

runs_of_all_kinds = st.lists(
    st.builds(
        Ran,
        run_id=st.integers(0, 10**6).map(str),
        ended=st.none() | st.integers(0, 400).map(lambda minutes: NOW - timedelta(minutes=minutes)),
        failed=st.booleans(),
        requested_by=st.sampled_from([("marts", "a"), ("marts", ""), ("reports", "b")]),
        before=st.lists(st.integers(0, 10**6).map(str), max_size=2).map(tuple),
    ),
    max_size=60,
    unique_by=lambda run: run.run_id,
)


@settings(max_examples=examples(300))
@given(runs=runs_of_all_kinds, keep=st.builds(Keep, runs=st.integers(0, 9), failed=st.integers(0, 3)), data=st.data())
def test_only_runs_go_that_nobody_needs_and_those_all_go(runs: list[Ran], keep: Keep, data: st.DataObject):
    holders = set(data.draw(st.lists(st.sampled_from([r.run_id for r in runs]), max_size=5))) if runs else set()
    gone = to_forget(runs, holders, NOW, keep)
    of = {run.run_id: run for run in runs}
    finished = [run for run in runs if run.ended]
    for run in (of[id] for id in gone):
        assert run.ended is not None, "an unfinished run is kept"
        assert run.ended <= NOW - keep.time, "what ended lately is kept"
        assert run.run_id not in holders
        newer = [r for r in finished if r.ended and r.ended >= run.ended and r is not run]
        assert len(newer) >= keep.runs
        assert not run.failed or len([r for r in newer if r.failed]) >= keep.failed
        assert any(r.requested_by == run.requested_by for r in newer), (
            "the last run of each sensor and schedule is kept"
        )
        assert not any(run.run_id in r.before for r in runs if r.ended is None), "what is continued is kept"
    lately = [r for r in finished if r.ended and r.ended > NOW - keep.time]
    most = keep.runs + keep.failed + len(holders) + len(lately) + 3 + 2 * (len(runs) - len(finished))
    assert len(finished) - len(gone) <= most
    assert [of[id].ended for id in gone] == sorted(of[id].ended or NOW for id in gone), "the oldest go first"
    assert to_forget([r for r in runs if r.run_id not in gone], holders, NOW, keep) == []


# ---- on a real instance --------------------------------------------------------------------------------------------


class Plan(dg.Config):
    fails: bool = False
    passes: bool = True
    number: int = 0


@dg.multi_asset(
    specs=[dg.AssetSpec(key, skippable=True) for key in ASSETS],
    check_specs=[dg.AssetCheckSpec("good", asset=key) for key in ASSETS],
    can_subset=True,
)
def made(context: dg.AssetExecutionContext, config: Plan) -> Iterator[Any]:
    for key in sorted(context.selected_asset_keys):
        reads = {"lots": TableRead(f"v{config.number}", NOW + timedelta(minutes=config.number))}
        yield dg.AssetObservation(key, metadata={"number": config.number})
        yield dg.MaterializeResult(key, metadata={TABLES_READ: as_metadata(reads)})
        yield dg.AssetCheckResult(asset_key=key, check_name="good", passed=config.passes)
    if config.fails:
        raise dg.Failure("fails on purpose")


DEFINITIONS = dg.Definitions(assets=[made], jobs=[dg.define_asset_job("marts", dg.AssetSelection.all())])

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("run"),
            st.sets(st.sampled_from(ASSETS), min_size=1),
            st.booleans(),
            st.sampled_from([True, True, True, False]),
        ),
        st.tuples(st.just("landed"), st.integers(0, 3), st.none(), st.none()),
        st.tuples(st.just("judged"), st.booleans(), st.none(), st.none()),
        st.tuples(st.just("queued"), st.none(), st.none(), st.none()),
        st.tuples(st.just("prune"), st.none(), st.none(), st.none()),
    ),
    min_size=4,
    max_size=12,
)


@contextmanager
def an_instance() -> Iterator[tuple[dg.DagsterInstance, Path]]:
    with TemporaryDirectory() as folder:
        home = prepare_instance(Settings(home=Path(folder)))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance, home


def run(instance: dg.DagsterInstance, assets: set[dg.AssetKey], number: int, passes: bool, succeeds: bool) -> str:
    result = DEFINITIONS.resolve_implicit_global_asset_job_def().get_subset(asset_selection=assets).execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={"dagster/sensor_name": "published_tables", REQUEST_TAG: str(number)},
        run_config={"ops": {"made": {"config": {"fails": not succeeds, "passes": passes, "number": number}}}},
    )  # fmt: skip
    return result.run_id


def do(instance: dg.DagsterInstance, step: tuple[Any, ...], number: int) -> None:
    what, given, passes, succeeds = step
    if what == "run":
        run(instance, given, number, passes, succeeds)
    elif what == "landed":
        instance.report_runless_asset_event(
            dg.AssetMaterialization(HOUR, partition=f"2026-03-01-{given:02}", metadata={"number": number})
        )
    elif what == "judged":
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=ASSETS[0], check_name="fresh", passed=given)
        )
    elif what == "queued":
        instance.create_run_for_job(DEFINITIONS.resolve_job_def("marts"))
    else:
        check_pruning(instance)


def facts(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What sensors, alerts and people ask an instance for."""
    storage = instance.event_log_storage
    return {
        "made": {key: instance.get_latest_materialization_event(key) for key in [*ASSETS, HOUR]},
        "observed": {key: instance.fetch_observations(key, limit=1).records for key in ASSETS},
        "records": instance.get_asset_records([*ASSETS, HOUR]),
        "reads": recorded_reads(instance, ASSETS),
        "checks": storage.get_asset_check_summary_records([*CHECKS, dg.AssetCheckKey(ASSETS[0], "fresh")]),
        "hours": storage.get_latest_storage_id_by_partition(HOUR, dg.DagsterEventType.ASSET_MATERIALIZATION),
        "requested": [r.tags[REQUEST_TAG] for r in instance.get_runs(dg.RunsFilter(job_name="__ASSET_JOB"), limit=1)],
        "unfinished": {r.run_id for r in instance.get_runs() if not r.is_finished},
        "status": [
            [(r.storage_id, r.event_log_entry.run_id) for r in instance.fetch_run_status_changes(kind, 1).records]
            for kind in (dg.DagsterEventType.RUN_SUCCESS,)
        ],
    }


def check_pruning(instance: dg.DagsterInstance) -> None:
    storage, runs = instance.event_log_storage, instance.run_storage
    assert isinstance(storage, LaptopEventLog)
    assert isinstance(runs, LaptopRuns)
    now = datetime.now(UTC) + timedelta(seconds=1)
    before, holding = facts(instance), holders(storage)
    logs = {r.run_id: len(instance.all_logs(r.run_id)) for r in instance.get_runs()}
    done = prune(instance, now, SMALL)
    assert facts(instance) == before
    left = {r.run_id for r in instance.get_runs()}
    assert len(logs) - len(left) == done.runs
    assert len(left - holding - before["unfinished"]) <= SMALL.runs + SMALL.failed + 1
    assert {run_id: len(instance.all_logs(run_id)) for run_id in left} == {id: logs[id] for id in left}
    assert all(instance.get_job_snapshot(r.job_snapshot_id) for r in instance.get_runs() if r.job_snapshot_id)
    assert set(storage.get_all_run_ids()) <= left, "the file of a run goes with it"
    assert {f.name for f in Path(instance.storage_directory()).glob("*-*-*-*-*")} <= left
    again = prune(instance, now, SMALL)
    assert (again.runs, again.leftovers, again.events) == (0, 0, 0)


HELD: list[tuple[Any, ...]] = [
    ("run", {ASSETS[0]}, False, True),
    ("landed", 1, None, None),
    ("run", {ASSETS[1]}, True, True),
    ("judged", False, None, None),
    *[("run", {ASSETS[2]}, True, True)] * 3,
]
"""The newest of two assets, and of their checks, lie in runs that are old; so do events that belong to no run."""


@settings(max_examples=examples(6), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(history=HELD)
@given(history=steps)
def test_whoever_asks_for_the_newest_gets_the_same_after_pruning(history: list[tuple[Any, ...]]):
    with an_instance() as (instance, _):
        for number, step in enumerate(history):
            do(instance, step, number)
        check_pruning(instance)


def rows(home: Path) -> dict[str, int]:
    """Rows of each table of an instance, and its files."""
    found = {"files": sum(1 for path in (home / "history").rglob("*") if path.is_file() and path.suffix == ".db")}
    for database in ("runs.db", "runs/index.db", "runs/.db"):
        with sqlite3.connect(home / "history" / database) as connection:
            tables = [t for (t,) in connection.execute("select name from sqlite_master where type = 'table'")]
            for table in tables:
                found[f"{database} {table}"] = connection.execute(f"select count(*) from {table}").fetchone()[0]
    return found


def test_nothing_in_the_history_grows_once_it_is_full():
    with an_instance() as (instance, home):
        sizes = []
        for round in range(3):
            for number in range(4):
                some = {ASSETS[0], ASSETS[1 + (round + number) % 2]}
                run(instance, some, number, True, True)
                do(instance, ("landed", number % 2, None, None), number)
                do(instance, ("judged", number % 2 == 0, None, None), number)
            run(instance, set(ASSETS), 9, False, False)
            prune(instance, datetime.now(UTC) + timedelta(seconds=1), SMALL)
            sizes.append(rows(home))
        assert sizes[1] == sizes[2]


def test_an_event_has_never_the_number_of_one_that_was_removed():
    """Sensors remember the number of the last change of a run's status; one below it would never be looked at."""
    with an_instance() as (instance, _):
        for number in range(6):
            run(instance, {ASSETS[0]}, number, True, True)
        kind = dg.DagsterEventType.RUN_SUCCESS
        (last,) = instance.fetch_run_status_changes(kind, 1).records
        prune(instance, datetime.now(UTC) + timedelta(seconds=1), SMALL)
        new = run(instance, {ASSETS[0]}, 7, True, True)
        seen = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(kind, after_storage_id=last.storage_id), 10
        )
        assert [record.event_log_entry.run_id for record in seen.records] == [new]


def test_what_a_killed_pruning_left_goes_with_the_next(monkeypatch: pytest.MonkeyPatch):
    with an_instance() as (instance, home):
        for number in range(5):
            run(instance, {ASSETS[0]}, number, True, True)
        logs = Path(instance.storage_directory())
        now = datetime.now(UTC) + timedelta(seconds=1)
        with monkeypatch.context() as patched:
            patched.setattr(LaptopEventLog, "delete_events", lambda self, run_id: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                prune(instance, now, SMALL)
        files = len(list((home / "history" / "runs").glob("*-*.db")))
        assert files == len(instance.get_runs()) + 1
        (logs / "11111111-2222-3333-4444-555555555555" / "compute_logs").mkdir(parents=True)
        prune(instance, now, LaptopKeep(runs=2, failed=1, time=timedelta(hours=1)))
        assert len(list((home / "history" / "runs").glob("*-*.db"))) == files, "it may be a run that begins"
        done = prune(instance, now, SMALL)
        assert done.leftovers == 2
        assert {path.stem for path in (home / "history" / "runs").glob("*-*.db")} == {
            r.run_id for r in instance.get_runs()
        }
        assert not (logs / "11111111-2222-3333-4444-555555555555").exists()


def test_logs_of_ticks_and_gaps_in_databases_go(tmp_path: Path):
    with an_instance() as (instance, home):
        run(instance, {ASSETS[0]}, 1, True, True)
        (folder := home / "storage" / "__repository__" / "freshness").mkdir(parents=True)
        (folder / "7.err").write_text("a line")
        now = datetime.now(UTC)
        assert prune(instance, now, LaptopKeep()).logs == 0
        assert prune(instance, now + timedelta(hours=7), LaptopKeep()).logs == 1
    database = tmp_path / "some.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table t (x)")
        connection.executemany("insert into t values (?)", [("x" * 1000,)] * 1000)
        connection.execute("delete from t")
    size = database.stat().st_size
    assert not compact(database)
    assert compact(database, worth=500_000)
    assert database.stat().st_size < size / 10


def test_only_the_history_of_a_laptop_is_pruned():
    with dg.DagsterInstance.ephemeral() as other, pytest.raises(TypeError, match=r"local/dagster/dagster\.yaml"):
        prune(other, NOW)
