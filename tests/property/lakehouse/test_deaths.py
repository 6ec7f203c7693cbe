"""A process that dies with landed objects in hand: once, it blames nobody; again and again, the object is found and
held, and the others go on. The same for memory that runs out, and what a damaged lake file breaks is not the objects'.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lakehouse.api import compact, rebuild
from lakehouse.batch import compaction
from lakehouse.batch.compaction import requeue
from lakehouse.intake.attempts import Attempts
from lakehouse.intake.landing import Scope
from lakehouse.intake.ledger import Ledger
from lakehouse.merge.base import Chunk
from lakehouse.publish.publication import publish
from lakehouse.results import RebuildFailed
from lakehouse.storage.failures import ATTEMPTS, Damaged
from lakehouse.storage.iceberg_io import files_of
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState, published_entry
from tests.support.depth import examples, seeds
from tests.support.failing import Crash, Failpoints, Fault, failing_lake
from tests.support.injected import ALL, BAD, FINE, SMALL, failing, holds_bad, keys, run, run_and_die, seen
from tests.support.lakes import Clock, Landing, change, local_lake

FINE_OBJECTS = 3
MOST_DEATHS = 1 + ATTEMPTS  # of four objects: together, then alone


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    lake = local_lake(tmp_path_factory.mktemp("reference") / "lake", Clock())
    land(lake)
    run(lake)
    return seen(lake)


def land(lake: Lake) -> None:
    landing = Landing(lake, SMALL)
    landing.land([change(BAD, version=1)], name=f"{BAD}.parquet")
    for n in range(FINE_OBJECTS):
        landing.land([change(f"{FINE}-{n}", version=1)], name=f"{'ac'[n % 2]}-{n}.parquet")


def fine() -> list[str]:
    return [f"{FINE}-{n}" for n in range(FINE_OBJECTS)]


def lake_ledger(lake: Lake) -> Ledger:
    entry = published_entry(lake, SMALL)
    return Ledger.load(lake, TableState(lake, entry.metadata_location).ledger if entry else "")


def held(lake: Lake) -> list[str]:
    return [entry.key for entry in lake_ledger(lake).every() if entry.status == "held"]


def runs_until_held(lake: Lake, once: Any) -> tuple[int, int]:
    """Let `once` run until the object is held; how many of the runs died, and after how many the others were in."""
    died, others = 0, 0
    before: Any = []
    for number in range(1, 4 * MOST_DEATHS):
        has_died = once()
        died += has_died
        found = seen(lake)["rows"]
        assert keys(found) in ([], fine())
        assert has_died or found != before or held(lake), "a run that could try the object waited for nothing"
        before = found
        others = others or (number if found else 0)
        if held(lake):
            return died, others
    raise AssertionError("the object was never held")


def check_ended(lake: Lake, died: int, others: int, reference: dict[str, Any]) -> None:
    assert died <= MOST_DEATHS
    assert 0 < others <= 3  # the run after the second death
    assert [key.rpartition("/")[2] for key in held(lake)] == [f"{BAD}.parquet"]
    requeue(lake, SMALL)
    publish(lake, SMALL)
    assert seen(lake) == reference


@pytest.mark.parametrize("step", ["read", "audit"])
def test_an_object_that_kills_its_process_is_found_and_held(root: Path, step: str, reference: dict[str, Any]) -> None:
    lake = local_lake(root, Clock())
    land(lake)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lakehouse.batch.compaction", "lakehouse.publish.publication", "pyarrow.parquet"])

    def once() -> bool:
        child = context.Process(target=run_and_die, args=(str(root), step))
        child.start()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        return child.exitcode != 0

    check_ended(lake, *runs_until_held(lake, once), reference)


@pytest.mark.parametrize("step", ["validate", "merge"])
def test_memory_that_runs_out_with_one_object_does_not_stop_its_entity(
    root: Path, step: str, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = local_lake(root, Clock())
    land(lake)

    def once() -> bool:
        with monkeypatch.context() as patch:
            failing(step, MemoryError(), patch, holds_bad)
            try:
                run(lake)
            except MemoryError:
                return True
        return False

    check_ended(lake, *runs_until_held(lake, once), reference)


def test_no_run_over_everything_touches_what_processes_died_of(
    root: Path, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay ends without it, a rebuild refuses, and so does a requeue that does not name it alone, each time."""
    lake = local_lake(root, Clock())
    land(lake)
    everything = Scope.replay(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    with monkeypatch.context() as patch:
        failing("validate", MemoryError(), patch, holds_bad)

        def once() -> bool:
            try:
                run(lake)
            except MemoryError:
                return True
            return False

        runs_until_held(lake, once)
        (bad,) = held(lake)
        fine_too = frozenset(entry.key for entry in lake_ledger(lake).every())
        for _ in range(3):
            replayed = compact(lake, SMALL, everything)
            publish(lake, SMALL)
            assert [one.key for one in replayed.failing] == [bad]
            assert held(lake) == [bad]
            assert keys(seen(lake)["rows"]) == fine()
            with pytest.raises(RebuildFailed, match=r"cannot be ingested"):
                rebuild(lake, SMALL)
            assert [one.key for one in requeue(lake, SMALL, fine_too).failing] == [bad]
            publish(lake, SMALL)
        with pytest.raises(MemoryError):
            requeue(lake, SMALL)  # it alone is set aside by now
    requeue(lake, SMALL)
    publish(lake, SMALL)
    assert keys(seen(lake)["rows"]) == keys(reference["rows"])
    compact(lake, SMALL, everything)
    rebuild(lake, SMALL)


def operations(folder: Path) -> int:
    points = Failpoints()
    lake = failing_lake(folder, points, Clock())
    land(lake)
    points.arm()
    run(lake)
    return len(points.operations)


@pytest.mark.parametrize("seed", seeds(6))
def test_a_process_that_dies_once_anywhere_blames_nobody(tmp_path: Path, seed: int, reference: dict[str, Any]) -> None:
    count = operations(tmp_path / "counted")
    chosen = random.Random(seed)
    points = Failpoints()
    lake = failing_lake(tmp_path / "lake", points, Clock())
    land(lake)
    points.arm(Fault(chosen.randint(1, count), "crash", after=chosen.random() < 0.5))
    with pytest.raises(Crash):
        run(lake)
    lake = local_lake(tmp_path / "lake", Clock())
    run(lake)
    assert seen(lake) == reference
    assert not list(lake.store.list("attempts/"))


def test_many_objects_are_halved_quickly_and_the_rest_is_published_meanwhile(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = local_lake(root, Clock())
    landing = Landing(lake, SMALL)
    for n in range(40):
        landing.land([change(BAD if n == 23 else f"p-{n:02}", version=1)])
    died, published = 0, 0
    while not held(lake) and died < 20:
        with monkeypatch.context() as patch:
            failing("reduce", MemoryError(), patch, holds_bad_row)
            try:
                run(lake)
            except MemoryError:
                died += 1
        published = max(published, len(seen(lake)["rows"]))
    assert died == 2 + ATTEMPTS  # among 40, among 2, alone
    assert published == 39


def holds_bad_row(chunk: Chunk, *rest: object) -> bool:
    return chunk.duck.count(f"SELECT count(*) FROM checked WHERE parcel_id = '{BAD}'") > 0


def test_a_death_is_counted_for_the_version_that_was_in_hand(root: Path) -> None:
    lake = local_lake(root, Clock())
    land(lake)
    (first, *_) = compaction.each_object(lake, SMALL, ALL)
    for _ in range(ATTEMPTS):
        Attempts(lake, SMALL).begin([first])
    known = Attempts(lake, SMALL)
    assert known.is_given_up(first)
    other = type(first)(first.key, "other", first.size, first.modified, first.hour)
    assert known.of(other) is None
    known.forget([first])
    known.end()
    assert not list(lake.store.list("attempts/"))


def damaged(content: bytes, chosen: random.Random) -> bytes:
    """A file that nobody can read as it was."""
    kind = chosen.choice(["cut", "zeros", "other", "tail"])
    at = chosen.randrange(len(content))
    match kind:
        case "cut":
            return content[:at]
        case "zeros":
            return bytes(len(content))
        case "other":
            return b"PAR1" + bytes(chosen.randrange(256) for _ in range(len(content) - 8)) + b"PAR1"
    return content[:-12] + bytes(12)


def damageable(lake: Lake) -> Iterator[str]:
    entry = published_entry(lake, SMALL)
    assert entry is not None
    state = TableState(lake, entry.metadata_location)
    for file in (*state.files, *state.changes_files):
        yield lake.store.key(file.path)
    for metadata in (state.metadata, state.changes_metadata):
        snapshot = metadata.current_snapshot()
        assert snapshot is not None
        yield lake.store.key(snapshot.manifest_list)
        yield from (lake.store.key(m.manifest_path) for m in files_of(lake).manifests(snapshot))
    yield from (day.segment for day in Ledger.load(lake, state.ledger).days.values())
    yield state.ledger


def test_what_a_damaged_lake_file_breaks_is_not_the_objects_fault(root: Path) -> None:
    chosen = random.Random(7)
    lake = local_lake(root, Clock())
    landing = Landing(lake, SMALL)
    landing.land([change(f"p-{n}", version=1) for n in range(50)], name="first.parquet")
    run(lake)
    landing.land([change(f"p-{n}", version=2) for n in range(0, 50, 7)], name="second.parquet")
    landing.land([change("p-3", version=3)], name="third.parquet")
    before = seen(lake)
    for key in damageable(lake):
        whole = lake.store.read(key)
        for _ in range(examples(3, least=1)):
            lake.store.write(key, damaged(whole, chosen))
            fresh = local_lake(root, Clock())  # a new process: nothing is kept in memory
            try:
                with pytest.raises(Damaged):
                    compact(fresh, SMALL, ALL)
            finally:
                lake.store.write(key, whole)
            assert not list(lake.store.list("attempts/"))
    assert seen(lake) == before
    run(lake)
    found = seen(lake)
    assert sorted(status for _, status, *_ in found["ledger"]) == ["merged"] * 3
    assert len(found["changes"]) == 50 + 8 + 1
