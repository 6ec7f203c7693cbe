"""How events leave: each once, in order, whatever the target does; and a run never waits for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.open_lineage import Jobs
from lakehouse.storage.lake import Lake
from orchestration.alerts.outbox import Outbox
from orchestration.lineage import sending
from orchestration.lineage import sensor as of_sensor
from orchestration.lineage.events import READ, line, story_of
from orchestration.lineage.sending import Bucket, Files, Part, Taken, Target
from orchestration.lineage.sensor import Progress, lineage_sensor, send_all, taken_up
from tests.support.depth import examples

JOBS = Jobs("gavel-test")


@dg.asset
def first() -> None: ...


@dg.asset(deps=[first])
def second() -> None: ...


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """With two runs: three were too many to read."""
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([first, second], instance=instance)
        dg.materialize([first], instance=instance)
        yield instance


def all_lines(instance: dg.DagsterInstance) -> list[bytes]:
    runs = sorted(instance.get_run_records(), key=lambda record: record.storage_id)
    stories = [story_of(r.dagster_run, instance.all_logs(r.dagster_run.run_id, of_type=READ), JOBS) for r in runs]
    return [line(event) for story in stories for event in story.events]


class Moody:
    """A target that takes as many events as its moods say, then all."""

    def __init__(self, moods: list[int]) -> None:
        self.moods = iter(moods)
        self.has: list[bytes] = []

    def take(self, part: Part, until: float) -> Taken:
        count = min(next(self.moods, len(part.events)), len(part.events))
        self.has += part.events[:count]
        return Taken(count, problem="" if count == len(part.events) else "it is moody")


@given(moods=st.lists(st.integers(0, 4), max_size=8))
@settings(max_examples=examples(30), deadline=None)
def test_each_event_is_sent_once_and_in_order_however_often_the_target_fails(
    instance: dg.DagsterInstance, moods: list[int]
) -> None:
    target, progress, problem = Moody(moods), Progress(), "none yet"
    for _ in range(len(moods) + 2):
        progress = taken_up(instance, Progress.from_text(progress.to_text()))
        progress, _, problem = send_all(instance, JOBS, target, progress)
    assert problem == ""
    assert target.has == all_lines(instance)
    assert progress.sent == {}, "nothing is open any more"


def test_no_more_runs_are_taken_up_than_a_cursor_holds(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_sensor, "MOST_OPEN", 1)
    monkeypatch.setattr(of_sensor, "AT_ONCE", 1)
    progress = taken_up(instance, Progress(last={"PIPELINE_START": -1}))
    for _ in range(3):
        progress = taken_up(instance, progress)
    assert len(progress.sent) == 1
    target = Moody([])
    progress, *_ = send_all(instance, JOBS, target, progress)
    progress = taken_up(instance, progress)
    send_all(instance, JOBS, target, progress)
    assert target.has == all_lines(instance), "what waited in Dagster's records follows"


def test_a_run_that_was_deleted_before_it_was_sent_is_counted() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = dg.materialize([first], instance=instance).run_id
        progress = taken_up(instance, Progress())
        instance.delete_run(run_id)
        progress, count, problem = send_all(instance, JOBS, Moody([]), progress)
    assert (progress.sent, progress.gone, count, problem) == ({}, 1, 0, "")


def test_a_run_without_events_holds_up_no_other(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = taken_up(instance, Progress())
    broken = next(iter(progress.sent))
    everything = all_lines(instance)

    def story(run: dg.DagsterRun, *rest: Any) -> Any:
        if run.run_id == broken:
            raise ValueError("could not convert string to float")
        return story_of(run, *rest)

    monkeypatch.setattr(of_sensor, "story_of", story)
    target = Moody([])
    progress, count, problem = send_all(instance, JOBS, target, progress)
    assert (progress.sent, progress.refused) == ({}, 1)
    assert broken in problem
    assert "ValueError" in problem
    assert target.has == [text for text in everything if broken.encode() not in text]
    assert count == len(target.has) > 0


def test_a_cursor_of_another_form_begins_again() -> None:
    assert Progress.from_text("7") == Progress.from_text('{"last": 1}') == Progress.from_text(None) == Progress()
    kept = Progress({"PIPELINE_START": 4}, {"a": 2}, 1, 2)
    assert Progress.from_text(kept.to_text()) == kept


def part(*events: bytes, at: int = 0) -> Part:
    return Part("0000", at, "2026-11-28", events)


def test_a_file_has_each_event_once_after_any_crash(tmp_path: Path) -> None:
    files = Files(tmp_path / "lineage")
    path = tmp_path / "lineage" / "2026-11-28.ndjson"
    assert files.take(part(b"1", b"2"), 0) == Taken(2)
    assert files.take(part(b"2", b"3", at=1), 0) == Taken(2), "the cursor after the first was lost"
    assert path.read_bytes() == b"1\n2\n3\n"
    path.write_bytes(b"1\n2\n{torn")
    files.take(part(b"3"), 0)
    assert path.read_bytes() == b"1\n2\n3\n"
    old = path.with_name("2026-10-01.ndjson")
    old.touch()
    files.take(Part("0000", 0, "2026-11-29", [b"4"]), 0)
    assert not old.exists()
    assert path.exists()


def test_files_of_many_bytes_are_kept_for_fewer_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "KEPT_BYTES", 10)
    for day, size in (("26", 1), ("27", 6), ("28", 4)):
        (tmp_path / f"2026-11-{day}.ndjson").write_bytes(b"x" * size)
    Files(tmp_path).take(Part("0000", 0, "2026-11-29", [b"x" * 29]), 0)
    assert {path.stem for path in tmp_path.iterdir()} == {"2026-11-29", "2026-11-28", "2026-11-27"}
    Files(tmp_path).take(Part("0000", 0, "2026-11-30", [b"x"]), 0)
    assert {path.stem for path in tmp_path.iterdir()} == {"2026-11-30", "2026-11-29"}, "the last, whatever it has"


def test_a_folder_that_cannot_be_written_is_a_problem_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Files(tmp_path / "file").take(part(b"1"), 0).problem.startswith("FileExistsError")


def test_the_bucket_has_each_event_once(tmp_path: Path) -> None:
    lake = Lake("bucket", "l", "w", "p", local_root=tmp_path)
    bucket = Bucket(lake)
    bucket.take(part(b"1"), 0)
    bucket.take(part(b"1", b"2"), 0)
    (stored,) = lake.store.list("lineage/")
    assert stored.key == "lineage/dt=2026-11-28/0000-000000.ndjson"
    assert lake.store.read(stored.key) == b"1\n2\n"


def tick(instance: dg.DagsterInstance, target: Target, cursor: str | None) -> Any:
    sensor = lineage_sensor(target, lambda graph: JOBS)
    repository = dg.Definitions(assets=[first, second], sensors=[sensor]).get_repository_def()
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, repository_def=repository, definitions=None, resources={}
    )
    return repository.get_sensor_def(sensor.name).evaluate_tick(context)


def test_a_tick_says_what_it_sent_and_what_waits(instance: dg.DagsterInstance) -> None:
    moody = Moody([1])
    one = tick(instance, moody, None)
    assert one.skip_message is not None
    assert one.skip_message.startswith("Sent 1 events; 2 runs are open. The target of lineage: OSError: it is moody")
    assert Outbox.from_cursor(one.cursor).problems, "gavel status shows it"
    two = tick(instance, moody, one.cursor)
    assert two.skip_message == f"Sent {len(all_lines(instance)) - 1} events; 0 runs are open."
    assert Outbox.from_cursor(two.cursor).problems == []
    assert [json.loads(event)["eventType"] for event in moody.has].count("START") == 5
    assert tick(instance, moody, two.cursor).skip_message == "Sent 0 events; 0 runs are open."


def test_a_run_that_goes_on_stays_open_and_ends_later() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([first], instance=instance).run_id
        run = instance.create_run_for_job(dg.Definitions(assets=[first]).resolve_implicit_global_asset_job_def())
        for record in instance.all_logs(done, of_type=dg.DagsterEventType.RUN_START):
            assert record.dagster_event is not None
            instance.report_dagster_event(record.dagster_event, run.run_id)
        target = Moody([])
        progress, *_ = send_all(instance, JOBS, target, taken_up(instance, Progress()))
        assert progress.sent == {run.run_id: 1}
        instance.report_run_failed(run, "its process is gone")
        progress, count, _ = send_all(instance, JOBS, target, taken_up(instance, progress))
        assert (progress.sent, count) == ({}, 1)
        assert json.loads(target.has[-1])["eventType"] == "FAIL"
        assert taken_up(instance, progress).sent == {}, "its end does not make it known again"
