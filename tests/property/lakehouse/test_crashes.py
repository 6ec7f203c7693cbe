"""Whatever goes wrong between any two writes of a batch, readers have the old state or the new one, and the next run
heals it: each write in turn is the last of its process, fails, or takes effect without an answer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException

from lakehouse.api import compact, pending
from lakehouse.intake.landing import Scope
from lakehouse.merge import planning
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish
from lakehouse.publish.published import published
from lakehouse.results import Counts
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.table.tables import TableState
from tests.support.depth import sampled
from tests.support.failing import Crash, Failpoints, Fault, Operation, Unanswered, failing_lake
from tests.support.lakes import PARCELS, Landing, change, local_lake, published_changes, published_rows, without

EVERYTHING = Scope.everything()


@pytest.fixture(autouse=True, scope="module")
def _every_way_of_merging() -> Iterator[None]:
    """Limits under which files of a few rows are rewritten, marked and added to in one batch."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SMALL_FILE", "TINY_FILE", "GROWTH"):
            patch.setattr(planning, name, 0)
        yield


def first_batch(root: Path) -> None:
    """A table of two months, and a second batch that has landed: it marks rows of one month, rewrites the other, and
    brings a bad row and an object that no one can read."""
    lake = local_lake(root)
    landing = Landing(lake, PARCELS)
    september = [change(f"s-{n}", version=1, sent_at="2026-09-05T00:00:00Z") for n in range(10)]
    landing.land([*september, change("p-1", version=1), change("p-2", version=1)], name="one.parquet")
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land(
        [
            change("p-1", version=2, op="remove"),
            change("p-3", version=1, price="1.005"),
            change("p-2", version=1),
            change("s-5", version=2, sent_at="2026-09-06T00:00:00Z"),
        ],
        name="two.parquet",
    )
    landing.land([change("p-3", version=2)], name="three.parquet")
    landing.land_bytes(b"no parquet at all", name="broken.parquet")


@dataclass(frozen=True)
class Prepared:
    """A lake after its first batch, with the second landed, that can be set up again (its paths are absolute)."""

    root: Path
    pristine: Path

    @classmethod
    def make(cls, folder: Path) -> Prepared:
        prepared = cls(folder / "lake", folder / "pristine")
        first_batch(prepared.root)
        shutil.copytree(prepared.root, prepared.pristine)
        return prepared

    def again(self) -> Path:
        shutil.rmtree(self.root)
        shutil.copytree(self.pristine, self.root)
        return self.root


def seen(lake: Lake) -> tuple[list[Any], list[Any]]:
    stamps = "_batch", "_object"
    return without(published_rows(lake), *stamps), without(published_changes(lake), *stamps)


def run(lake: Lake) -> Counts:
    counts = compact(lake, PARCELS, EVERYTHING).counts
    publish(lake, PARCELS)
    return counts


@dataclass(frozen=True)
class Undisturbed:
    """What readers see before and after an undisturbed second batch, its counts, and its operations by number."""

    old: Any
    new: Any
    counts: Counts
    operations: list[Operation]

    @property
    def writes(self) -> list[int]:
        """The operations that write."""
        return numbered(self.operations, writes=True)


def numbered(operations: list[Operation], writes: bool = False, entries: bool = False) -> list[int]:
    """The numbers of the operations to strike at; only those that write, or that look at or change an entry."""
    found = [
        n
        for n, operation in enumerate(operations, start=1)
        if (operation.writes or not writes) and (operation.name.startswith("entries.") or not entries)
    ]
    return sampled(found, lambda n: operations[n - 1].kind)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    root = tmp_path_factory.mktemp("undisturbed")
    first_batch(root)
    points = Failpoints()
    lake = failing_lake(root, points)
    old = seen(lake)
    points.arm()
    counts = run(lake)
    operations = list(points.operations)
    return Undisturbed(old, seen(lake), counts, operations)


