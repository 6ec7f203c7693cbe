"""Which of a batch's valid changes win: one per key, and only if newer than the stored row.

The changes of a key are ordered by (_version, _seq, _event_id): total, and independent of how changes were grouped.
A change is known by its key and `_event_id`: what is delivered again under both is a duplicate, also with other values.
All tables made here are narrow (keys, order, row numbers), so that a batch costs memory by its keys, not its rows; what
is no key has a name with `_` in front, as no field has. Stored rows are found by the key index of the files that can
hold a key, and by one scan of the key columns of those that have none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from contracts.types import DateType, TimestampType
from lakehouse.storage.sql import literal, quoted
from lakehouse.storage.threads import Threads
from lakehouse.table import iceberg, key_index
from lakehouse.table.key_index import Keys
from lakehouse.table.relations import ACCEPTED, APPLIED, LATE, STORED, VALID, Relation
from lakehouse.table.scan import DAY_OF_CHANGE, days_of, deleted, stored_keys, within_bounds
from lakehouse.table.schemas import ORDER, TableShape, changes

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.merge.base import Chunk
    from lakehouse.storage.duck import Duck
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.key_index import KeyIndex


_FILES_AT_ONCE = 500  # each that is open takes memory, however few rows it has
_READERS = 8  # of indexes at once, where each is a request
_PROBED = 4  # of the largest files, to see whether a table has indexes
LookUp: TypeAlias = "Callable[[Sequence[LiveFile]], tuple[int, ...]]"


@dataclass(frozen=True)
class Reduced:
    """Rows of a batch after reduction; `applied`, `superseded`, `duplicate` and `too_late` as in `Counts`.

    `inserted` of the applied ones have no stored row. `scanned` are the stored files that the keys were looked for in,
    `indexed` the numbers, among the files before, of those that were not read: their key index was.
    """

    applied: int
    superseded: int
    duplicate: int
    too_late: int
    inserted: int
    scanned: tuple[LiveFile, ...]
    indexed: tuple[int, ...] = ()


def reduce(chunk: Chunk, horizon: int, look_up: LookUp) -> Reduced:
    """Reduce the chunk's `VALID` against the tables before it. `look_up` makes `STORED`, given the files that can hold
    a key, and returns the numbers of those whose key index it used. Changes below the tombstone `horizon` whose key is
    absent are too late. Makes `ACCEPTED`, `APPLIED`, `LATE`.
    """
    duck, contract, before = chunk.duck, chunk.contract, chunk.before
    valid = duck.count(f"SELECT count(*) FROM {VALID}")
    _find_accepted(duck, contract)
    history = changes(contract).stored_as(before.changes_metadata)
    earlier, own = chunk.own.apart(before.changes_files) if chunk.own else (before.changes_files, ())
    _leave_out_known(duck, contract, history, earlier)
    files = chunk.own.with_keys(duck, contract, before.files) if chunk.own else before.files
    scanned = within_bounds(duck, contract, files, ACCEPTED)
    indexed = look_up(scanned)
    duck.run(
        f"DELETE FROM {ACCEPTED} USING {STORED} WHERE {same_key(contract, ACCEPTED, STORED)} "
        f"AND {ACCEPTED}._event_id = {STORED}._event_id"
    )
    # Mostly what comes twice in a run is the stored row: its files of the history are looked into for the rest.
    if chunk.own and own:
        _leave_out_known(duck, contract, history, chunk.own.with_events(duck, contract, own))
    duplicate = valid - duck.count(f"SELECT count(*) FROM {ACCEPTED}")
    _find_winners(duck, contract)
    too_late = _set_aside_too_late(duck, contract, horizon)
    newer = "(w._version, w._seq, w._event_id) > (s._version, s._seq, s._event_id)"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {APPLIED} AS SELECT w._rid, s._file, s._pos "
        f"FROM _winner w LEFT JOIN {STORED} s ON {same_key(contract, 'w', 's')} "
        f"WHERE s._file IS NULL OR w._version > s._version OR (w._version = s._version AND {newer})"
    )
    applied, inserted = duck.row(f"SELECT count(*), count(*) FILTER (_file IS NULL) FROM {APPLIED}")
    superseded = duck.count(f"SELECT count(*) FROM {ACCEPTED}") - applied
    duck.run("DROP VIEW _winner; DROP TABLE _surpassed")
    return Reduced(applied, superseded, duplicate, too_late, inserted, tuple(scanned), indexed)


def key_columns(contract: Contract, alias: str = "") -> str:
    """The key columns as a select list."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + quoted(k) for k in contract.primary_key)


