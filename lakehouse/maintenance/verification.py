"""Whether maintenance left the rows as they were: what it committed is read back before readers see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakehouse.maintenance import tombstones
from lakehouse.publish import audit
from lakehouse.results import AuditResult, Check
from lakehouse.storage.duck import Duck
from lakehouse.storage.sql import quoted
from lakehouse.table import iceberg, recorded, schemas
from lakehouse.table.scan import live_rows
from lakehouse.table.schemas import TableShape
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.table.iceberg import LiveFile


def verify(duck: Duck, contract: Contract, before: TableState, after: TableState, purged: int) -> AuditResult:
    """Read back what was committed: the files that are new must hold the rows of those they replace, all others must be
    the same, and the state must say what it said."""
    compacted = schemas.compacted(contract).stored_as(after.metadata)
    changes = schemas.changes(contract).stored_as(after.changes_metadata)
    keep = tombstones.kept(contract) if purged else "true"
    gone, _ = _differing(before.files, after.files)
    not_kept = f"SELECT count(*), count(*) FILTER (_deleted), max(_version) FROM ({live_rows(compacted, gone)})"
    rows, deleted, highest = duck.row(f"{not_kept} WHERE NOT ({keep})")
    only = rows == deleted == purged and (highest is None or highest < after.horizon)
    kept = {name: (getattr(before, name), getattr(after, name)) for name in ("batch", "ledger", "watermark")}
    moved = {name: values for name, values in kept.items() if values[0] != values[1]}
    checks = (
        _same("the rows are the same", duck, compacted, before.files, after.files, keep),
        _same("the changes are the same", duck, changes, before.changes_files, after.changes_files, "true"),
        Check(
            "only tombstones are purged",
            only,
            f"expected {purged} tombstones below the horizon {after.horizon}, found {rows} rows, {deleted} of them "
            f"tombstones, up to version {highest}",
        ),
        Check(
            "the horizon never goes back",
            after.horizon >= before.horizon,
            f"expected at least {before.horizon}, found {after.horizon}",
        ),
        _described(duck, (compacted, before.files, after.files), (changes, before.changes_files, after.changes_files)),
        Check("batch, ledger and watermark are kept", not moved, f"expected no change, found {moved or 'none'}"),
    )
    return AuditResult(contract.name, after.location, checks)


def _same(
    name: str, duck: Duck, shape: TableShape, before: Sequence[LiveFile], after: Sequence[LiveFile], keep: str
) -> Check:
    gone, new = _differing(before, after)
    expected = content_of(duck, shape, f"SELECT * FROM ({live_rows(shape, gone)}) WHERE {keep}")
    found = content_of(duck, shape, live_rows(shape, new))
    return Check(
        name,
        expected == found,
        f"{len(after) - len(new)} files untouched; expected {expected[0]} rows with hash {expected[1]:x} in the "
        f"{len(new)} new files, found {found[0]} with {found[1]:x}",
    )


def _differing(before: Sequence[LiveFile], after: Sequence[LiveFile]) -> tuple[list[LiveFile], list[LiveFile]]:
    """The files that are only before, and those that are only after; other deletes make another file."""
    old, new = ({(f.path, frozenset(d.file_path for d in f.deletes)): f for f in files} for files in (before, after))
    return [f for place, f in old.items() if place not in new], [f for place, f in new.items() if place not in old]


def _described(duck: Duck, *parts: tuple[TableShape, Sequence[LiveFile], Sequence[LiveFile]]) -> Check:
    """What is recorded of the new files, and of those described again, holds for their values."""
    wrong: list[str] = []
    for shape, before, after in parts:
        known = {f.path: f.data for f in before}
        fresh = [f for f in after if f.path not in known or not iceberg.same_record(f.data, known[f.path])]
        wrong += recorded.contradicted(duck, shape, fresh)
    return audit.recorded_check(wrong)


def content_of(duck: Duck, shape: TableShape, query: str) -> tuple[int, int]:
    """The number of rows, and a hash of them that does not depend on their order."""
    columns = ", ".join(quoted(c.name) for c in shape.columns)
    rows, total = duck.row(f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM ({query})")
    return int(rows), int(total or 0)
