"""A lost lake comes back from what landed, with the same content; readers see nothing before it is whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts.model import Erasure
from lakehouse.api import compact
from lakehouse.intake.attempts import known_tries
from lakehouse.intake.erased import ERASED, ErasedList
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.publish.published import content_hash, published
from lakehouse.recovery.catalog import recover_catalog
from lakehouse.recovery.lake import recover_lake
from lakehouse.recovery.recovering import said
from lakehouse.results import CatalogLost, LakeRecovery, NothingToRecover
from lakehouse.storage.context import Context
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState, published_entry
from tests.support.failing import Crash, Failpoints, Fault, Unanswered, failing_lake
from tests.support.lakes import NOON, PARCELS, Landing, change, local_lake, published_rows

ALL = Scope.everything()
LAKE = ("warehouse/", "ledger/", "audit/")


def root(lake: Lake) -> Path:
    assert lake.local_root is not None
    return lake.local_root


def again(lake: Lake) -> Lake:
    """Another process over the same lake: it has nothing in memory."""
    return local_lake(root(lake), lake.now)  # type: ignore[arg-type]


def lose(lake: Lake, *prefixes: str, catalog: bool = False) -> None:
    for prefix in prefixes:
        lake.store.delete([stored.key for stored in lake.store.list(prefix)])
    if catalog:
        shutil.rmtree(root(lake) / "catalog")


def recovered(lake: Lake, **options: Any) -> LakeRecovery:
    return recover_lake(Context(lake, PARCELS), **options)


def fill(lake: Lake, landing: Landing) -> None:
    """Three batches: updates, a removal, a duplicate with other values that came later, a bad row, a broken object."""
    rows = [
        [change("a", version=1), change("b", version=1), change("c", version=1, event="twice")],
        [change("a", version=5, price="7.00"), change("b", version=4, op="remove"), change("d", version=2, part=7)],
        [change("a", version=3), change("c", version=1, event="twice", price="99.00"), change("e", version="x")],  # type: ignore[arg-type]
    ]
    for number, some in enumerate(rows):
        # Names go against the time of arrival: order is not that of the keys.
        landing.land(some, name=f"{9 - number}.parquet")
        if number == 1:
            landing.land_bytes(b"no parquet", name="broken.parquet")
        lake.now.forward(minutes=5)  # type: ignore[attr-defined]
        compact(lake, PARCELS, ALL)
        publish(lake, PARCELS)


@pytest.mark.parametrize("catalog", [False, True], ids=["entries lead nowhere", "no entries"])
@pytest.mark.parametrize("log", [False, True], ids=["log kept", "log lost"])
def test_tables_have_the_same_content_and_the_next_batch_goes_on(
    lake: Lake, landing: Landing, catalog: bool, log: bool
) -> None:
    fill(lake, landing)
    before, batch = content_hash(lake, PARCELS), published(lake, PARCELS)
    lose(lake, *LAKE, *(["publication_log/"] if log else []), catalog=catalog)
    lake = again(lake)

    result = recovered(lake, with_content=True)

    assert result.outcome == "rebuilt"
    assert result.catalog is not None
    assert result.catalog.content == content_hash(lake, PARCELS) == before
    assert recovered(lake).outcome == "intact"
    landing.land([change("f", version=9)])
    lake.now.forward(minutes=5)  # type: ignore[attr-defined]
    after = compact(lake, PARCELS, ALL)
    publish(lake, PARCELS)
    assert after.objects == 1
    assert batch is not None
    if not (catalog and log):
        assert after.batch > batch.batch


def test_a_lost_catalog_alone_is_registered_and_nothing_is_built(lake: Lake, landing: Landing) -> None:
    fill(lake, landing)
    state = published(lake, PARCELS)
    lose(lake, catalog=True)
    result = recovered(again(lake))
    now = published(again(lake), PARCELS)
    assert result.outcome == "recovered"
    assert state is not None
    assert now is not None
    assert now.metadata_location == state.metadata_location


def test_a_rebuilt_lake_survives_the_loss_of_its_catalog(lake: Lake, landing: Landing) -> None:
    fill(lake, landing)
    before = content_hash(lake, PARCELS)
    lose(lake, *LAKE)
    recovered(again(lake))
    lose(lake, catalog=True)
    recover_catalog(Context(again(lake), PARCELS))
    assert content_hash(again(lake), PARCELS) == before


def test_a_dry_run_says_what_is_ingested_and_writes_nothing(lake: Lake, landing: Landing) -> None:
    fill(lake, landing)
    lose(lake, *LAKE)

    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in root(lake).rglob("*") if p.is_file()}

    before = files()
    would = recovered(again(lake), dry_run=True)
    assert files() == before
    did = recovered(again(lake))
    assert (would.outcome, would.lost) == (did.outcome, did.lost)
    assert would.objects == did.objects + 0 == 4


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("log", [(), ("publication_log/",)], ids=["log kept", "log lost"])
def test_nothing_is_built_from_nothing(lake: Lake, landing: Landing, log: tuple[str, ...], dry_run: bool) -> None:
    """Empty tables would hide that everything is gone, while the bucket's earlier versions still have it."""
    fill(lake, landing)
    lose(lake, *LAKE, "landing/", *log)
    entry = published_entry(lake, PARCELS)
    with pytest.raises(NothingToRecover, match="found none below landing/parcels/"):
        recovered(again(lake), dry_run=dry_run)
    assert published_entry(again(lake), PARCELS) == entry
    assert recovered(again(lake), helped=True, dry_run=dry_run).outcome == "rebuilt"