def same_key(contract: Contract, one: str | Relation, other: str | Relation) -> str:
    """The condition that two tables' rows have the same key."""
    return " AND ".join(f"{one}.{quoted(k)} = {other}.{quoted(k)}" for k in contract.primary_key)


def _find_accepted(duck: Duck, contract: Contract) -> None:
    """Each event of the batch once. Mostly most keys have one change: only those of the others (`_several`) are
    compared, here and by `_find_winners`."""
    keys = key_columns(contract)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _several AS SELECT {keys}, count(*) AS _changes FROM {VALID} GROUP BY {keys} "
        "HAVING count(*) > 1"
    )
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _again AS WITH rivals AS {_rivals(duck, contract, VALID, '_event_id')} "
        f"SELECT _rid FROM rivals ANTI JOIN (SELECT min(_rid) AS _rid FROM rivals GROUP BY {keys}, _event_id) "
        "USING (_rid)"
    )
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {ACCEPTED} AS SELECT _rid, {keys}, {', '.join(ORDER)} FROM {VALID} "
        "ANTI JOIN _again USING (_rid)"
    )
    duck.run("DROP TABLE _again")


def _leave_out_known(duck: Duck, contract: Contract, shape: TableShape, files: Sequence[LiveFile]) -> None:
    """Remove from `accepted` the events whose change is stored already, in these files of the history."""
    if not files:
        return
    candidates, stretch = list(files), "true"
    if not _anywhere(duck, contract):
        candidates = _of_these_days(duck, shape, files)
        first, last = duck.row(f"SELECT min(_changed_at), max(_changed_at) FROM {VALID}")
        stretch = f"_changed_at BETWEEN TIMESTAMP {literal(str(first))} AND TIMESTAMP {literal(str(last))}"
    if not candidates:
        return
    event = f"{key_columns(contract)}, _event_id"
    duck.run(f"CREATE OR REPLACE TEMP TABLE _known AS SELECT {event} FROM {ACCEPTED} WHERE false")
    for start in range(0, len(candidates), _FILES_AT_ONCE):
        _find_known(duck, contract, shape, candidates[start : start + _FILES_AT_ONCE], stretch)
    duck.run(
        f"DELETE FROM {ACCEPTED} USING _known WHERE {same_key(contract, ACCEPTED, '_known')} "
        f"AND {ACCEPTED}._event_id = _known._event_id"
    )
    duck.run("DROP TABLE _known")


def _of_these_days(duck: Duck, shape: TableShape, files: Sequence[LiveFile]) -> list[LiveFile]:
    """The files that can hold changes made on the days of those in `valid`."""
    found = duck.rows(f"SELECT DISTINCT {DAY_OF_CHANGE} AS day, {shape.partition_sql()} FROM {VALID} ORDER BY day")
    days_of_batch, partitions = [row[0] for row in found], {row[1] for row in found}

    def may_hold(file: LiveFile) -> bool:
        if iceberg.partition_value(file) not in partitions:
            return False
        if (stretch := days_of(file)) is None:
            return True
        next_day = bisect_left(days_of_batch, stretch[0])
        return next_day < len(days_of_batch) and days_of_batch[next_day] <= stretch[1]

    return [file for file in files if may_hold(file)]


def _find_known(duck: Duck, contract: Contract, shape: TableShape, files: Sequence[LiveFile], stretch: str) -> None:
    """Put the stored changes with an event of the batch into `_known`. Keys are read only of files that have one:
    mostly none does, and they take as long as the events."""
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _same AS SELECT file_index::INTEGER AS _file, file_row_number AS _pos, _event_id "
        f"FROM {stored_keys(contract, shape, files)} SEMI JOIN {ACCEPTED} USING (_event_id) WHERE {stretch}"
    )
    leave_out_deleted(duck, dict(enumerate(files)), "_same")
    if having := [row[0] for row in duck.rows("SELECT DISTINCT _file FROM _same ORDER BY _file")]:
        duck.run(
            f"INSERT INTO _known SELECT DISTINCT {key_columns(contract)}, _same._event_id "
            f"FROM {stored_keys(contract, shape, [files[n] for n in having])} AS d JOIN _same "
            f"ON _same._file = {having}[d.file_index::BIGINT + 1] AND _same._pos = d.file_row_number"
        )
    duck.run("DROP TABLE _same")


def _anywhere(duck: Duck, contract: Contract) -> bool:
    """Whether an event of the batch may be anywhere in the history. It has the same `_changed_at` whenever it is
    delivered, so that only that stretch can hold it, but for objects that were written again, which may say another,
    and files without a time in their rows, whose `_changed_at` is when they were written."""
    return is_dated_by_object(contract) or bool(duck.row("SELECT coalesce(getvariable('overwritten'), false)")[0])


