"""The key index: stored rows are found by it as by a scan, and whatever becomes of it, no row is ever wrong."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError, IncompleteReadError
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.maintenance import indexing
from lakehouse.merge import planning
from lakehouse.merge.base import EngineError
from lakehouse.publish import audit
from lakehouse.publish.audit import Audited
from lakehouse.publish.publication import publish
from lakehouse.results import Check, StateRetention
from lakehouse.storage.context import Context
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import LocalStore, ObjectNotRestored
from lakehouse.table import key_index, schemas
from lakehouse.table.key_index import Digests, KeyIndex, Keys, Places
from lakehouse.table.tables import TableState, expect_published
from tests.support.ageing import ageing
from tests.support.lakes import PARCELS, Clock, Landing, change, published_rows

EVERYTHING = Scope.everything()
AT_ONCE = StateRetention(recent=timedelta(0), days=0, states=1, grace=timedelta(0))
INDEX = "warehouse/parcels/index/"


@pytest.fixture(autouse=True)
def _few_rows_count_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file has an index, and none is small, so that sparse changes leave it as it is."""
    monkeypatch.setattr(key_index, "FEWEST_ROWS", 1)
    monkeypatch.setattr(key_index, "ROWS_PER_KEY", 0)
    monkeypatch.setattr(planning, "SMALL_FILE", 0)
    monkeypatch.setattr(planning, "TINY_FILE", 0)
    monkeypatch.setattr(planning, "FULL_FILE", 0)


def run(lake: Lake, landing: Landing, rows: Sequence[dict[str, str | None]]) -> tuple[int, ...]:
    """Merge and publish; returns the files that were looked up by their index."""
    found: list[tuple[int, ...]] = []

    def look(audited: Audited) -> Check:
        found.append(audited.reduced.indexed)
        return Check("looked", True, "")

    landing.land(rows)
    assert not compact(lake, PARCELS, EVERYTHING, invariants=[look]).held
    publish(lake, PARCELS)
    return found[-1]


def index(lake: Lake) -> int:
    with connect(lake) as duck:
        return indexing.write_indexes(duck, Context(lake, PARCELS), expect_published(lake, PARCELS)).files


def of(lake: Lake) -> KeyIndex:
    return KeyIndex(lake, PARCELS, str(expect_published(lake, PARCELS).metadata.table_uuid))


def indexes(lake: Lake) -> list[str]:
    return [stored.key for stored in lake.store.list(INDEX)]


def some(version: int, numbers: Sequence[int] = range(40)) -> list[dict[str, str | None]]:
    return [change(f"p-{n:03d}", version=version) for n in numbers]


def versions(lake: Lake) -> dict[str, int]:
    rows = published_rows(lake)
    found = {r["parcel_id"]: r["_version"] for r in rows}
    assert len(found) == len(rows)
    return found


EXPECTED = {f"p-{n:03d}": 3 if n == 7 else 1 for n in range(40)} | {"new": 3}
NEWS = [change("p-007", version=3), change("p-009", version=0), change("new", version=3)]


def test_rows_are_found_by_the_index_and_deleted_ones_are_not(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(1))
    assert index(lake) == 1
    assert run(lake, landing, some(2, [7])) == (0,)
    assert run(lake, landing, NEWS)
    assert versions(lake) == EXPECTED
    assert index(lake) == 2  # of the files that came since
    assert index(lake) == 0


def test_readers_see_nothing_of_the_index(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(1))
    before, rows = expect_published(lake, PARCELS), published_rows(lake)
    index(lake)
    after = TableState(lake, expect_published(lake, PARCELS).location)
    assert after.location == before.location
    assert [f.path for f in after.files] == [f.path for f in before.files]
    assert published_rows(lake) == rows
    text = Path(lake.store.uri(lake.store.key(after.location))).read_text()
    assert "index/" not in text
    content = lake.store.read(indexes(lake)[0])
    assert b"p-007" not in content


