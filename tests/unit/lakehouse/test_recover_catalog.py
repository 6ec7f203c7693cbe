"""A lost catalog comes back from S3 alone: what readers saw, by exactly its audited metadata, and nothing else."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lakehouse.api import compact, maintain, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.publish import audit, publication, publication_log
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import content_hash, published
from lakehouse.recovery.catalog import recover_catalog
from lakehouse.results import CatalogLost, CatalogRecovery, Check, NotAudited, NothingToRecover
from lakehouse.storage.context import Context
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import HIGHEST_BATCH, TableState, published_entry
from tests.support.failing import Crash, Failpoints, Fault, Unanswered, failing_lake
from tests.support.lakes import PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows

ALL = Scope.everything()


def root(lake: Lake) -> Path:
    assert lake.local_root is not None
    return lake.local_root


def entry_files(lake: Lake) -> list[Path]:
    return sorted((root(lake) / "catalog").rglob("*.json"))


def lose_catalog(lake: Lake) -> None:
    shutil.rmtree(root(lake) / "catalog", ignore_errors=True)


def recovered(lake: Lake, **options: Any) -> CatalogRecovery:
    return recover_catalog(Context(lake, PARCELS), **options)


def seen(lake: Lake) -> tuple[Any, ...]:
    """What readers see, and what the next batch begins from."""
    state = published(lake, PARCELS)
    assert state is not None
    ledger = TableState(lake, state.metadata_location).ledger
    where = (state.metadata_location, state.changes_location, state.watermark, ledger)
    return (*where, content_hash(lake, PARCELS), published_rows(lake), published_changes(lake))


def batch(lake: Lake, landing: Landing, version: int, *, visible: bool = True) -> None:
    landing.land([change(f"p-{version % 3}", version=version), change(f"q-{version}", version=version)])
    lake.now.forward(minutes=5)  # type: ignore[attr-defined]
    compact(lake, PARCELS, ALL)
    if visible:
        publish(lake, PARCELS)


def three_batches(lake: Lake, landing: Landing) -> None:
    """Three batches, which are made once: files of a lake name each other by path, so that they are put back there."""
    saved = root(lake).parent / "saved"
    if saved.exists():
        shutil.copytree(saved, root(lake), dirs_exist_ok=True)
        lake.now.forward(minutes=15)  # type: ignore[attr-defined]
        landing.count = 3
        return
    for version in (1, 2, 3):
        batch(lake, landing, version)
    shutil.copytree(root(lake), saved)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recovery") / "lake"


@pytest.fixture
def lake(home: Path, clock: Clock) -> Lake:
    shutil.rmtree(home, ignore_errors=True)
    return local_lake(home, clock)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "scratch" not in p.parts}


def test_readers_see_what_they_saw_and_the_next_batch_goes_on(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    before, entries = seen(lake), {p.name: p for p in entry_files(lake)}
    lose_catalog(lake)

    result = recovered(lake, with_content=True)

    assert result.outcome == "recovered"
    assert seen(lake) == before
    assert result.content == content_hash(lake, PARCELS)
    assert {p.name for p in entry_files(lake)} == set(entries)
    assert recovered(lake).outcome == "intact"
    batch(lake, landing, 4)
    state = published(lake, PARCELS)
    assert state is not None
    assert (state.batch, state.rows) == (4, 7)


@pytest.mark.parametrize("damage", ["gone", "points to nothing", "no pointer"])
@pytest.mark.parametrize("number", range(7))
def test_each_entry_alone_comes_back_as_it_was(lake: Lake, landing: Landing, number: int, damage: str) -> None:
    three_batches(lake, landing)
    before, path = seen(lake), entry_files(lake)[number]
    content = path.read_text()
    if damage == "gone":
        path.unlink()
    elif damage == "points to nothing":
        path.write_text(content.replace("/metadata/0000", "/metadata/0900"))
    else:
        path.write_text(content.replace('"metadata_location"', '"lost"'))
    plain = "metadata_location" not in content

    result = recovered(lake)

    assert result.outcome == ("intact" if plain and damage != "gone" else "recovered")
    assert seen(lake) == before
    assert recovered(lake).outcome == "intact"
    batch(lake, landing, 4)


def test_newer_metadata_without_a_passed_audit_is_never_registered(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    batch(lake, landing, 4, visible=False)
    work = lake.entries.get(lake.work_database, "parcels")
    assert work is not None
    lake.store.delete([audit.audit_key("parcels", work.metadata_location)])
    lose_catalog(lake)

    result = recovered(lake)

    assert seen(lake) == before
    assert work.metadata_location.rpartition("/")[2] in result.unaudited


@pytest.mark.parametrize("torn", [b"", b"{", b'{"entity": "parcels", "metadata_location": "x", "checks": []}'])
def test_a_torn_audit_result_publishes_nothing(lake: Lake, landing: Landing, torn: bytes) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    batch(lake, landing, 4, visible=False)
    work = lake.entries.get(lake.work_database, "parcels")
    assert work is not None
    lake.store.write(audit.audit_key("parcels", work.metadata_location), torn)
    lose_catalog(lake)
    recovered(lake)
    assert seen(lake) == before


def test_a_failed_audit_publishes_nothing(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    batch(lake, landing, 4, visible=False)
    work = lake.entries.get(lake.work_database, "parcels")
    assert work is not None
    passed = audit.load(lake, "parcels", work.metadata_location)
    assert passed is not None
    audit.save(lake, replace(passed, checks=(Check("keys are unique", False, "found 2"),)))
    lose_catalog(lake)
    recovered(lake)
    assert seen(lake) == before


def test_a_present_entry_at_unaudited_metadata_is_set_back(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    batch(lake, landing, 4, visible=False)
    work = lake.entries.get(lake.work_database, "parcels")
    path = root(lake) / "catalog" / lake.published_database / "parcels.json"
    assert work is not None
    lake.store.delete([audit.audit_key("parcels", work.metadata_location)])
    path.write_text(path.read_text().replace(before[0], work.metadata_location))
    assert recovered(lake).outcome == "recovered"
    assert seen(lake) == before


def test_a_state_whose_row_was_never_written_is_what_readers_saw(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    state = published(lake, PARCELS)
    assert state is not None
    before = seen(lake)
    lake.store.delete([publication_log.key_of(lake, "parcels", state.metadata_location)])
    lose_catalog(lake)
    result = recovered(lake)
    assert "after the last publication" in result.because
    assert seen(lake) == before
    assert lake.store.size(publication_log.key_of(lake, "parcels", state.metadata_location)) is not None


@pytest.mark.parametrize("kind", ["crash", "error"])
def test_a_roll_back_that_was_interrupted_is_not_taken_back(lake: Lake, landing: Landing, kind: Any) -> None:
    """Wherever it stops, and though the catalog is lost then: whoever saw the earlier state goes on seeing it."""
    at, struck, moved = 1, True, 0
    while struck:
        shutil.rmtree(root(lake), ignore_errors=True)
        lake = local_lake(root(lake), lake.now)  # type: ignore[arg-type]
        three_batches(lake, landing)
        (before, *_), target = seen(lake), publication.plan_rollback(lake, PARCELS)[1].location
        points = Failpoints(Fault(at, kind, after=at % 2 == 0))
        with suppress(Crash, Unanswered, EntryConflict):
            rollback(failing_lake(root(lake), points, lake.now), PARCELS)  # type: ignore[arg-type]
        now, *_ = seen(lake)
        lose_catalog(lake)
        recovered(lake)
        after, *_ = seen(lake)
        assert now in (before, target)
        assert after == target if now == target else after in (before, target), (at, points.operations[-1])
        moved += now == target
        batch(lake, landing, 4)
        struck, at = points.struck, at + 1
    assert at > 8
    assert moved > 2


def test_a_roll_back_that_loses_a_race_leaves_no_row(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_batches(lake, landing)
    rows = [o.key for o in lake.store.list("publication_log/")]
    landing.land([change("z", version=9)])
    compact(lake, PARCELS, ALL)
    noted = publication_log.note_roll_back

    def others_publish(*arguments: Any) -> Any:
        note = noted(*arguments)
        publish(lake, PARCELS)
        return note

    monkeypatch.setattr(publication_log, "note_roll_back", others_publish)
    with pytest.raises(EntryConflict):
        rollback(lake, PARCELS)
    left = [o.key for o in lake.store.list("publication_log/") if o.key not in rows]
    assert len(left) == 1
    assert "again" not in left[0]
    lose_catalog(lake)
    assert recovered(lake).batch == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"{}\n", b"[]\n", b"null\n", b"\x1f\x8b\x08", b"\xff", b'{"kind": 1}\n'])
@pytest.mark.parametrize("number", [0, 1, 2, None])
def test_a_damaged_row_of_the_log_hides_no_state(
    lake: Lake, landing: Landing, number: int | None, damage: bytes
) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    keys = [o.key for o in lake.store.list("publication_log/")]
    for key in keys if number is None else [keys[number]]:
        lake.store.write(key, damage)
    lose_catalog(lake)
    result = recovered(lake)
    assert seen(lake) == before
    named = [note for note in result.notes if "publication log" in note]
    assert len(named) == (3 if number is None else 1)


@pytest.mark.parametrize("joined", [False, True])
def test_what_was_rolled_back_stays_rolled_back(lake: Lake, landing: Landing, joined: bool) -> None:
    three_batches(lake, landing)
    lake.now.forward(minutes=5)  # type: ignore[attr-defined]
    rollback(lake, PARCELS)
    before = seen(lake)
    if joined:
        publication_log.join_days(lake, PARCELS)
    lose_catalog(lake)
    recovered(lake)
    assert seen(lake) == before


def damage_file(lake: Lake, key: str, how: str) -> None:
    if how == "gone":
        lake.store.delete([key])
    else:
        lake.store.write(key, lake.store.read(key)[:-9] if how == "torn" else b"")


def newest_files(lake: Lake) -> dict[str, str]:
    """A file of each kind that only the newest state needs, by kind."""
    new, old = (TableState(lake, location) for location in _last_two(lake))
    snapshot = new.metadata.current_snapshot()
    assert snapshot is not None
    data = {f.path for f in new.files} - {f.path for f in old.files}
    history = {f.path for f in new.changes_files} - {f.path for f in old.changes_files}
    return {
        "metadata": lake.store.key(new.location),
        "changes metadata": lake.store.key(new.changes_location),
        "manifest list": lake.store.key(snapshot.manifest_list),
        "data": lake.store.key(min(data)),
        "history": lake.store.key(min(history)),
        "ledger": new.ledger,
    }


def _last_two(lake: Lake) -> tuple[str, str]:
    state = published(lake, PARCELS)
    assert state is not None
    log = TableState(lake, state.metadata_location).metadata.metadata_log
    passed = [e.metadata_file for e in log if audit.load(lake, "parcels", e.metadata_file)]
    return state.metadata_location, passed[-1]


@pytest.mark.parametrize("how", ["gone", "torn", "empty"])
@pytest.mark.parametrize("kind", ["metadata", "changes metadata", "manifest list", "data", "history", "ledger"])
def test_a_damaged_state_gives_way_to_the_one_before_and_is_reported(
    lake: Lake, landing: Landing, kind: str, how: str
) -> None:
    batch(lake, landing, 1)
    batch(lake, landing, 2)
    before = seen(lake)
    batch(lake, landing, 3)
    name = _last_two(lake)[0].rpartition("/")[2]
    damage_file(lake, newest_files(lake)[kind], how)
    lose_catalog(lake)
    fresh = local_lake(root(lake), lake.now)  # type: ignore[arg-type]

    result = recovered(fresh)

    assert list(result.given_up) == [name]
    assert seen(fresh) == before
    assert recovered(fresh).outcome == "intact"
    batch(fresh, landing, 4)
    assert {r["parcel_id"] for r in published_rows(fresh)} >= {"q-1", "q-2", "q-3", "q-4"}


def test_numbers_that_are_not_those_of_the_publication_count_as_damage(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    state = published(lake, PARCELS)
    assert state is not None
    key = publication_log.key_of(lake, "parcels", state.metadata_location)
    lake.store.write(key, lake.store.read(key).replace(b'"rows_after":6', b'"rows_after":7'))
    lose_catalog(lake)
    assert "rows_after: 7 noted" in next(iter(recovered(lake).given_up.values()))


def test_nothing_whole_is_reported_and_nothing_is_registered(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    lake.store.delete([s.key for s in lake.store.list("warehouse/parcels/data/")])
    lake.store.delete([s.key for s in lake.store.list("warehouse/parcels/metadata/00000-")])
    lose_catalog(lake)
    with pytest.raises(NothingToRecover, match="recover the lake"):
        recovered(lake)
    assert published_entry(lake, PARCELS) is None


def test_an_entity_without_any_state_has_nothing_to_recover(lake: Lake, landing: Landing) -> None:
    assert recovered(lake).outcome == "empty"
    batch(lake, landing, 1)
    assert len(published_rows(lake)) == 2


def test_a_lake_without_a_log_gets_the_newest_audited_state(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    lake.store.delete([s.key for s in lake.store.list("publication_log/")])
    lose_catalog(lake)
    recovered(lake)
    assert seen(lake) == before


def test_a_named_state_is_registered_and_one_that_nobody_saw_is_not(lake: Lake, landing: Landing) -> None:
    batch(lake, landing, 1)
    before = seen(lake)
    batch(lake, landing, 2)
    with pytest.raises(NotAudited, match="readers saw"):
        recovered(lake, state="00009-x.metadata.json")
    recovered(lake, state=before[0].rpartition("/")[2])
    assert seen(lake) == before


def test_a_batch_does_not_begin_from_nothing_beside_what_is_there(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    lose_catalog(lake)
    with pytest.raises(CatalogLost, match="recover catalog"):
        compact(lake, PARCELS, ALL)
    recovered(lake)
    assert seen(lake) == before


def test_no_number_of_a_batch_is_used_twice(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    lake.now.forward(minutes=5)  # type: ignore[attr-defined]
    rollback(lake, PARCELS)
    lose_catalog(lake)
    recovered(lake)
    entry = published_entry(lake, PARCELS)
    assert entry is not None
    assert int(entry.parameters[HIGHEST_BATCH]) >= 3
    batch(lake, landing, 4)
    state = published(lake, PARCELS)
    assert state is not None
    assert state.batch == 4


def test_a_dry_run_says_what_is_done_and_does_nothing(lake: Lake, landing: Landing) -> None:
    three_batches(lake, landing)
    lose_catalog(lake)
    before = files_below(root(lake))
    would = recovered(lake, dry_run=True)
    assert files_below(root(lake)) == before
    did = recovered(lake)
    assert would.dry_run
    assert not did.dry_run
    for name in ("outcome", "metadata_location", "because", "rows", "changes", "watermark", "entries", "given_up"):
        assert getattr(would, name) == getattr(did, name), name


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["crash", "error", "refusal"])
def test_an_interruption_anywhere_is_healed_by_the_next_one(
    lake: Lake, landing: Landing, kind: Any, after: bool
) -> None:
    three_batches(lake, landing)
    before = seen(lake)
    at, struck = 0, True
    while struck:
        at += 1
        lose_catalog(lake)
        points = Failpoints(Fault(at, kind, after))
        try:
            recovered(failing_lake(root(lake), points, lake.now))  # type: ignore[arg-type]
        except (Crash, Unanswered):
            assert kind != "refusal", points.operations[-1]
        recovered(lake)
        assert seen(lake) == before, points.operations[-1]
        struck = points.struck
    assert at > 6


@pytest.mark.parametrize("gone", ["catalog", "published root"])
def test_two_at_once_end_as_one(lake: Lake, landing: Landing, gone: str) -> None:
    three_batches(lake, landing)
    before = seen(lake)

    def lose() -> None:
        if gone == "catalog":
            lose_catalog(lake)
        else:
            (root(lake) / "catalog" / lake.published_database / "parcels.json").unlink(missing_ok=True)

    at = 0
    while True:
        at += 1
        lose()
        points = Failpoints(meanwhile=(at, lambda: recovered(local_lake(root(lake), lake.now)) and None))  # type: ignore[arg-type]
        recovered(failing_lake(root(lake), points, lake.now))  # type: ignore[arg-type]
        assert seen(lake) == before
        if not points.struck:
            break
    assert at > 3


STEPS: dict[str, Callable[[Lake, Landing, int], object]] = {
    "batch": lambda lake, landing, n: batch(lake, landing, n),
    "left behind": lambda lake, landing, n: batch(lake, landing, n, visible=False),
    "roll back": lambda lake, landing, n: rollback(lake, PARCELS),
    "maintain": lambda lake, landing, n: maintain(lake, PARCELS),
    "rebuild": lambda lake, landing, n: (rebuild(lake, PARCELS), publish(lake, PARCELS)),
    "nothing new": lambda lake, landing, n: (compact(lake, PARCELS, ALL), publish(lake, PARCELS)),
    "lose catalog": lambda lake, landing, n: (lose_catalog(lake), recovered(lake)),
}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happened_before_readers_see_what_they_saw(lake: Lake, landing: Landing, seed: int) -> None:
    chance = random.Random(seed)
    batch(lake, landing, 1)
    done = []
    for number in range(2, 9):
        step = chance.choice([*STEPS, "batch"])
        done.append(step)
        lake.now.forward(minutes=chance.choice([1, 60, 1500]))  # type: ignore[attr-defined]
        before = seen(lake)
        try:
            STEPS[step](lake, landing, number)
        except LookupError:
            assert step == "roll back"  # there was nothing to go back to
        if step == "lose catalog" and done[-2:-1] != ["left behind"]:
            assert seen(lake) == before, done
    if "left behind" in done:  # what is audited and would be next counts as seen
        lake.now.forward(minutes=1)  # type: ignore[attr-defined]
        compact(lake, PARCELS, ALL)
        publish(lake, PARCELS)
    before = seen(lake)
    lose_catalog(lake)
    recovered(lake)
    assert seen(lake) == before, done
    batch(lake, landing, 99)