def is_dated_by_object(contract: Contract) -> bool:
    """Whether `_changed_at` of the entity's rows is when their object was written: it comes as files, and no time
    orders them."""
    if contract.origin != "files" or contract.ordering is None:
        return False
    return not isinstance(contract.field(contract.ordering).type, TimestampType | DateType)


def find_stored(
    duck: Duck,
    contract: Contract,
    shape: TableShape,
    files: Sequence[LiveFile],
    scanned: Sequence[LiveFile],
    index: KeyIndex | None = None,
) -> tuple[int, ...]:
    """Find the stored rows of the keys in `accepted` in the files that can hold one: by the key index of those that
    have one, whole and their own, and by a scan of the others. Returns the numbers of the former.

    All partitions are looked at: a key that a foreign write moved to another one must not be there twice.

    Only key and version are read: the rest of the order decides between equal versions, which are redeliveries.
    """
    keys = key_columns(contract)
    if not scanned:
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE {STORED} AS SELECT {keys}, {', '.join(ORDER)}, NULL::INTEGER AS _file, "
            f"NULL::BIGINT AS _pos FROM {ACCEPTED} WHERE false"
        )
        return ()
    place = {file.path: n for n, file in enumerate(files)}
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _hit AS SELECT {keys}, _version, NULL::INTEGER AS _file, NULL::BIGINT AS _pos "
        f"FROM {ACCEPTED} WHERE false"
    )
    indexed = _look_up(duck, contract, index, {place[f.path]: f for f in scanned}) if index else ()
    duck.run("DROP TABLE IF EXISTS _sought")
    if rest := {place[f.path]: f for f in scanned if place[f.path] not in set(indexed)}:
        duck.run(
            f"INSERT INTO _hit SELECT {keys}, _version, "
            f"{list(rest)}[file_index::BIGINT + 1]::INTEGER AS _file, file_row_number AS _pos "
            f"FROM {stored_keys(contract, shape, list(rest.values()))} SEMI JOIN {ACCEPTED} USING ({keys})"
        )
    leave_out_deleted(duck, dict(enumerate(files)), "_hit")
    _find_ties(duck, contract, shape, files)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {STORED} AS SELECT {keys}, _hit._version, _tie._seq, _tie._event_id, "
        "_hit._file, _hit._pos FROM _hit LEFT JOIN _tie ON _hit._file = _tie._file AND _hit._pos = _tie._pos"
    )
    duck.run("DROP TABLE _hit; DROP TABLE _tied; DROP TABLE _tie")
    return indexed


def _look_up(duck: Duck, contract: Contract, index: KeyIndex, scanned: Mapping[int, LiveFile]) -> tuple[int, ...]:
    """Put into `_hit` what the key indexes of files say; returns the numbers of the files for which they prove it."""
    import numpy as np
    import pyarrow as pa

    wanted = {n: f for n, f in scanned.items() if index.is_wanted(f)}
    if not wanted:
        return ()
    keys, stored = key_columns(contract), sum(f.stored_rows for f in wanted.values())
    # At least so many keys: each has one change, but for those in `_several`.
    rows, others = f"SELECT count(*) FROM {ACCEPTED}", "SELECT coalesce(sum(_changes), 0) - count(*) FROM _several"
    fewest = duck.count(f"SELECT ({rows}) - ({others})")
    if fewest * key_index.ROWS_PER_KEY > stored:
        return ()
    with Threads(index.lake.threads if index.lake.local_root else _READERS) as pool:
        largest = sorted(wanted.values(), key=lambda f: -f.stored_rows)[:_PROBED]
        if fewest >= key_index.MANY_KEYS and not any(pool.map(index.is_there, largest)):
            return ()
        duck.run(
            "CREATE OR REPLACE TEMP TABLE _sought AS SELECT row_number() OVER () - 1 AS _number, * "
            f"FROM (SELECT DISTINCT {keys} FROM {ACCEPTED})"
        )
        if duck.count("SELECT count(*) FROM _sought") * key_index.ROWS_PER_KEY > stored:
            return ()
        sought = Keys(index.digests(duck, "_sought ORDER BY _number"))
        answers = pool.map(lambda file: index.find(file, sought), wanted.values() if sought.distinct else ())
        found = {n: places for n, places in zip(wanted, answers, strict=False) if places is not None}
    if not found:
        return ()
    columns = {
        "_number": np.concatenate([p.number for p in found.values()]),
        "_file": np.repeat(np.array(list(found), np.int32), [len(p.pos) for p in found.values()]),
        "_pos": np.concatenate([p.pos for p in found.values()]),
        "_version": np.concatenate([p.version for p in found.values()]),
    }
    duck.connection.register("looked_up", pa.table(columns))
    duck.run(f"INSERT INTO _hit SELECT {keys}, _version, _file, _pos FROM looked_up JOIN _sought USING (_number)")
    duck.connection.unregister("looked_up")
    return tuple(found)


