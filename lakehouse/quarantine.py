"""Rows and objects that broke their contract: kept whole with reason and origin, and the way back in.

One Parquet file per landed object below `quarantine/<entity>/`, named by the object, so that taking the object in again
replaces it. An object that could not be read is kept beside it, byte for byte.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.lake import Lake
from lakehouse.landing import LandedObject

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.compaction import BatchResult, Progress
    from lakehouse.duck import Duck


@dataclass(frozen=True)
class QuarantineFile:
    """One quarantine file: the landed object it came from, how many rows, why.

    `whole` says that the object could not be read at all; its bytes are under `key` with the suffix `.object`.
    """

    key: str
    origin: str
    rows: int
    whole: bool
    written: datetime
    reasons: dict[str, int]


def file_key(contract: Contract, landed: LandedObject) -> str:
    """Where the quarantined rows of a landed object are kept."""
    name = hashlib.sha256(landed.key.encode()).hexdigest()[:24]
    return f"quarantine/{contract.name}/dt={landed.day}/{name}.parquet"


def write_rows(duck: Duck, lake: Lake, contract: Contract, objects: Sequence[LandedObject]) -> dict[str, int]:
    """Write the rows in `rejected` and `late`, all landed columns with _reason, _origin, _etag and _row (from 1).

    Returns how many rows of which landed object are in quarantine.
    """
    from lakehouse.schemas import literal

    counted = dict(
        duck.rows(
            "SELECT taken.key, count(*) FROM (SELECT _no FROM rejected UNION ALL SELECT valid._no FROM late "
            "JOIN valid USING (_rid)) JOIN taken USING (_no) GROUP BY taken.key"
        )
    )
    by_key = {o.key: o for o in objects}
    path = duck.scratch / "quarantine.parquet"
    reasoned = (
        "SELECT _no, _row, _reason FROM rejected UNION ALL SELECT valid._no, valid._row, "
        "'too late: older than the floor of the table, and the key is absent' FROM late JOIN valid USING (_rid)"
    )
    for key in sorted(counted):
        duck.run(
            "COPY (SELECT r._reason, taken.key AS _origin, taken.etag AS _etag, landed.* EXCLUDE (_no, _problem) "
            f"FROM ({reasoned}) AS r JOIN landed USING (_no, _row) JOIN taken USING (_no) "
            f"WHERE taken.key = {literal(key)} ORDER BY _row) "
            f"TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
        )
        lake.store.upload(path, file_key(contract, by_key[key]))
    return counted


def write_object(lake: Lake, contract: Contract, landed: LandedObject, reason: str) -> None:
    """Keep an unreadable object whole, with a note that says why."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = file_key(contract, landed)
    lake.store.copy(landed.key, key + ".object")
    note = {"_reason": [reason], "_origin": [landed.key], "_etag": [landed.etag], "_row": pa.nulls(1, pa.int64())}
    buffer = io.BytesIO()
    pq.write_table(pa.table(note), buffer, compression="zstd")
    lake.store.write(key, buffer.getvalue())


def clear(lake: Lake, contract: Contract, objects: Sequence[LandedObject]) -> None:
    """Remove the quarantine files of objects that were taken in again without a problem."""
    keys = {file_key(contract, o) for o in objects}
    found = (stored.key for stored in lake.store.list(f"quarantine/{contract.name}/"))
    if present := [key for key in found if key.removesuffix(".object") in keys]:
        lake.store.delete(present)


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


def requeue(
    lake: Lake, contract: Contract, origins: frozenset[str] | None = None, *, progress: Progress | None = None
) -> BatchResult:
    """Merge the quarantined and held objects again (all, or those named by landing key), for example after a contract
    was corrected. Rows that were merged before count as duplicates. Publish afterwards as after any batch."""
    from lakehouse.compaction import compact
    from lakehouse.landing import Scope
    from lakehouse.ledger import Ledger
    from lakehouse.tables import TableState, published_entry

    if origins is None:
        entry = published_entry(lake, contract)
        head = TableState(lake, entry.metadata_location).ledger if entry else ""
        origins = frozenset(taken.key for taken in Ledger.load(lake, head).attention())
    return compact(lake, contract, Scope.requeue(origins), progress=progress)
