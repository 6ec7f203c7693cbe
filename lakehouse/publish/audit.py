"""The invariants that a batch must hold before anyone may see it, and the audit result that publishing asks for.

Correct code cannot break them: they are there for the day when it is not. The audit reads back what was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

import orjson

from lakehouse.results import AuditResult, Check, Work
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from lakehouse.table import recorded, schemas
from lakehouse.table.iceberg import partition_value
from lakehouse.table.relations import ACCEPTED, ADDED, AFTER, LATE, STORED
from lakehouse.table.scan import deleted, live_rows, stored_keys
from lakehouse.table.schemas import ORDER
from lakehouse.table.tables import TableState, expect_published

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.merge.base import Chunk
    from lakehouse.merge.reduction import Reduced
    from lakehouse.results import Counts
    from lakehouse.storage.duck import Duck
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.tables import TableState


@dataclass(frozen=True)
class Audited:
    """What an invariant may look at: the chunk that was committed, the tables after it, the counts, and the relations
    of `lakehouse.table.relations` in the chunk's DuckDB."""

    chunk: Chunk
    after: TableState
    counts: Counts
    reduced: Reduced

    @property
    def lake(self) -> Lake:
        """The lake."""
        return self.chunk.lake

    @property
    def contract(self) -> Contract:
        """The entity's contract."""
        return self.chunk.contract

    @property
    def duck(self) -> Duck:
        """The batch's DuckDB."""
        return self.chunk.duck

    @property
    def before(self) -> TableState:
        """The tables before the commit."""
        return self.chunk.before


INDEX_IS_TRUE = "the key index is true"
"""The invariant that no landed row can break."""
_LEAST_SAMPLED, _MOST_SAMPLED = 50_000, 500_000
"""A batch reads the keys of so many rows, 5 to 25 ms for short ones, to see whether key indexes are true."""
_SAMPLED_BY_TOUCHED = 16
"""Between these, so many rows for each touched key: a small batch costs little, and a large one looks far."""

Invariant: TypeAlias = Callable[[Audited], Check]


def audit_batch(audited: Audited, more: Sequence[Invariant] = ()) -> AuditResult:
    """Audit one committed batch on its new files and touched keys, which the engine has read back."""
    checks = tuple(invariant(audited) for invariant in (*INVARIANTS, *more))
    return AuditResult(audited.contract.name, audited.after.location, checks)


def conserved(audited: Audited) -> Check:
    """read = applied + superseded + duplicate + quarantined + too_late."""
    return Check("every row is accounted for", audited.counts.conserved, str(audited.counts))


def keys_unique(audited: Audited) -> Check:
    """No touched key, and no key in a new file, has two rows."""
    keys = ", ".join(f'"{k}"' for k in audited.contract.primary_key)
    twice = 0
    # Keys with different hashes are different: only where two have the same are the keys themselves compared.
    hashed = (f"SELECT count(*) = count(DISTINCT hash({keys})) FROM {table}" for table in (AFTER, ADDED))
    if not all(audited.duck.row(query)[0] for query in hashed):
        twice = audited.duck.count(
            f"SELECT count(*) FROM (SELECT {keys} FROM {AFTER} GROUP BY ALL HAVING count(*) > 1 "
            f"UNION SELECT {keys} FROM {ADDED} GROUP BY ALL HAVING count(*) > 1)"
        )
    return Check("keys are unique", twice == 0, f"expected no key with two rows, found {twice}")


def required_present(audited: Audited) -> Check:
    """Required fields are there in each row of the new files."""
    required = [f.name for f in audited.contract.fields if f.required]
    counts = ", ".join(f'count(*) FILTER ("{name}" IS NULL)' for name in required)
    row = audited.duck.row(f"SELECT {counts} FROM {ADDED}")
    missing = {name: n for name, n in zip(required, row, strict=True) if n}
    found = ", ".join(f"{n} rows without {name}" for name, n in missing.items()) or "none"
    return Check("required fields are present", not missing, f"expected no row without one, found {found}")


def removals_marked(audited: Audited) -> Check:
    """Each row of the new files is marked as removed or expired exactly if its change says so."""
    return _marked(audited.duck, str(ADDED))


