"""A person in an entity's two tables: which files hold her, deleted rows included, and the commit that rewrites those.

The files are found by reading the columns that name persons; only they are rewritten. The commit writes every manifest
again, so that none says which values a removed file had, and forgets all earlier snapshots.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.intake.erased import ERASED, ErasedList, is_one_of, pseudonym, token, treated
from lakehouse.maintenance.verification import content_of
from lakehouse.merge import writing
from lakehouse.publish import audit
from lakehouse.results import AuditResult, Check
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import iceberg, iceberg_commit, recorded, schemas, tables
from lakehouse.table.scan import live_rows, stored_rows
from lakehouse.table.tables import TableState

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.context import Context
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.schemas import TableShape

_FILES_AT_ONCE = 500
_LONGEST = 10_000  # characters of a personal value that is kept to be looked for


@dataclass(frozen=True)
class Found:
    """The live files of a table that hold a person, and how many of their rows readers see."""

    files: tuple[LiveFile, ...]
    rows: int


def find(duck: Duck, contract: Contract, shape: TableShape, files: Sequence[LiveFile], identity: str) -> Found:
    """The files with a stored row about the person, deleted or not."""
    assert contract.erasure is not None
    hit = _about(contract, identity)
    hits: list[LiveFile] = []
    for start in range(0, len(files), _FILES_AT_ONCE):
        some = files[start : start + _FILES_AT_ONCE]
        numbers = duck.rows(f"SELECT DISTINCT file_index::INTEGER FROM {stored_rows(shape, some)} WHERE {hit}")
        hits += [some[n] for (n,) in sorted(numbers)]
    rows = duck.count(f"SELECT count(*) FROM ({live_rows(shape, hits)}) WHERE {hit}") if hits else 0
    return Found(tuple(hits), rows)


def personal_values(duck: Duck, contract: Contract, shape: TableShape, found: Found, identity: str) -> set[str]:
    """The personal values in the person's stored rows that the erasure takes out of them."""
    assert contract.erasure is not None
    values: set[str] = set()
    for person in contract.erasure.persons if found.files else ():
        mine = is_one_of(quoted(person), [identity])
        for name in contract.personal:
            if contract.erasure.rows == "delete" or contract.treatment(name, person) != "keep":
                rows = duck.rows(
                    f"SELECT DISTINCT left({quoted(name)}::VARCHAR, {_LONGEST}) FROM "
                    f"{stored_rows(shape, found.files)} WHERE {mine} AND {quoted(name)} IS NOT NULL"
                )
                values |= {value for (value,) in rows if value}
    return values


def others_with(duck: Duck, contract: Contract, state: TableState, values: Sequence[str]) -> dict[str, int]:
    """In how many rows of the entity's tables, history included, somebody has each of these personal values."""
    counted: dict[str, int] = {}
    for shape, files in (
        (schemas.changes(contract).stored_as(state.changes_metadata), state.changes_files),
        (schemas.compacted(contract).stored_as(state.metadata), state.files),
    ):
        if values and files:
            add_counts(counted, duck, contract, f"({live_rows(shape, files)})", values)
    return counted


def add_counts(counted: dict[str, int], duck: Duck, contract: Contract, source: str, values: Sequence[str]) -> None:
    """Count the rows of a source that name a person and have each of these personal values."""
    assert contract.erasure is not None
    somebody = " OR ".join(f"{quoted(person)} IS NOT NULL" for person in contract.erasure.persons)
    listed = ", ".join(literal(v) for v in values)
    for name in contract.personal:
        for value, rows in duck.rows(
            f"SELECT {quoted(name)}::VARCHAR, count(*) FROM {source} "
            f"WHERE {quoted(name)}::VARCHAR IN ({listed}) AND ({somebody}) GROUP BY 1"
        ):
            counted[value] = counted.get(value, 0) + rows


def _about(contract: Contract, identity: str) -> str:
    assert contract.erasure is not None
    return "(" + " OR ".join(is_one_of(quoted(p), [identity]) for p in contract.erasure.persons) + ")"


def rows_without(contract: Contract, shape: TableShape, identity: str, secret: bytes, batch: int) -> writing.Rows:
    """Which rows of a table stay, and with which values. Changed rows have a new `_batch`, so that readers follow."""
    assert contract.erasure is not None
    if contract.erasure.rows == "delete":
        return writing.Rows(f"NOT {_about(contract, identity)}")
    names = {identity: pseudonym(token(secret, identity))}
    values: dict[str, str] = {}
    for person in contract.erasure.persons:
        mine = is_one_of(quoted(person), [identity])
        for name, value in treated(contract, person, names):
            if name in shape.names:
                before = values.get(name, quoted(name))
                values[name] = f"CASE WHEN {mine} THEN {value or 'NULL'} ELSE {before} END"
    values["_batch"] = f"CASE WHEN {_about(contract, identity)} THEN {batch}::BIGINT ELSE _batch END"
    return writing.Rows("true", values)


@dataclass(frozen=True)
class Rewritten:
    """The work tables after the commit, and the addresses of the files of both tables before and after."""

    state: TableState
    removed: tuple[str, ...]
    added: tuple[str, ...]
    rows: int


