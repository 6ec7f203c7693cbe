"""The data: ledgers of a year for every streamed entity, and the objects of the last days landed for real."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from contracts import Contract, load_contracts
from lakehouse.intake.ledger import Day
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import LocalStore, StoredObject
from lakehouse.table import tables
from lakehouse.table.iceberg import EntryCatalog, move_pointer
from lakehouse.table.iceberg_commit import commit

BUFFER = timedelta(seconds=60)
_PUTS_AT_ONCE = 16
# The year's objects as SQL, with parameters entity, first moment, objects, seconds of a buffer, name of the hash.
_OBJECTS = """
SELECT strftime(moment, '%Y-%m-%d') AS day, key, {etag} AS etag, length(key)::BIGINT AS size, 'merged' AS status,
    1::BIGINT AS batch, 10::BIGINT AS rows, 0::BIGINT AS quarantined, '' AS reason
FROM (
    SELECT moment, strftime(moment, 'landing/' || $entity || '/dt=%Y-%m-%d/hh=%H/gavel-' || $entity
        || '-1-%Y-%m-%d-%H-%M-%S-') || md5($entity || moment) || '.parquet' AS key
    FROM (SELECT $first::TIMESTAMP + to_seconds(n * $buffer) AS moment FROM range($objects) AS numbers (n))
)
"""


@dataclass(frozen=True)
class Year:
    """Objects that arrived in [start, end), one per `BUFFER`, each with its key as content.

    `etag` is the SQL by which the store would make an ETag of the key. The objects of the last `landed` are really
    there; of the others there is only what the ledger says.
    """

    start: datetime
    end: datetime
    etag: str
    landed: timedelta

    def objects(self, contract: Contract, start: datetime | None = None) -> pa.Table:
        """The objects that arrived from a moment on, with the columns of the ledger and `day`."""
        first = start or self.start
        parameters = {
            "entity": contract.name,
            "first": first.replace(tzinfo=None),
            "buffer": int(BUFFER.total_seconds()),
            "objects": int((self.end - first) / BUFFER),
        }
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET enable_progress_bar = false")
            return connection.execute(_OBJECTS.format(etag=self.etag), parameters).to_arrow_table()


@cache
def streams() -> list[Contract]:
    """The entities that arrive by stream."""
    return load_contracts().of_origin("stream")


def make(lake: Lake, year: Year) -> int:
    """Tables with the ledger of the year, published, and the landed objects of the last days; returns the objects in
    the ledgers."""
    return sum(_make_entity(lake, contract, year) for contract in streams())


def _make_entity(lake: Lake, contract: Contract, year: Year) -> int:
    objects = year.objects(contract)
    head = _write_ledger(lake, contract, objects)
    state, published = tables.prepare(lake, contract)
    table = commit(
        EntryCatalog(lake, lake.work_database).table(contract.name, state.location),
        properties={tables.LEDGER: head, tables.WATERMARK: year.end.isoformat()},
        summary={},
    )
    move_pointer(lake, published, table.metadata_location)
    with ThreadPoolExecutor(_PUTS_AT_ONCE) as pool:
        for _ in pool.map(lambda key: lake.store.write(key, key.encode()), _landed_keys(contract, year)):
            pass
    return int(objects.num_rows)


def _landed_keys(contract: Contract, year: Year) -> list[str]:
    if not year.landed:
        return []
    start = (year.end - year.landed).replace(minute=0)
    keys: list[str] = year.objects(contract, start)["key"].to_pylist()
    return keys


def _write_ledger(lake: Lake, contract: Contract, objects: pa.Table) -> str:
    """Segments and head as `lakehouse.intake.ledger` reads them, straight from columns; returns the head's key."""
    days = objects["day"].combine_chunks().dictionary_encode()
    columns = objects.drop_columns("day")
    segments: dict[str, Day] = {}
    first = 0
    for day, count in Counter(days.to_pylist()).items():
        key = f"ledger/{contract.name}/dt={day}/year.parquet"
        buffer = io.BytesIO()
        pq.write_table(columns.slice(first, count), buffer, compression="zstd")
        lake.store.write(key, buffer.getvalue())
        segments[day] = Day(key, count, 0)
        first += count
    head = f"ledger/{contract.name}/heads/year.json"
    document = {"format": 1, "days": {day: asdict(value) for day, value in segments.items()}}
    lake.store.write(head, orjson.dumps(document))
    return head


def land_new(lake: Lake, year: Year, number: int) -> None:
    """One more object of each entity."""
    for contract in streams():
        key = new_key(contract, year, number)
        lake.store.write(key, key.encode())


def new_key(contract: Contract, year: Year, number: int) -> str:
    """The key of an object that the ledger does not know; it sorts behind all others."""
    return f"landing/{contract.name}/dt={year.end:%Y-%m-%d}/hh={year.end:%H}/zzz-new-{number:06d}.parquet"


class ListedYear(LocalStore):
    """A folder that lists the year's objects although no file of theirs is there, and one more of each entity for each
    `new`: what is measured with it is all that follows a listing, not the store's part of it. A listing that begins
    late is made up once and then repeated."""

    def __init__(self, root: Path, year: Year) -> None:
        super().__init__(root)
        self._year = year
        self._recent: dict[str, list[StoredObject]] = {}
        self.new = 0

    def list(self, prefix: str, start_after: str = "") -> Iterator[StoredObject]:
        (contract,) = (c for c in streams() if prefix == f"landing/{c.name}/")
        if start_after:
            if start_after not in self._recent:
                self._recent[start_after] = list(self._made_up(contract, start_after))
            yield from self._recent[start_after]
        else:
            yield from self._made_up(contract, start_after)
        for number in range(self.new):
            key = new_key(contract, self._year, number)
            yield StoredObject(key, f"{number}", len(key), self._year.end)

    def _made_up(self, contract: Contract, start_after: str) -> Iterator[StoredObject]:
        start = None
        if start_after:
            start = datetime.strptime(start_after, f"landing/{contract.name}/dt=%Y-%m-%d/hh=%H/").replace(tzinfo=UTC)
        for batch in self._year.objects(contract, start).select(["key", "etag", "size"]).to_batches(1000):
            for key, etag, size in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield StoredObject(key, etag, size, self._year.end)


S3_ETAG = "md5(key)"
"""As S3 makes it for an object put at once."""


def year_until(end: datetime, days: int, etag: str, landed: timedelta) -> Year:
    """The year that ends then, from the beginning of its first day."""
    first = (end - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    return Year(first, end.astimezone(UTC), etag, landed)


def clear(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def folder_lake(folder: Path) -> dict[str, Any]:
    """A lake in a folder, as configuration of `LakeResource`."""
    return {"environment": "local", "bucket": "data", "local_root": str(folder)}


def stack_lake(endpoint: str) -> dict[str, Any]:
    """A lake on the emulator, as configuration of `LakeResource`."""
    return {"environment": "local", "bucket": "ledger-year", "endpoint": endpoint}