def _marked(duck: Duck, table: str) -> Check:
    marks = {"_deleted": "remove", "_expired": "expire"}  # absent in rows that are older than the mark
    other = " OR ".join(f"coalesce({mark}, false) <> (_op = '{op}')" for mark, op in marks.items())
    wrong = duck.count(f"SELECT count(*) FROM {table} WHERE {other}")
    return Check("removals are marked", wrong == 0, f"expected each row marked as its change says, not so for {wrong}")


def order_kept(audited: Audited) -> Check:
    """The stored row of each touched key is the highest of what was stored and what arrived: none of these is above it,
    one of them is the same, and one has arrived."""

    same_key = " AND ".join(f'_one."{k}" = _kept."{k}"' for k in audited.contract.primary_key)
    one, kept = ("(" + ", ".join(f"{each}.{c}" for c in ORDER if c != "_version") + ")" for each in ("_one", "_kept"))
    # Of stored rows, all but the version is read only where it decides: elsewhere it is null, and not compared.
    above = (
        "CASE WHEN _one._version <> _kept._version THEN _one._version > _kept._version "
        f"WHEN _one._version = _kept._version AND _one._seq IS NULL THEN false ELSE coalesce({one} > {kept}, true) END"
    )
    same = f"_one._version = _kept._version AND (_one._seq IS NULL OR coalesce({one} = {kept}, false))"
    compared = f"SELECT _kept.rowid AS _row, {above} AS _above, {same} AS _same"
    wrong = audited.duck.count(
        "SELECT sum(CASE WHEN _row IS NULL THEN _ones WHEN _newest AND _touched THEN 0 ELSE 1 END) FROM ("
        "SELECT _row, count(*) AS _ones, bool_or(_arrived) AS _touched, "
        "bool_or(_same) AND NOT bool_or(_above) AS _newest FROM ("
        f"{compared}, true AS _arrived FROM {ACCEPTED} AS _one LEFT JOIN {AFTER} AS _kept ON {same_key} "
        f"UNION ALL {compared}, false FROM {STORED} AS _one JOIN {AFTER} AS _kept ON {same_key} "
        f"UNION ALL SELECT rowid, false, false, false FROM {AFTER}) GROUP BY _row)"
    )
    return Check(
        "order never goes backwards", wrong == 0, f"expected the newest change of each key, not so for {wrong}"
    )


def rows_add_up(audited: Audited) -> Check:
    """The table grew by exactly the new keys."""
    before, after = (sum(f.rows for f in s.files) for s in (audited.before, audited.after))
    expected = before + audited.reduced.inserted
    return Check("rows add up", after == expected, f"expected {expected} rows after the merge, found {after}")


def changes_kept(audited: Audited) -> Check:
    """`_changes` grew by exactly the accepted changes."""
    before, after = (sum(f.rows for f in s.changes_files) for s in (audited.before, audited.after))
    expected = before + audited.counts.applied + audited.counts.superseded
    return Check("changes are kept", after == expected, f"expected {expected} changes, found {after}")


def metadata_true(audited: Audited) -> Check:
    """What the commit records of its new files holds for their values: the next merge leaves files out by it, and so do
    readers. Of the files before, their own audits have said so, or maintenance."""

    contract, before, after = audited.contract, audited.before, audited.after
    wrong: list[str] = []
    for shape, old, files in (
        (schemas.compacted(contract).stored_as(after.metadata), before.files, after.files),
        (schemas.changes(contract).stored_as(after.changes_metadata), before.changes_files, after.changes_files),
    ):
        known = {f.path for f in old}
        wrong += recorded.contradicted(audited.duck, shape, [f for f in files if f.path not in known])
    return recorded_check(wrong)