def test_keys_that_look_alike_when_they_are_joined_are_distinguished(lake: Lake, landing: Landing) -> None:
    alike = [("a", 11), ("a1", 1), ("a:1", 1), ("1:a", 1), (" ", 1), ("é", 1), ("É", 1), ("2", 1), ("2:", 1)]
    run(lake, landing, [change(k, part, version=1) for k, part in alike])
    for number, (key, part) in enumerate(alike):
        index(lake)
        assert run(lake, landing, [change(key, part, version=2 + number)])
    assert {(r["parcel_id"], r["part"]): r["_version"] for r in published_rows(lake)} == {
        place: 2 + number for number, place in enumerate(alike)
    }


def flip(at: int) -> Callable[[bytes], bytes]:
    """Another bit in the byte at a place, counted from the end if it is below 0."""

    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[at] ^= 4
        return bytes(changed)

    return damage


def flip_all(begin: int, end: int, step: int) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        for at in range(begin, len(content) + end, step):
            changed[at] ^= 1
        return bytes(changed)

    return damage


_RECORDS = 64 + 4 * 40
"""Where the records of an index of 40 rows begin; each takes 20 bytes."""
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "without its end": lambda content: content[:-1],
    "without its records": lambda content: content[:_RECORDS],
    "half a header": lambda content: content[:30],
    "another thing": lambda _: b"PAR1" * 300,
    "a bit of the format": flip(2),
    "a bit of the rows": flip(8),
    "a bit of the size": flip(16),
    "a bit of the checksum": flip(57),
    "a bit of a print": flip(64 + 4 * 20),
    "prints of other rows": lambda c: c[:64] + c[68:_RECORDS] + c[64:68] + c[_RECORDS:],
    "a bit of each proof": flip_all(_RECORDS, 0, 20),
    "a bit of each version": flip_all(_RECORDS + 8, 0, 20),
    "a bit of each check": flip_all(_RECORDS + 16, 0, 20),
    "records of other rows": lambda c: c[:_RECORDS] + c[_RECORDS + 20 :] + c[_RECORDS : _RECORDS + 20],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_index_is_not_believed_and_written_again(lake: Lake, landing: Landing, name: str) -> None:
    run(lake, landing, some(1))
    index(lake)
    (key,) = indexes(lake)
    whole = lake.store.read(key)
    lake.store.write(key, DAMAGES[name](whole))
    assert run(lake, landing, NEWS) == ()
    assert versions(lake) == EXPECTED
    index(lake)
    assert lake.store.read(key) == whole


def test_an_index_that_is_gone_is_not_missed(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(1))
    index(lake)
    shutil.rmtree(lake.store.uri(INDEX))
    assert run(lake, landing, NEWS) == ()
    assert versions(lake) == EXPECTED


def test_the_index_of_another_file_is_not_believed(lake: Lake, landing: Landing) -> None:
    """Of a file with as many rows; the name alone would not tell."""
    run(lake, landing, some(1))
    run(lake, landing, some(1, range(100, 140)))
    index(lake)
    one, other = indexes(lake)
    first, second = lake.store.read(one), lake.store.read(other)
    lake.store.write(one, second)
    lake.store.write(other, first)
    assert run(lake, landing, NEWS) == ()
    assert versions(lake) == EXPECTED | {f"p-{n}": 1 for n in range(100, 140)}


def test_the_index_of_a_table_that_was_made_again_is_not_believed(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(1))
    index(lake)
    (file,) = expect_published(lake, PARCELS).files
    mine = of(lake)
    assert mine.holds(file)
    assert not dataclasses.replace(mine, table="another").holds(file)
    larger = dataclasses.replace(file, data=_longer(file.data))
    assert not mine.holds(larger)


def _longer(data: Any) -> Any:
    from lakehouse.table.file_metrics import FileMetrics
    from lakehouse.table.iceberg import described_again

    return described_again(data, FileMetrics(data.record_count), data.file_size_in_bytes + 1)


