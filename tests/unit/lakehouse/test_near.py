"""Small files of the lake are fetched once for a batch, and the engine reads the copies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb
import pytest

from lakehouse.storage import near
from lakehouse.storage.near import Copies, listed
from lakehouse.storage.sql import file_list, literal, quoted
from lakehouse.storage.store import LocalStore


class Counting(LocalStore):
    """Counts what is read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: Counter[str] = Counter()

    def read(self, key: str) -> bytes:
        self.reads[key] += 1
        return super().read(key)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "bucket")


def file(store: Counting, name: str, rows: int) -> tuple[str, int]:
    """A Parquet file with the numbers below `rows`: its address and size."""
    key = f"warehouse/{name}"
    address = store.uri(key)
    Path(address).parent.mkdir(exist_ok=True)
    duckdb.execute(f"COPY (FROM range({rows})) TO {file_list([address])[1:-1]} (FORMAT parquet)")
    return address, store.size(key) or 0


def test_a_statement_reads_copies_which_are_fetched_once(store: Counting, tmp_path: Path) -> None:
    files = [file(store, "it's.parquet", 3), file(store, "b.parquet", 4)]
    copies = Copies(store, tmp_path / "near")
    sql = f"SELECT list(n ORDER BY n) FROM (SELECT count(*) n FROM read_parquet({listed(files)}) GROUP BY file_index)"
    near_by = copies.read_by(sql)
    assert str(tmp_path / "bucket") not in near_by
    assert duckdb.execute(near_by).fetchone() == duckdb.execute(sql).fetchone() == ([3, 4],)
    assert copies.read_by(sql) == near_by
    assert set(store.reads.values()) == {1}


def test_a_large_file_stays_where_it_is(store: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = file(store, "a.parquet", 3), file(store, "b.parquet", 20_000)
    monkeypatch.setattr(near, "LARGEST_BYTES", small[1])
    sql = Copies(store, tmp_path / "near").read_by(f"FROM read_parquet({listed([large, small])})")
    assert large[0] in sql
    assert small[0] not in sql
    assert [*store.reads] == ["warehouse/a.parquet"]


def test_copies_take_no_more_disk_than_they_may(
    store: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [file(store, f"{n}.parquet", 3) for n in range(3)]
    monkeypatch.setattr(near, "MOST_BYTES", files[0][1] + 1)
    copies = Copies(store, tmp_path / "near")
    for address, size in files:
        copies.read_by(f"FROM read_parquet({listed([(address, size)])})")
    assert sum(store.reads.values()) == 2
    assert files[2][0] in copies.read_by(f"FROM read_parquet({listed(files)})")


def test_a_file_that_is_gone_or_elsewhere_is_left_to_the_engine(store: Counting, tmp_path: Path) -> None:
    sql = f"FROM read_parquet({listed([(store.uri('warehouse/gone'), 1), ('/elsewhere/a', 1)])})"
    found = Copies(store, tmp_path / "near").read_by(sql)
    assert store.uri("warehouse/gone") in found
    assert "'/elsewhere/a'" in found


@pytest.mark.parametrize(
    "text",
    [
        "/* small: 0 */['/a']",
        "/* small: 0 */[]",
        "/* small: 0 */[', ']",
        "/* small: 1 */[', ', ', ']",
        "/* small: 0 */[" + "'" * 80,
    ],
)
def test_a_text_or_name_that_looks_like_a_list_is_none(store: Counting, tmp_path: Path, text: str) -> None:
    copies, (address, size) = Copies(store, tmp_path / "near"), file(store, "a.parquet", 3)
    name = quoted(f'"{text}')
    odd = f"SELECT {literal(text)} AS {name}"
    assert copies.read_by(odd) == odd
    assert not store.reads
    near_by = copies.read_by(f"{odd}, count(*) FROM read_parquet({listed([(address, size)])})")
    assert near_by.startswith(odd)
    assert address not in near_by, "a list behind it is still one"
    assert duckdb.execute(near_by).fetchall() == [(text, 3)]