def index_true(audited: Audited, *, all_files: bool = False) -> Check:
    """Where the key index of some rows has the touched keys is where the files have them: the rows after those of the
    batch before, so that an index which is wrong, whole as it may be, is found within some batches; or all rows of the
    files that were looked up by it."""
    contract, files, reduced = audited.contract, audited.before.files, audited.reduced
    rows = {n: files[n].stored_rows for n in reduced.indexed}
    if not rows:
        return Check(INDEX_IS_TRUE, True, "no file was looked up by its index")
    touched = reduced.applied + reduced.superseded + reduced.too_late
    some = max(_LEAST_SAMPLED, min(touched * _SAMPLED_BY_TOUCHED, _MOST_SAMPLED))
    sampled = _next_rows(rows, sum(rows.values()) if all_files else some, audited.chunk.batch)
    keys = ", ".join(f'"{k}"' for k in contract.primary_key)
    within = " OR ".join(f"(_file = {n} AND _pos BETWEEN {w.start} AND {w.stop - 1})" for n, w in sampled)
    said = f"SELECT {keys}, _version, _file, _pos FROM {STORED} WHERE {within}"
    found = _keys_of(audited, keys, sampled)
    if partly := {n: files[n] for n, _ in sampled if files[n].deletes}:
        found = f"SELECT * FROM ({found}) ANTI JOIN {deleted(partly)} USING (_file, _pos)"
    # A change is too late only if its key is absent, which is what an index may say wrongly.
    of_batch = f"(SELECT {keys} FROM {ACCEPTED} UNION SELECT {keys} FROM {LATE})"
    one, other = (f"(SELECT * FROM ({each}) SEMI JOIN {of_batch} USING ({keys}))" for each in (said, found))
    wrong = audited.duck.count(
        f"WITH one AS MATERIALIZED {one}, other AS MATERIALIZED {other} SELECT count(*) "  # each is read once
        "FROM ((FROM one EXCEPT ALL FROM other) UNION ALL (FROM other EXCEPT ALL FROM one))"
    )
    return Check(
        INDEX_IS_TRUE,
        wrong == 0,
        f"expected in {len(sampled)} files what their indexes say, not so {wrong} times",
    )


def _next_rows(rows: Mapping[int, int], some: int, batch: int) -> list[tuple[int, range]]:
    """The positions in each of the files, whose `rows` by number are given, that make `some` rows, or all if there are
    fewer. Batches that follow each other go on where the one before stopped, and begin again behind the last file."""
    some = min(some, sum(rows.values()))
    skipped, found = batch * some % sum(rows.values()), list[tuple[int, range]]()
    for number, size in (*rows.items(), *rows.items()):
        begin, skipped = min(skipped, size), max(skipped - size, 0)
        window = range(begin, min(begin + some, size))
        if window:
            found.append((number, window))
            some -= len(window)
    return found


def _keys_of(audited: Audited, keys: str, sampled: Sequence[tuple[int, range]]) -> str:
    """A query for the keys at positions of files, with their version, `_file` and `_pos`. Files that are read whole are
    so by one scan: a union begins all of its scans at once."""
    contract, files = audited.contract, audited.before.files
    shape = schemas.compacted(contract).stored_as(audited.before.metadata)
    whole = [n for n, window in sampled if len(window) == files[n].stored_rows]
    parts = [([n], f" WHERE file_row_number BETWEEN {w.start} AND {w.stop - 1}") for n, w in sampled if n not in whole]
    return " UNION ALL ".join(
        f"SELECT {keys}, _version, {numbers}[file_index::BIGINT + 1]::INTEGER AS _file, file_row_number AS _pos "
        f"FROM {stored_keys(contract, shape, [files[n] for n in numbers])}{where}"
        for numbers, where in ([(whole, "")] if whole else []) + parts
    )


def recorded_check(wrong: Sequence[str]) -> Check:
    """The check that `recorded` found nothing wrong."""
    first = "; ".join(wrong[:3]) or "none"
    return Check(
        "recorded metadata is true", not wrong, f"expected nothing that a file contradicts, found {len(wrong)}: {first}"
    )


INVARIANTS: tuple[Invariant, ...] = (
    conserved,
    keys_unique,
    required_present,
    removals_marked,
    order_kept,
    rows_add_up,
    changes_kept,
    metadata_true,
    index_true,
)


def audit_key(entity: str, metadata_location: str) -> str:
    """Where the audit result of a metadata file is kept."""
    return f"audit/{entity}/{metadata_location.rpartition('/')[2]}.json"


def save(lake: Lake, audit_result: AuditResult) -> None:
    """Keep an audit result, so that publishing can ask for it."""
    key = audit_key(audit_result.entity, audit_result.metadata_location)
    lake.store.write(key, orjson.dumps(asdict(audit_result), option=orjson.OPT_INDENT_2))