def test_what_readers_do_not_see_any_more_is_reported(lake: Lake, landing: Landing) -> None:
    fill(lake, landing)
    lose(lake, *LAKE)
    assert recovered(again(lake)).notes == ()
    lose(lake, *LAKE)
    first, *_ = sorted((o for o in lake.store.list("landing/")), key=lambda o: o.modified)
    lake.store.delete([first.key])
    result = recovered(again(lake))
    assert [note.partition(":")[0] for note in result.notes] == ["readers saw 7 changes last, and see 5 now"]
    assert [key.rpartition("/")[2] for key in result.quarantined] == ["broken.parquet"]
    assert any("quarantined whole: landing/" in line for line in said(result))


def test_an_entity_that_never_had_anything_stays_without(lake: Lake) -> None:
    assert recovered(lake).outcome == "empty"
    assert published_entry(lake, PARCELS) is None


@pytest.mark.parametrize("catalog", [False, True], ids=["entries lead nowhere", "no entries"])
def test_readers_see_nothing_before_it_is_whole(lake: Lake, landing: Landing, catalog: bool) -> None:
    fill(lake, landing)
    whole = published_rows(lake)
    lose(lake, *LAKE, catalog=catalog)
    seen = []

    def look() -> None:
        fresh = again(lake)
        entry = published_entry(fresh, PARCELS)
        there = entry is not None and fresh.store.size(fresh.store.key(entry.metadata_location)) is not None
        seen.append(len(published_rows(fresh)) if there else None)

    recovered(failing_lake(root(lake), Failpoints(watch=look), lake.now))  # type: ignore[arg-type]
    assert set(seen) == {None, len(whole)}
    assert seen == sorted(seen, key=lambda rows: rows is not None)


@pytest.mark.parametrize("kind", ["crash", "error", "refusal"])
def test_an_interruption_anywhere_is_healed_by_the_next_one(lake: Lake, landing: Landing, kind: Any) -> None:
    fill(lake, landing)
    before = content_hash(lake, PARCELS)
    at, struck = 1, True
    while struck:
        lose(lake, *LAKE, catalog=at % 2 == 0)
        points = Failpoints(Fault(at, kind, after=at % 3 != 0))
        try:
            recovered(failing_lake(root(lake), points, lake.now))  # type: ignore[arg-type]
        except (Crash, Unanswered):
            assert kind != "refusal", points.operations[-1]
        recovered(again(lake))
        assert content_hash(again(lake), PARCELS) == before, (at, points.operations[-1])
        struck = points.struck
        at += 3 if kind == "crash" else 7
    assert at > 10


