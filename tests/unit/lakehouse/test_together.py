"""Files of one commit are written at the same time, and all are there before a pointer moves to any of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse import api
from lakehouse.intake.landing import Scope
from lakehouse.storage.iceberg_io import LakeFiles
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import LocalStore, ObjectMissing
from lakehouse.storage.threads import at_once
from lakehouse.table.tables import published_entry
from tests.support.lakes import PARCELS, Landing, change, published_rows

PATIENCE = 20.0


class Distant(LocalStore):
    """A folder whose operations count as requests; each write and read is reported first."""

    is_remote = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.before: Callable[[str], object] = lambda key: None

    def write(self, key: str, content: bytes) -> None:
        self.before(key)
        super().write(key, content)

    def read(self, key: str) -> bytes:
        self.before(key)
        return super().read(key)


@pytest.fixture
def store(tmp_path: Path) -> Distant:
    return Distant(tmp_path / "distant")


@pytest.fixture
def distant(lake: Lake) -> Lake:
    """The lake in a folder, as if it were far away."""
    assert lake.local_root is not None
    lake.__dict__["store"] = Distant(lake.local_root / lake.bucket)
    return lake


def test_what_is_written_together_is_written_at_the_same_time(store: Distant) -> None:
    files, both = LakeFiles(store), threading.Barrier(2)
    store.before = lambda key: both.wait(PATIENCE)
    with files.together():
        files.write(store.uri("a"), b"1")
        files.write(store.uri("b"), b"2")
    assert (Distant(store._root).read("a"), Distant(store._root).read("b")) == (b"1", b"2")


def test_what_is_read_ahead_is_read_at_the_same_time_and_once(store: Distant) -> None:
    addresses = [store.uri(key) for key in "ab"]
    for key in "ab":
        store.write(key, key.encode())
    files, both = LakeFiles(store), threading.Barrier(2)
    store.before = lambda key: both.wait(PATIENCE)
    files.read_ahead(addresses)
    files.read_ahead(addresses)
    assert [files.read(address) for address in addresses] == [b"a", b"b"]


def test_a_write_that_fails_is_raised_and_not_remembered(store: Distant) -> None:
    files = LakeFiles(store)

    def fail(key: str) -> None:
        if key == "b":
            raise OSError("no answer")

    def write() -> None:
        with files.together():
            files.write(store.uri("a"), b"1")
            files.write(store.uri("b"), b"2")

    store.before = fail
    with pytest.raises(OSError, match="no answer"):
        write()
    store.before = lambda key: None
    with pytest.raises(ObjectMissing):
        files.read(store.uri("b"))
    assert files.read(store.uri("a")) == b"1"
    files.write(store.uri("c"), b"3")
    assert store.read("c") == b"3", "what comes after is written at once again"


@pytest.mark.parametrize(
    ("table", "lost"),
    [
        *(
            (f"warehouse/{name}/", lost)
            for name in ("parcels_changes", "parcels")
            for lost in ("-m0", "/snap-", ".json")
        ),
        ("ledger/", "/heads/"),
        ("ledger/", ".parquet"),
    ],
)
def test_no_pointer_moves_to_a_file_that_was_not_written(distant: Lake, table: str, lost: str) -> None:
    landing, store = Landing(distant, PARCELS), distant.store
    assert isinstance(store, Distant)

    def batch() -> None:
        api.compact(distant, PARCELS, Scope.everything())
        api.publish(distant, PARCELS)

    landing.land([change("p-1", version=1)])
    batch()
    landing.land([change("p-2", version=1)])
    there = published_entry(distant, PARCELS)
    struck = list[str]()

    def fail(key: str) -> None:
        if key.startswith(table) and lost in key and store.size(key) is None:
            struck.append(key)
            raise OSError("no answer")

    def pointer() -> str:
        entry = distant.entries.get(distant.work_database, "parcels" if table == "ledger/" else table.split("/")[1])
        assert entry is not None
        return entry.metadata_location

    before = pointer()
    store.before = fail
    with pytest.raises(OSError, match="no answer"):
        batch()
    store.before = lambda key: None
    assert struck
    assert pointer() == before
    assert published_entry(distant, PARCELS) == there
    batch()
    assert len(published_rows(distant)) == 2


def test_calls_at_once_answer_in_order_and_raise_when_all_are_over() -> None:
    both, over = threading.Barrier(2), list[int]()

    def wait(number: int) -> int:
        both.wait(PATIENCE)
        over.append(number)
        return number

    assert at_once([lambda: wait(1), lambda: wait(2)]) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        at_once([lambda: 1 // 0, lambda: over.insert(0, 3)])
    assert 3 in over