def load(lake: Lake, entity: str, metadata_location: str) -> AuditResult | None:
    """The audit result of exactly this metadata file, or None."""

    try:
        document = orjson.loads(lake.store.read(audit_key(entity, metadata_location)))
    except ObjectMissing:
        return None
    checks = tuple(Check(**check) for check in document.pop("checks"))
    work = document.pop("work", None)
    audit_result = AuditResult(**document, checks=checks, work=Work.of_document(work) if work else None)
    return audit_result if audit_result.metadata_location == metadata_location else None


def audit_table(lake: Lake, contract: Contract) -> AuditResult:
    """Audit the whole published table (nightly): keys unique, required fields present, removals marked, partitions
    right, the stored row of each key the newest of its changes, and what is recorded of every file true."""

    return audit_state(lake, contract, expect_published(lake, contract))


def audit_state(lake: Lake, contract: Contract, state: TableState) -> AuditResult:
    """The same of any state."""
    wrong: list[str] = []
    with connect(lake) as duck:
        for table, shape, files in (
            ("rows", schemas.compacted(contract).stored_as(state.metadata), state.files),
            ("history", schemas.changes(contract).stored_as(state.changes_metadata), state.changes_files),
        ):
            duck.run(f"CREATE TEMP VIEW {table} AS {live_rows(shape, files)}")
            wrong += recorded.contradicted(duck, shape, files)
            wrong += recorded.contradicted_deletes(duck, files)
            wrong += recorded.missized(lake, files)
        checks = (
            _whole_unique(duck, contract),
            _whole_required(duck, contract),
            _marked(duck, "rows"),
            _whole_partitions(duck, state, schemas.compacted(contract)),
            _whole_history(duck, contract, state.horizon),
            recorded_check(wrong),
        )
    return AuditResult(contract.name, state.location, checks)


def _whole_unique(duck: Duck, contract: Contract) -> Check:
    keys = ", ".join(f'"{k}"' for k in contract.primary_key)
    rows, distinct = duck.row(f"SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT {keys} FROM rows)) FROM rows")
    return Check("keys are unique", rows == distinct, f"{rows} rows, {distinct} keys")


def _whole_required(duck: Duck, contract: Contract) -> Check:
    missing = " OR ".join(f'"{f.name}" IS NULL' for f in contract.fields if f.required)
    found = duck.count(f"SELECT count(*) FROM rows WHERE {missing}")
    return Check("required fields are present", found == 0, f"expected no row without one, found {found}")


def _whole_partitions(duck: Duck, state: TableState, shape: object) -> Check:

    assert isinstance(shape, schemas.TableShape)
    wrong = 0
    if shape.partition is not None:
        by_partition: dict[int | None, list[LiveFile]] = {}
        for file in state.files:
            by_partition.setdefault(partition_value(file), []).append(file)
        for partition, files in by_partition.items():
            expected = "NULL" if partition is None else str(partition)
            wrong += duck.count(
                f"SELECT count(*) FROM ({live_rows(shape, files)}) "
                f"WHERE {shape.partition_sql()} IS DISTINCT FROM {expected}"
            )
    return Check("rows are in their partition", wrong == 0, f"expected no row elsewhere, found {wrong}")


def _whole_history(duck: Duck, contract: Contract, horizon: int) -> Check:
    """Changes may be kept for a shorter time than rows, so that only keys with a change are compared. A purged
    tombstone leaves changes without a row: the newest of them is a removal below the tombstone horizon."""

    keys = ", ".join(f'"{k}"' for k in contract.primary_key)
    order = "struct_pack(" + ", ".join(f"{c} := {c}" for c in ORDER) + ")"
    purged = f"_kept IS NULL AND _last = 'remove' AND _newest._version < {horizon}"
    wrong = duck.count(
        f"SELECT count(*) FROM (SELECT {keys}, max({order}) AS _newest, arg_max(_op, {order}) AS _last FROM history "
        f"GROUP BY {keys}) LEFT JOIN (SELECT {keys}, {order} AS _kept FROM rows) USING ({keys}) "
        f"WHERE _newest IS DISTINCT FROM (_kept) AND NOT ({purged})"
    )
    return Check("each key has its newest change", wrong == 0, f"expected all keys to, found {wrong} that do not")