def test_the_second_batch_is_what_it_should_be(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The yardstick of these tests is itself right, and has writes of each kind for something to go wrong at."""
    old, new = undisturbed.old, undisturbed.new
    assert undisturbed.counts == Counts(read=5, applied=3, duplicate=1, quarantined=1)
    assert [(r["parcel_id"], r["_deleted"]) for r in new[0] if r["parcel_id"] > "p"][:3] == [
        ("p-1", True),
        ("p-2", False),
        ("p-3", False),
    ]
    assert old != new
    names = " ".join(o.name for o in undisturbed.operations if o.writes)
    for kind in (
        "store.upload warehouse/parcels/data/",
        ".deletes.parquet",
        "store.upload warehouse/parcels_changes/data/",
        "warehouse/parcels/metadata/",
        "store.write ledger/",
        "store.write audit/",
        "quarantine/",
        "entries.update",
    ):
        assert kind in names, f"{kind} is not among the writes"


@pytest.mark.parametrize(
    ("kind", "after"), [("crash", False), ("crash", True), ("error", False), ("error", True), ("refusal", True)]
)
def test_whatever_goes_wrong_at_any_write_leaves_old_or_new_and_the_next_run_heals(
    undisturbed: Undisturbed, tmp_path: Path, kind: Any, after: bool
) -> None:
    """After a crash another process goes on, after an error the same one, with what it remembers. Dying before a write
    leaves what dying after the one before it leaves; that a request took effect all the same, or is refused as its own
    repetition, matters where it changes an entry."""
    new, counts = undisturbed.new, undisturbed.counts
    prepared = Prepared.make(tmp_path)
    published_already = []
    writes = undisturbed.writes
    if (kind, after) == ("crash", False):
        writes = writes[:1]
    elif kind != "crash" and after:
        writes = numbered(undisturbed.operations, writes=True, entries=True)
    for at in writes:
        root = prepared.again()
        points = Failpoints(Fault(at, kind, after))
        lake = failing_lake(root, points)
        try:
            run(lake)
        except Crash:
            lake = local_lake(root)
        except (Unanswered, EntryConflict, CommitFailedException):
            points.arm()
        assert points.operations == [] or points.struck

        left = seen(lake)
        where = f"{kind} {'after' if after else 'instead of'} {undisturbed.operations[at - 1].name}"
        assert left in (undisturbed.old, new), f"readers see a mix: {where}"
        result = run(lake)
        assert seen(lake) == new, f"not healed: {where}"
        assert result == (Counts() if left == new else counts), where
        assert pending(lake, PARCELS, EVERYTHING) == []
        published_already.append(left == new)
    assert published_already == sorted(published_already), "what readers saw may not go back"
    assert audit_table(lake, PARCELS).passed


def test_a_marked_row_is_what_the_second_batch_leaves(undisturbed: Undisturbed, tmp_path: Path) -> None:
    first_batch(tmp_path)
    lake = local_lake(tmp_path)
    run(lake)
    state = published(lake, PARCELS)
    assert state is not None
    assert sorted(f.deleted_rows for f in TableState(lake, state.metadata_location).files)[-1] == 1


@pytest.mark.parametrize("kind", ["crash", "error"])
def test_whatever_goes_wrong_in_the_very_first_batch_heals(tmp_path: Path, kind: Any) -> None:
    """Making the tables is made of several writes, too."""
    points = Failpoints()
    lake = failing_lake(tmp_path / "whole", points)
    Landing(local_lake(tmp_path / "whole"), PARCELS).land([change(version=1)])
    run(lake)
    writes = numbered(points.operations, writes=True)
    assert len(writes) > 10
    for at in writes if kind == "crash" else numbered(points.operations, writes=True, entries=True):
        root = tmp_path / str(at)
        Landing(local_lake(root), PARCELS).land([change(version=1)])
        with pytest.raises((Crash, Unanswered)):
            run(failing_lake(root, Failpoints(Fault(at, kind))))
        lake = local_lake(root)
        run(lake)
        assert [r["parcel_id"] for r in published_rows(lake)] == ["p-1"]
        assert len(published_changes(lake)) == 1


def test_two_crashes_in_a_row_heal(undisturbed: Undisturbed, tmp_path: Path) -> None:
    writes = undisturbed.writes
    prepared = Prepared.make(tmp_path)
    for first, second in ((-1, 3), (len(writes) // 2, len(writes) // 2), (4, -2)):
        root = prepared.again()
        for at in (first, second):
            try:
                run(failing_lake(root, Failpoints(Fault(writes[at]))))
            except Crash:
                continue
        lake = local_lake(root)
        run(lake)
        run(lake)  # what was in hand at both deaths waits until the others are in
        assert seen(lake) == undisturbed.new


def test_another_writer_at_any_moment_loses_nothing(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A second process ingests everything, with one more object, right before each look at an entry and each change of
    one: writes of files do not meet, since no two have a name in common."""
    prepared = Prepared.make(tmp_path)
    lost = 0
    for at in numbered(undisturbed.operations, entries=True):
        root = prepared.again()
        other = local_lake(root)

        def meanwhile(other: Lake = other) -> None:
            Landing(other, PARCELS).land([change("late", version=1)], name="late.parquet")
            run(other)

        points = Failpoints(meanwhile=(at, meanwhile))
        try:
            run(failing_lake(root, points))
        except (CommitFailedException, EntryConflict):
            lost += 1
        assert points.struck
        rows, changes = seen(other)
        where = f"before {undisturbed.operations[at - 1].name}"
        assert [r for r in rows if r["parcel_id"] != "late"] == undisturbed.new[0], where
        assert len(rows) == len(undisturbed.new[0]) + 1, where
        assert len(changes) == len(undisturbed.new[1]) + 1, where
        assert run(local_lake(root)) == Counts()
    assert lost