def commit(duck: Duck, context: Context, state: TableState, identity: str, properties: Mapping[str, str]) -> Rewritten:
    """Rewrite the files of both tables that hold the person and commit them to the work tables, changes first, with the
    properties, among them the number of the commit; the commit of the compacted table is the one that counts."""
    lake, contract = context.lake, context.contract
    batch = int(properties[tables.BATCH])
    name = f"{state.batch:08d}-erased-{uuid.uuid4().hex[:12]}"
    changes_shape = schemas.changes(contract).stored_as(state.changes_metadata)
    shape = schemas.compacted(contract).stored_as(state.metadata)
    parts = []
    for each, files in ((changes_shape, state.changes_files), (shape, state.files)):
        found = find(duck, contract, each, files, identity)
        rows = rows_without(contract, each, identity, lake.erasure_secret, batch)
        parts.append((writing.rewrite_each(duck, lake, each, found.files, name, rows), found))
    (changed, found_changes), (compacted, found) = parts
    changes = _commit_files(lake, changes_shape, state, state.changes_location, state.changes_files, changed, {})
    stated = {
        **properties,
        tables.CHANGES: changes,
        tables.CONTRACT: tables.contract_document(contract),
    }
    location = _commit_files(lake, shape, state, state.location, state.files, compacted, stated)
    return Rewritten(
        TableState(lake, location),
        tuple(f.file_path for w in (changed, compacted) for f in w.removed),
        tuple(f.file_path for w in (changed, compacted) for f in w.added),
        found_changes.rows + found.rows,
    )


def rewrite_found(
    duck: Duck, lake: Lake, shape: TableShape, files: Sequence[LiveFile], name: str, where: str
) -> writing.Written:
    """Rewrite these files with the rows for which the condition holds."""
    return writing.rewrite_each(duck, lake, shape, files, name, writing.Rows(where))


# Seven parameters: those of a commit, and the files that it is about.
def _commit_files(
    lake: Lake,
    shape: TableShape,
    state: TableState,
    location: str,
    files: Sequence[LiveFile],
    written: writing.Written,
    properties: Mapping[str, str],
) -> str:
    """Commit with every manifest written again, and without any earlier snapshot; returns the new location."""
    removed = {f.file_path for f in written.removed}
    staying = {d.file_path: d for f in files for d in (f.data, *f.deletes) if d.file_path not in removed}
    table = iceberg.EntryCatalog(lake, lake.work_database).table(shape.name, location)
    if staying or written.added or written.removed or properties:
        table = iceberg_commit.commit(
            table,
            added=written.added,
            removed=written.removed,
            corrected=tuple(staying.values()),
            shape=shape,
            properties=properties,
            summary={tables.BATCH: str(state.batch), "gavel.maintenance": "erased"},
        )
    current = table.metadata.current_snapshot_id
    earlier = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id != current]
    if earlier:
        table.maintenance.expire_snapshots().by_ids(earlier).commit()
    return str(table.metadata_location)


def verify(duck: Duck, contract: Contract, before: TableState, after: TableState, identity: str) -> AuditResult:
    """Read back what was committed: nobody is missing but the person, and every other row is as it was."""
    checks = []
    new: list[tuple[TableShape, list[LiveFile]]] = []
    for name, shape, old_files, new_files in (
        ("rows", schemas.compacted(contract).stored_as(after.metadata), before.files, after.files),
        (
            "changes",
            schemas.changes(contract).stored_as(after.changes_metadata),
            before.changes_files,
            after.changes_files,
        ),
    ):
        known, present = {f.path for f in old_files}, {f.path for f in new_files}
        gone, fresh = [f for f in old_files if f.path not in present], [f for f in new_files if f.path not in known]
        new.append((shape, fresh))
        checks += [_same_others(duck, contract, name, (shape, gone, fresh), before.lake.erasure_secret, identity)]
        left = find(duck, contract, shape, new_files, identity)
        checks += [Check(f"the person is in no {name}", not left.files, f"{len(left.files)} files hold the person")]
    wrong = [w for shape, fresh in new for w in recorded.contradicted(duck, shape, fresh)]
    kept = {n: (getattr(before, n), getattr(after, n)) for n in ("ledger", "watermark", "horizon")}
    moved = {n: values for n, values in kept.items() if values[0] != values[1]}
    return AuditResult(
        contract.name,
        after.location,
        (
            *checks,
            audit.recorded_check(wrong),
            Check(
                "ledger, watermark and horizon are kept",
                not moved,
                f"expected no change, found {moved or 'none'}",
            ),
        ),
    )


def _same_others(
    duck: Duck,
    contract: Contract,
    name: str,
    parts: tuple[TableShape, Sequence[LiveFile], Sequence[LiveFile]],
    secret: bytes,
    identity: str,
) -> Check:
    """That the rows of all others are the same, and as many of the person as stay."""
    shape, gone, fresh = parts
    mine = _about(contract, identity)
    then = _about(contract, pseudonym(token(secret, identity)))
    expected = content_of(duck, shape, f"SELECT * FROM ({live_rows(shape, gone)}) WHERE NOT {mine} AND NOT {then}")
    found = content_of(duck, shape, f"SELECT * FROM ({live_rows(shape, fresh)}) WHERE NOT {then}")
    hers = duck.count(f"SELECT count(*) FROM ({live_rows(shape, gone)}) WHERE {mine} OR {then}")
    left = duck.count(f"SELECT count(*) FROM ({live_rows(shape, fresh)}) WHERE {then}")
    assert contract.erasure is not None
    wanted = 0 if contract.erasure.rows == "delete" else hers
    return Check(
        f"the {name} of others are the same",
        expected == found and left == wanted,
        f"expected {expected[0]} rows with hash {expected[1]:x} and {wanted} without a person, found {found[0]} with "
        f"{found[1]:x} and {left}",
    )


def is_listed(state: TableState, request: str) -> bool:
    """Whether a state is without the person of a request."""
    listed = ErasedList.load(state.lake, state.metadata.properties.get(ERASED, ""))
    return request in listed.requests.values()