@pytest.mark.parametrize("moment", ["store.upload warehouse", "store.write warehouse/parcels_changes/metadata/snap"])
def test_whatever_it_was_killed_with_twice_is_in(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A batch leaves out what two processes died with until the others are published; nobody waits for that here."""
    monkeypatch.setattr("lakehouse.batch.chunks.CHUNK_OBJECTS", 2)
    fill(lake, landing)
    before = content_hash(lake, PARCELS)
    lose(lake, *LAKE)
    probe = Failpoints()
    recovered(failing_lake(root(lake), probe, lake.now))  # type: ignore[arg-type]
    at = next(n for n, o in enumerate(probe.operations, start=1) if o.name.startswith(moment))
    lose(lake, *LAKE)
    for _ in range(2):
        with pytest.raises(Crash):
            recovered(failing_lake(root(lake), Failpoints(Fault(at)), lake.now))  # type: ignore[arg-type]
    assert [tries.deaths for tries in known_tries(lake, PARCELS).values()] == [1, 1]
    result = recovered(again(lake))
    assert content_hash(again(lake), PARCELS) == before
    assert (result.held, result.failing, result.notes) == ((), (), ())


@pytest.mark.parametrize("first", range(1, 30, 5))
def test_two_at_once_end_with_one_lake(lake: Lake, landing: Landing, first: int) -> None:
    fill(lake, landing)
    before = content_hash(lake, PARCELS)
    lose(lake, *LAKE, catalog=first % 2 == 0)
    points = Failpoints(meanwhile=(first, lambda: recovered(again(lake)) and None))
    recovered(failing_lake(root(lake), points, lake.now))  # type: ignore[arg-type]
    assert points.struck
    assert recovered(again(lake)).outcome == "intact"
    assert content_hash(again(lake), PARCELS) == before


def test_a_build_that_was_interrupted_goes_on_and_no_batch_publishes_it(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, landing)
    before = content_hash(lake, PARCELS)
    lose(lake, *LAKE, catalog=True)
    monkeypatch.setattr("lakehouse.batch.chunks.CHUNK_OBJECTS", 1)
    points = Failpoints()
    probe = failing_lake(root(lake), points, lake.now)  # type: ignore[arg-type]
    recovered(probe)
    commits = [n for n, o in enumerate(points.operations, start=1) if o.name.endswith("gavel_work_unit")]
    middle = [n for n, o in enumerate(points.operations, start=1) if o.name.startswith("entries.update")][3]
    assert commits or middle
    lose(lake, *LAKE, catalog=True)
    with pytest.raises(Crash):
        recovered(failing_lake(root(lake), Failpoints(Fault(middle)), lake.now))  # type: ignore[arg-type]
    with pytest.raises(CatalogLost):
        compact(again(lake), PARCELS, ALL)
    result = recovered(again(lake))
    assert result.resumed
    assert result.objects < 4
    assert content_hash(again(lake), PARCELS) == before


def test_whoever_was_erased_stays_away(lake: Lake, landing: Landing) -> None:
    fill(lake, landing)
    lose(lake, *LAKE)
    fresh = again(lake)
    person = ErasedList.load(fresh, "").with_person(fresh, "token", "request")
    wanted = person.with_person(fresh, "other", "request")
    named = replace(PARCELS, erasure=Erasure(persons=()))
    recover_lake(Context(fresh, named))
    entry = published_entry(fresh, named)
    assert entry is not None
    listed = TableState(fresh, entry.metadata_location).metadata.properties[ERASED]
    assert listed == wanted.key
    assert len(orjson.loads(fresh.store.read(listed))["tokens"]) == 2


def test_clock_is_not_what_orders(lake: Lake, landing: Landing) -> None:
    """What arrives in an hour that is over is in, too."""
    fill(lake, landing)
    landing.land([change("z", version=1)], hour=NOON.replace(year=2025))
    compact(lake, PARCELS, ALL)
    publish(lake, PARCELS)
    before = content_hash(lake, PARCELS)
    lose(lake, *LAKE)
    recovered(again(lake))
    assert content_hash(again(lake), PARCELS) == before
