"""A crash between any two writes leaves readers the old state or the new one, and the next run heals it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lakes import PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows, without

from lakehouse.audit import audit_table
from lakehouse.compaction import Counts, compact
from lakehouse.lake import Lake
from lakehouse.landing import Scope
from lakehouse.publication import publish

EVERYTHING = Scope.everything()
WRITES = frozenset({"write", "upload", "copy", "delete", "create", "update"})


class Crash(Exception):
    """The process died here."""


class Fragile:
    """A store or catalog that counts its writes and dies at one of them, before or after it took effect."""

    def __init__(self, inner: Any, dies: Callable[[], str]) -> None:
        self._inner = inner
        self._dies = dies

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in WRITES:
            return found

        def call(*arguments: Any) -> Any:
            when = self._dies()
            if when == "before":
                raise Crash(name)
            result = found(*arguments)
            if when == "after":
                raise Crash(name)
            return result

        return call


class Fuse:
    """Burns with each write and kills the process at the chosen one."""

    def __init__(self, at: int, when: str) -> None:
        self.at, self.when, self.count = at, when, 0

    def __call__(self) -> str:
        self.count += 1
        return self.when if self.count == self.at else ""


def fragile(root: Path, fuse: Fuse, clock: Clock) -> Lake:
    """A new process over the same lake, whose writes burn the fuse."""
    lake = local_lake(root, clock)
    lake.__dict__["store"] = Fragile(lake.store, fuse)
    lake.__dict__["entries"] = Fragile(lake.entries, fuse)
    return lake


def first_batch(root: Path) -> None:
    lake = local_lake(root)
    landing = Landing(lake, PARCELS)
    landing.land([change("p-1", version=1), change("p-2", version=1)], name="one.parquet")
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land(
        [change("p-1", version=2, op="remove"), change("p-3", version=1, price="1.005"), change("p-2", version=1)],
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Counts, int]:
    """What readers see before and after an undisturbed second batch, its counts, and how many writes it has."""
    root = tmp_path_factory.mktemp("undisturbed")
    first_batch(root)
    fuse = Fuse(0, "")
    lake = fragile(root, fuse, Clock())
    old = seen(lake)
    counts = run(lake)
    return old, seen(lake), counts, fuse.count


def test_the_second_batch_is_what_it_should_be(undisturbed: tuple[Any, Any, Counts, int]) -> None:
    """The yardstick of the crash tests is itself right, and has writes of each kind to crash at."""
    old, new, counts, writes = undisturbed
    assert counts == Counts(read=4, applied=2, duplicate=1, quarantined=1)
    assert [(r["parcel_id"], r["_deleted"]) for r in new[0]] == [("p-1", True), ("p-2", False), ("p-3", False)]
    assert old != new
    assert writes > 15


def test_a_crash_at_any_write_leaves_old_or_new_and_the_next_run_heals(
    undisturbed: tuple[Any, Any, Counts, int], tmp_path: Path
) -> None:
    """Dying before a write leaves what dying after the one before it leaves, so that only the first is tried so."""
    old, new, counts, writes = undisturbed
    healed = []
    prepared = Prepared.make(tmp_path)
    for at, when in [(1, "before"), *((n, "after") for n in range(1, writes + 1))]:
        root = prepared.again()
        with pytest.raises(Crash):
            run(fragile(root, Fuse(at, when), Clock()))

        lake = local_lake(root)
        left = seen(lake)
        assert left in (old, new), f"readers see a mix after a crash {when} write {at}"
        result = run(lake)
        assert seen(lake) == new, f"not healed after a crash {when} write {at}"
        assert result == (Counts() if left == new else counts)
        healed.append(left == new)
    assert not healed[0]
    assert healed == sorted(healed), "a later crash may not undo what readers saw"
    assert audit_table(lake, PARCELS).passed


def test_a_crash_in_the_very_first_batch_heals(tmp_path: Path) -> None:
    """Making the tables is made of several writes, too."""
    for at in range(1, 16):
        root = tmp_path / str(at)
        Landing(local_lake(root), PARCELS).land([change(version=1)])
        with pytest.raises(Crash):
            run(fragile(root, Fuse(at, "after"), Clock()))
        lake = local_lake(root)
        run(lake)
        assert [r["parcel_id"] for r in published_rows(lake)] == ["p-1"]
        assert len(published_changes(lake)) == 1


def test_two_crashes_in_a_row_heal(undisturbed: tuple[Any, Any, Counts, int], tmp_path: Path) -> None:
    _, new, _, writes = undisturbed
    prepared = Prepared.make(tmp_path)
    for first, second in ((writes - 1, 3), (writes // 2, writes // 2), (4, writes - 2)):
        root = prepared.again()
        for at in (first, second):
            try:
                run(fragile(root, Fuse(at, "after"), Clock()))
            except Crash:
                continue
        lake = local_lake(root)
        run(lake)
        assert seen(lake) == new