def leave_out_deleted(duck: Duck, files: Mapping[int, LiveFile], table: str) -> None:
    """Remove from `table` the places (_file as numbered by `files`, _pos) that their delete files name."""
    hit = {row[0] for row in duck.rows(f"SELECT DISTINCT _file FROM {table}")}
    partly = {n: files[n] for n in hit if files[n].deletes}
    if not partly:
        return
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _dead AS SELECT * FROM {deleted(partly)} SEMI JOIN {table} USING (_file, _pos)"
    )
    duck.run(f"DELETE FROM {table} USING _dead WHERE {table}._file = _dead._file AND {table}._pos = _dead._pos")
    duck.run("DROP TABLE _dead")


def _find_ties(duck: Duck, contract: Contract, shape: TableShape, files: Sequence[LiveFile]) -> None:
    """The rest of the order of stored rows whose version a change has, too (`tie`)."""
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _tied AS SELECT DISTINCT _hit._file, _hit._pos FROM _hit JOIN {ACCEPTED} "
        f"ON {same_key(contract, '_hit', ACCEPTED)} AND _hit._version = {ACCEPTED}._version"
    )
    numbers = [row[0] for row in duck.rows("SELECT DISTINCT _file FROM _tied ORDER BY _file")]
    if not numbers:
        duck.run(
            "CREATE OR REPLACE TEMP TABLE _tie AS "
            "SELECT _file, _pos, NULL::VARCHAR AS _seq, NULL::VARCHAR AS _event_id FROM _tied"
        )
        return
    source = stored_keys(contract, shape, [files[n] for n in numbers])
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _tie AS SELECT _tied._file, _tied._pos, s._seq, s._event_id FROM {source} AS s "
        f"JOIN _tied ON _tied._file = {numbers}[s.file_index::BIGINT + 1] AND _tied._pos = s.file_row_number"
    )


def _rivals(duck: Duck, contract: Contract, source: Relation, *columns: str) -> str:
    """The rows of a relation that share their key with others, with number, key and these columns, for WITH: kept where
    they are few, and all rows as they stand where most of them do."""
    keys = key_columns(contract)
    some = duck.count("SELECT sum(_changes) FROM _several")
    selected = f"SELECT _rid, {keys}, {', '.join(columns)} FROM {source}"
    if 2 * some > duck.count(f"SELECT count(*) FROM {source}"):
        return f"NOT MATERIALIZED ({selected})"
    return f"MATERIALIZED ({selected} SEMI JOIN _several USING ({keys}))"


def _find_winners(duck: Duck, contract: Contract) -> None:
    """`_winner`, the highest change of each key: a view, for what it leaves out is mostly less than what it holds."""
    order = ", ".join(f"{c} := {c}" for c in ORDER)
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE _surpassed AS WITH rivals AS {_rivals(duck, contract, ACCEPTED, *ORDER)} "
        f"SELECT _rid FROM rivals ANTI JOIN (SELECT arg_max(_rid, struct_pack({order})) AS _rid FROM rivals "
        f"GROUP BY {key_columns(contract)}) USING (_rid)"
    )
    duck.run("DROP TABLE _several")
    duck.run(f"CREATE OR REPLACE TEMP VIEW _winner AS SELECT * FROM {ACCEPTED} ANTI JOIN _surpassed USING (_rid)")


def _set_aside_too_late(duck: Duck, contract: Contract, horizon: int) -> int:
    """Changes below the horizon whose key is absent: their tombstone may have been purged, so that merging them could
    bring a removed item back. Moves them from `accepted` to `late`."""
    keys = key_columns(contract)
    below = f"SELECT {keys} FROM _winner ANTI JOIN {STORED} USING ({keys}) WHERE _version < {horizon}"
    if not duck.count(f"SELECT count(*) FROM {ACCEPTED} WHERE _version < {horizon}"):
        below = f"SELECT {keys} FROM {ACCEPTED} WHERE false"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {LATE} AS SELECT {ACCEPTED}.* FROM {ACCEPTED} SEMI JOIN ({below}) USING ({keys})"
    )
    if not (late := duck.count(f"SELECT count(*) FROM {LATE}")):
        return 0
    duck.run(f"DELETE FROM {ACCEPTED} WHERE _rid IN (SELECT _rid FROM {LATE})")
    return late
