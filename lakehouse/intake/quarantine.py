"""Rows and objects that broke their contract: kept whole with reason and origin, and the way back in.

One Parquet file per landed object below `quarantine/<entity>/`, named by the object, so that taking the object in again
replaces it. An object that could not be read is kept beside it, byte for byte.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lakehouse.intake.landing import LandedObject
from lakehouse.intake.reading import read_again
from lakehouse.results import QuarantineFile
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import literal, quoted
from lakehouse.storage.threads import Threads
from lakehouse.table.relations import LANDED, LATE, OBJECTS, REJECTED, UNUSUAL, VALID, WANTED, text_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract
    from lakehouse.intake.text_files import Content
    from lakehouse.storage.duck import Duck

_TOO_LATE = "too late: older than the tombstone horizon of the table, and the key is absent"
_ROWS_AT_ONCE = 20_000
_UPLOADS = 8


def file_key(contract: Contract, landed: LandedObject) -> str:
    """Where the quarantined rows of a landed object are kept."""
    part = f"-{landed.first:012d}" if landed.first else ""
    return f"quarantine/{contract.name}/dt={landed.day}/{_name(landed)}{part}.parquet"


def _name(landed: LandedObject) -> str:
    return hashlib.sha256(landed.key.encode()).hexdigest()[:24]


def write_rows(
    duck: Duck, lake: Lake, contract: Contract, objects: Sequence[LandedObject], texts_read: Mapping[int, Content]
) -> dict[str, int]:
    """Write the rows in `rejected` and `late`, all landed columns with _reason, _origin, _etag and _row (from 1).
    `texts_read` are those of the objects that are text, by number.

    Returns how many rows of which landed object are in quarantine.
    """

    texts = ", ".join(quoted(c) for c in text_columns(contract))
    aside = f"SELECT _no, _row, _reason, {texts} FROM {REJECTED} JOIN {UNUSUAL} USING (_no, _row)"
    duck.run(f"CREATE OR REPLACE TEMP TABLE {WANTED} AS SELECT _no, _row FROM {VALID} SEMI JOIN {LATE} USING (_rid)")
    if duck.count(f"SELECT count(*) FROM {WANTED}"):
        read_again(duck, contract, texts_read)
        aside += f" UNION ALL SELECT _no, _row, {literal(_TOO_LATE)}, {texts} FROM {LANDED}"
    rows = duck.stream(
        f"SELECT _no, _reason, _origin, _etag, _row, {texts} FROM ({aside}) "
        f"JOIN (SELECT _no, key AS _origin, etag AS _etag FROM {OBJECTS}) USING (_no) ORDER BY _no, _row",
        _ROWS_AT_ONCE,
    )
    folder = duck.scratch / "quarantine"
    folder.mkdir(exist_ok=True)
    by_key = {o.key: o for o in objects}

    def upload(origin: str, path: Path) -> None:
        lake.store.upload(path, file_key(contract, by_key[origin]))
        path.unlink()

    counted: dict[str, int] = {}
    with Threads(_UPLOADS) as pool:
        uploads = []
        for origin, count, path in _files(rows, folder):
            counted[origin] = count
            uploads.append(pool.submit(upload, origin, path))
        for done in uploads:
            done.result()
    return counted


def _files(rows: Iterator[pa.RecordBatch], folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Write rows that are sorted by object to one Parquet file each: its origin, how many rows, and the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    origin, number, count = "", -1, 0
    for batch in rows:
        numbers, schema = batch.column(0).to_numpy(), batch.schema.remove(0)
        starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)] if len(numbers) else []
        for start, end in pairwise(starts):
            if numbers[start] != number:
                if writer is not None:
                    writer.close()
                    yield origin, count, folder / f"{number}.parquet"
                number, count = int(numbers[start]), 0
                origin = batch.column("_origin")[start].as_py()
                writer = pq.ParquetWriter(folder / f"{number}.parquet", schema, compression="zstd")
            assert writer is not None
            writer.write_batch(pa.RecordBatch.from_arrays(batch.slice(start, end - start).columns[1:], schema=schema))
            count += end - start
    if writer is not None:
        writer.close()
        yield origin, count, folder / f"{number}.parquet"


def write_object(lake: Lake, contract: Contract, landed: LandedObject, path: Path, reason: str) -> None:
    """Keep an unreadable object whole, with a note that says why. `path` is the version that was read: what is under
    its key may be another one by now, or gone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = file_key(contract, landed)
    lake.store.upload(path, key + ".object")
    note = {"_reason": [reason], "_origin": [landed.key], "_etag": [landed.etag], "_row": pa.nulls(1, pa.int64())}
    buffer = io.BytesIO()
    pq.write_table(pa.table(note), buffer, compression="zstd")
    lake.store.write(key, buffer.getvalue())


def clear(lake: Lake, contract: Contract, objects: Sequence[LandedObject], bad: Set[str]) -> None:
    """Remove what quarantine has of objects that were ingested again, or were written again and ingested: all of it,
    and of those whose key is among the `bad` ones what is not of this time. A dropped file that is written again on
    another day has another place. Of an object that is cut, the first part removes what all parts left, and each other
    part only its own."""
    known = {_name(o): o for o in objects}

    def is_outdated(key: str) -> bool:
        landed = known.get(key.rpartition("/")[2].removesuffix(".parquet").partition("-")[0])
        if landed is None:
            return False
        mine = key == file_key(contract, landed)
        return not (mine and landed.key in bad) if landed.first == 0 else mine and landed.key not in bad

    found = (stored.key.removesuffix(".object") for stored in lake.store.list(f"quarantine/{contract.name}/"))
    if outdated := {key for key in found if is_outdated(key)}:
        lake.store.delete([*outdated, *(f"{key}.object" for key in outdated)])


def list_files(lake: Lake, contract: Contract) -> list[QuarantineFile]:
    """All quarantine files of the entity, newest first."""
    import pyarrow.parquet as pq

    found = []
    for stored in lake.store.list(f"quarantine/{contract.name}/"):
        if not stored.key.endswith(".parquet"):
            continue
        rows = pq.read_table(
            io.BytesIO(lake.store.read(stored.key)), columns=["_reason", "_origin", "_row"]
        ).to_pylist()
        reasons: dict[str, int] = {}
        for row in rows:
            for reason in row["_reason"].split("; "):
                short = reason.partition(", found ")[0]
                reasons[short] = reasons.get(short, 0) + 1
        whole = any(row["_row"] is None for row in rows)
        count = 0 if whole else len(rows)
        found.append(QuarantineFile(stored.key, rows[0]["_origin"], count, whole, stored.modified, reasons))
    return sorted(found, key=lambda f: (f.written, f.key), reverse=True)