LIES: dict[str, Callable[[Places], Places]] = {
    "a row too few": lambda p: Places(p.number[1:], p.pos[1:], p.version[1:]),
    "another row": lambda p: Places(p.number, (p.pos + 1) % 40, p.version),
    "another version": lambda p: Places(p.number, p.pos, p.version - 1),
}


@pytest.mark.parametrize("name", LIES)
def test_an_index_that_is_whole_and_wrong_is_found_by_the_audit(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run(lake, landing, some(1))
    index(lake)
    find = KeyIndex.find

    def lie(self: KeyIndex, *arguments: Any) -> Places | None:
        found = find(self, *arguments)
        return LIES[name](found) if found else None

    monkeypatch.setattr(KeyIndex, "find", lie)
    landing.land(NEWS)
    with pytest.raises(EngineError, match="run the batch again"):
        compact(lake, PARCELS, EVERYTHING)
    assert versions(lake) == {f"p-{n:03d}": 1 for n in range(40)}
    assert indexes(lake) == []
    assert not compact(lake, PARCELS, EVERYTHING).held
    publish(lake, PARCELS)
    assert versions(lake) == EXPECTED


def test_each_batch_audits_other_rows(lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lie about one of three files is found within three batches that each look at as many rows as it has."""
    monkeypatch.setattr(audit, "_LEAST_SAMPLED", 40)
    monkeypatch.setattr(audit, "_MOST_SAMPLED", 40)
    for n in range(3):
        run(lake, landing, some(1, range(100 * n, 100 * n + 40)))
    index(lake)
    find, victim = KeyIndex.find, expect_published(lake, PARCELS).files[1].path

    def lie(self: KeyIndex, file: Any, keys: Keys) -> Places | None:
        found = find(self, file, keys)
        return LIES["a row too few"](found) if found and file.path == victim else found

    monkeypatch.setattr(KeyIndex, "find", lie)
    with pytest.raises(EngineError, match="the key index is true"):
        _three_batches(lake, landing)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 70), st.integers(0, 99), st.integers(1, 9))
def test_batches_that_follow_each_other_look_at_all_rows(sizes: list[int], some: int, batch: int, first: int) -> None:
    """Each at as many as it may, none twice, and together at each row as often as another, but for one time."""
    rows = {first + 2 * n: size for n, size in enumerate(sizes)}
    seen = Counter[tuple[int, int]]()
    for later in range(3):
        windows = audit._next_rows(rows, some, batch + later)
        looked = [(number, position) for number, window in windows for position in window]
        assert len(looked) == len({*looked}) == min(some, sum(sizes))
        seen.update(looked)
    times = [seen[number, position] for number, size in rows.items() for position in range(size)]
    assert max(times) - min(times) <= 1


@pytest.mark.parametrize("sampled", [1, 7, 40, 100])
def test_an_audit_reads_the_keys_of_the_rows_it_looks_at(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, sampled: int
) -> None:
    """Parts of a file, whole files, and the first after the last: what a true index says is found there."""
    monkeypatch.setattr(audit, "_LEAST_SAMPLED", sampled)
    monkeypatch.setattr(audit, "_MOST_SAMPLED", sampled)
    for n in range(3):
        run(lake, landing, some(1, range(100 * n, 100 * n + 40)))
    index(lake)
    _three_batches(lake, landing)
    assert sum(version >= 9 for version in versions(lake).values()) == 9


def _three_batches(lake: Lake, landing: Landing) -> None:
    for n in range(3):
        landing.land([change(f"p-{100 * m + 5 + n:03d}", version=9 + n) for m in range(3)])
        compact(lake, PARCELS, EVERYTHING)
        publish(lake, PARCELS)


def test_an_index_goes_with_its_data_file_and_no_sooner(lake: Lake, landing: Landing, clock: Clock) -> None:
    with ageing(clock):
        _an_index_goes_with_its_data_file(lake, landing, clock)


def _an_index_goes_with_its_data_file(lake: Lake, landing: Landing, clock: Clock) -> None:
    run(lake, landing, some(1))
    maintain(lake, PARCELS, state_retention=AT_ONCE)
    (first,) = indexes(lake)
    run(lake, landing, some(2))  # the file is rewritten
    clock.forward(hours=1)
    kept = maintain(lake, PARCELS)
    assert kept.removal is not None
    assert kept.removal.exact
    assert first in indexes(lake)  # a retained state needs its data file
    assert len(indexes(lake)) == 2

    clock.forward(days=2)
    lake.store.write(first, lake.store.read(first))  # written again just now: it is young, its data file is not
    done = maintain(lake, PARCELS, state_retention=AT_ONCE)
    assert done.removal is not None
    assert done.removal.exact
    assert done.removal.lingering == 0
    (file,) = expect_published(lake, PARCELS).files
    assert indexes(lake) == [f"{INDEX}{lake.store.key(file.path).removeprefix('warehouse/parcels/')}.keys"]


def test_a_night_that_dies_while_it_indexes_has_published_and_the_next_one_goes_on(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake, landing, some(1))
    run(lake, landing, some(1, range(100, 140)))
    with monkeypatch.context() as patched:
        patched.setattr(KeyIndex, "write", _die)
        with pytest.raises(RuntimeError, match="died"):
            maintain(lake, PARCELS)
    assert indexes(lake) == []
    assert run(lake, landing, NEWS) == ()
    assert maintain(lake, PARCELS).removal is not None
    assert len(indexes(lake)) == 3
    assert versions(lake) == EXPECTED | {f"p-{n}": 1 for n in range(100, 140)}


def _die(*_: Any) -> int:
    raise RuntimeError("died")


def test_a_night_stops_at_its_share_and_the_next_one_goes_on(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        run(lake, landing, some(1, range(100 * n, 100 * n + 40)))
    monkeypatch.setattr(indexing, "NIGHT_ROWS", 100)
    assert [index(lake) for _ in range(3)] == [2, 1, 0]


def test_keys_that_are_many_beside_the_rows_are_looked_for_in_the_files(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake, landing, some(1))
    index(lake)
    monkeypatch.setattr(key_index, "ROWS_PER_KEY", 16)
    assert run(lake, landing, NEWS) == ()
    assert run(lake, landing, some(4, [8, 9]))  # 2 keys beside 40 rows
    assert versions(lake) == EXPECTED | {"p-008": 4, "p-009": 4}


def test_no_digest_is_computed_where_there_is_no_index(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake, landing, some(1))
    computed, digests = [], KeyIndex.digests
    monkeypatch.setattr(key_index, "MANY_KEYS", 2)

    def count(self: KeyIndex, *given: Any) -> Digests:
        computed.append(1)
        return digests(self, *given)

    monkeypatch.setattr(KeyIndex, "digests", count)
    assert run(lake, landing, NEWS) == ()
    assert not computed
    index(lake)
    assert run(lake, landing, some(2, [8, 9]))
    assert computed == [1]


def test_a_file_of_a_few_rows_and_a_key_that_has_no_single_text_get_none(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(lake, landing, some(1))
    monkeypatch.setattr(key_index, "FEWEST_ROWS", 41)
    assert index(lake) == 0
    assert not key_index.can_index(dataclasses.replace(PARCELS, primary_key=("price",)))
    assert key_index.index_key("warehouse/parcels/", "warehouse/others/data/a.parquet") is None
    assert key_index.described_by("warehouse/parcels/", "warehouse/parcels/data/a.parquet") is None


class Requested(LocalStore):
    """A folder that counts what is requested of it, as S3 would be."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.parts: list[tuple[int, int]] = []

    def read_part(self, key: str, start: int, size: int) -> bytes:
        self.parts.append((start, size))
        return super().read_part(key, start, size)


def on_s3(lake: Lake, store: LocalStore) -> KeyIndex:
    """The index as it is read where it lies on S3."""
    remote = dataclasses.replace(lake, local_root=None)
    remote.__dict__["store"] = store
    return dataclasses.replace(of(lake), lake=remote)


def test_on_s3_a_few_records_are_read_by_themselves(lake: Lake, landing: Landing, tmp_path: Path) -> None:
    run(lake, landing, some(1))
    index(lake)
    (file,) = expect_published(lake, PARCELS).files
    store = Requested(tmp_path / "lake" / "data")
    remote = on_s3(lake, store)
    with connect(lake) as duck:
        for wanted, parts in (("('p-011', 1)", 2), ("('p-999', 1)", 1)):
            keys = Keys(of(lake).digests(duck, f"(VALUES {wanted}) AS t(parcel_id, part)"))
            store.parts.clear()
            found, same = remote.find(file, keys), of(lake).find(file, keys)
            assert found is not None
            assert same is not None
            assert found.pos.tolist() == same.pos.tolist()
            assert len(store.parts) == parts
            assert sum(size for _, size in store.parts) == _RECORDS + 20 * (parts - 1)
    shutil.rmtree(lake.store.uri(INDEX))
    assert remote.find(file, keys) is None


@pytest.mark.parametrize(("keys", "parts"), [((0, 13, 39), [20, 20, 20]), (range(0, 40, 3), [20 * 40])])
def test_on_s3_many_records_are_read_as_one(
    lake: Lake,
    landing: Landing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keys: Sequence[int],
    parts: list[int],
) -> None:
    monkeypatch.setattr(key_index, "_GAP", 1)
    monkeypatch.setattr(key_index, "_FEW_RANGES", 3)
    run(lake, landing, some(1))
    index(lake)
    (file,) = expect_published(lake, PARCELS).files
    store = Requested(tmp_path / "lake" / "data")
    values = ", ".join(f"('p-{n:03d}', 1)" for n in keys)
    with connect(lake) as duck:
        sought = Keys(of(lake).digests(duck, f"(VALUES {values}) AS t(parcel_id, part)"))
    found = on_s3(lake, store).find(file, sought)
    assert found is not None
    assert dict(zip(found.number.tolist(), found.pos.tolist(), strict=True)) == dict(enumerate(keys))
    assert [size for _, size in store.parts[1:]] == parts


def test_whatever_the_digests_exactly_the_same_ones_are_found() -> None:
    """Prints are made to be alike by the dozen, which those of real keys hardly ever are."""
    rng = np.random.default_rng(7)
    for _ in range(200):
        count, rows, most = rng.integers(0, 30), rng.integers(0, 60), rng.integers(1, 40)
        mine = np.unique(rng.integers(0, 50, count))
        proofs = mine.astype(np.uint64) << np.uint64(3)
        prints = ((mine % most) << 26).astype(np.uint32)
        rng.shuffle(order := np.arange(len(mine)))
        keys = Keys(Digests(prints[order], proofs[order]))
        assert keys.distinct
        stored = rng.integers(0, 50, rows)
        other = (rng.integers(0, 4, rows) == 0).astype(np.uint32)  # another key with such a proof
        stored_prints = ((stored % most) << 26).astype(np.uint32) ^ other
        pos = keys.candidates(stored_prints)
        number, hit = keys.match(stored_prints[pos], (stored.astype(np.uint64) << np.uint64(3))[pos])
        found = sorted(zip(mine[order][number].tolist(), pos[hit].tolist(), strict=True))
        assert found == sorted(
            (int(value), place) for place, value in enumerate(stored) if value in mine and not other[place]
        )


def test_keys_with_the_same_proof_are_not_looked_up(lake: Lake, landing: Landing) -> None:
    assert not Keys(Digests(np.array([1, 2], np.uint32), np.array([5, 5], np.uint64))).distinct
    run(lake, landing, some(1))
    index(lake)
    shape = schemas.compacted(PARCELS)
    with connect(lake) as duck, pytest.raises(ValueError, match="without nulls"):
        of(lake).digests(duck, f"(SELECT NULL::VARCHAR AS parcel_id, 1 AS part) -- {shape.name}")


class Refusing(LocalStore):
    """A store that answers requests behind a place with an error."""

    error: Exception
    behind = 0

    def read_part(self, key: str, start: int, size: int) -> bytes:
        if start >= self.behind:
            raise self.error
        return super().read_part(key, start, size)


REFUSALS: dict[str, Exception] = {
    "forbidden": ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"),
    "slow down": ClientError({"Error": {"Code": "SlowDown"}}, "GetObject"),
    "not restored": ObjectNotRestored("s3://data/index"),
    "cut off": IncompleteReadError(actual_bytes=1, expected_bytes=2),
    "no memory": MemoryError(),
}


@pytest.mark.parametrize("behind", [0, 1], ids=["prints", "records"])
@pytest.mark.parametrize("name", REFUSALS)
def test_an_index_that_the_store_does_not_give_is_as_good_as_none(
    lake: Lake, landing: Landing, tmp_path: Path, name: str, behind: int
) -> None:
    run(lake, landing, some(1))
    index(lake)
    (file,) = expect_published(lake, PARCELS).files
    store = Refusing(tmp_path / "lake" / "data")
    store.error, store.behind = REFUSALS[name], behind
    with connect(lake) as duck:
        keys = Keys(of(lake).digests(duck, "(VALUES ('p-011', 1)) AS t(parcel_id, part)"))
    assert on_s3(lake, store).find(file, keys) is None


def test_a_defect_is_not_taken_for_a_lost_index(lake: Lake, landing: Landing, tmp_path: Path) -> None:
    run(lake, landing, some(1))
    store = Refusing(tmp_path / "lake" / "data")
    store.error = TypeError("a defect")
    with pytest.raises(TypeError):
        on_s3(lake, store).holds(*expect_published(lake, PARCELS).files)


def test_a_night_that_cannot_write_an_index_does_all_else(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(1))
    Path(lake.store.uri(INDEX)).write_text("a file where the folder should be")
    said: list[str] = []
    done = maintain(lake, PARCELS, state_retention=AT_ONCE, progress=said.append)
    assert done.removal is not None
    assert any("a key index could not be written" in line for line in said)
    assert run(lake, landing, NEWS) == ()
    assert versions(lake) == EXPECTED


def test_the_index_of_other_key_columns_is_not_believed(lake: Lake, landing: Landing) -> None:
    """Its digests are of other texts: each key would be said to be absent."""
    run(lake, landing, some(1))
    index(lake)
    (file,) = expect_published(lake, PARCELS).files
    turned = dataclasses.replace(PARCELS, primary_key=PARCELS.primary_key[::-1])
    assert of(lake).holds(file)
    assert not dataclasses.replace(of(lake), contract=turned).holds(file)


def test_a_data_file_at_another_address_has_no_index(lake: Lake, landing: Landing) -> None:
    run(lake, landing, some(1))
    (file,) = expect_published(lake, PARCELS).files
    elsewhere = SimpleNamespace(path="s3a://elsewhere/data/x.parquet", stored_rows=file.stored_rows)
    assert of(lake).is_wanted(file)
    assert not of(lake).is_wanted(elsewhere)  # type: ignore[arg-type]


@pytest.mark.parametrize(("part", "indexed"), [("int32", True), ("float64", False), ("string", False)])
def test_a_file_of_another_writer_with_keys_of_another_type_has_no_index(lake: Lake, part: str, indexed: bool) -> None:
    """`1` and `1.0` are one key, and two texts."""
    path = Path(lake.store.uri("warehouse/parcels/data/foreign.parquet"))
    path.parent.mkdir(parents=True)
    rows = {"part": pa.array([1, 2]).cast(part), "parcel_id": ["a", "b"], "_version": [3, 4]}
    pq.write_table(pa.table(rows), path)
    size = path.stat().st_size
    file: Any = SimpleNamespace(path=str(path), stored_rows=2, data=SimpleNamespace(file_size_in_bytes=size))
    mine = KeyIndex(lake, PARCELS, "a salt")
    with connect(lake) as duck:
        assert bool(mine.write(duck, schemas.compacted(PARCELS), file)) == indexed
        if indexed:
            found = mine.find(file, Keys(mine.digests(duck, "(VALUES ('b', 2)) AS t(parcel_id, part)")))
            assert found is not None
            assert (found.pos.tolist(), found.version.tolist()) == ([1], [4])


def test_a_change_is_not_too_late_because_an_index_is_wrong(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the horizon a change of an absent key is set aside: nothing else of the batch would tell."""
    run(lake, landing, some(5))
    index(lake)
    find = KeyIndex.find

    def lie(self: KeyIndex, *arguments: Any) -> Places | None:
        found = find(self, *arguments)
        return LIES["a row too few"](found) if found else None

    monkeypatch.setattr(TableState, "horizon", 100)
    monkeypatch.setattr(KeyIndex, "find", lie)
    landing.land(some(7, [7]))
    with pytest.raises(EngineError, match="the key index is true"):
        compact(lake, PARCELS, EVERYTHING)


def test_no_landed_object_is_held_for_a_wrong_index_that_another_check_found(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_rows = audit._next_rows

    def of_the_first(rows: Mapping[int, int], wanted: int, batch: int) -> list[tuple[int, range]]:
        return next_rows(rows, wanted, 0) if wanted == sum(rows.values()) else [(next(iter(rows)), range(40))]

    monkeypatch.setattr(audit, "_LEAST_SAMPLED", 1)
    monkeypatch.setattr(audit, "_next_rows", of_the_first)
    for n in range(2):
        run(lake, landing, some(1, range(100 * n, 100 * n + 40)))
    index(lake)
    find, (_, other) = KeyIndex.find, expect_published(lake, PARCELS).files

    def lie(self: KeyIndex, file: Any, keys: Keys) -> Places | None:
        """The first key is there, too, in a file that the sample leaves out."""
        found = find(self, file, keys)
        return (
            Places(np.array([0, 1]), np.array([4, 5]), np.array([1, 1])) if found and file.path == other.path else found
        )

    monkeypatch.setattr(KeyIndex, "find", lie)
    landing.land([change("p-005", version=9), change("p-105", version=9)])
    with pytest.raises(EngineError, match="run the batch again"):
        compact(lake, PARCELS, EVERYTHING)
    assert indexes(lake) == []
    assert not compact(lake, PARCELS, EVERYTHING).held
    publish(lake, PARCELS)
    assert {versions(lake)[key] for key in ("p-005", "p-105")} == {9}


def test_on_s3_many_records_are_read_in_blocks(
    lake: Lake, landing: Landing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large a file is, each reader holds a block of its records."""
    monkeypatch.setattr(key_index, "_BLOCK", 7)
    run(lake, landing, some(1))
    index(lake)
    (file,) = expect_published(lake, PARCELS).files
    store = Requested(tmp_path / "lake" / "data")
    with connect(lake) as duck:
        for few in (16, 0):  # stretches by themselves; all of them
            monkeypatch.setattr(key_index, "_FEW_RANGES", few)
            keys = Keys(of(lake).digests(duck, "(SELECT 'p-0' || n AS parcel_id, 1 AS part FROM range(11, 29) t(n))"))
            store.parts.clear()
            found, same = on_s3(lake, store).find(file, keys), of(lake).find(file, keys)
            assert found is not None
            assert same is not None
            assert found.pos.tolist() == same.pos.tolist() == list(range(11, 29))
            assert max(size for _, size in store.parts[1:]) == 7 * 20
            assert len(store.parts) == 1 + (3 if few else 4)
