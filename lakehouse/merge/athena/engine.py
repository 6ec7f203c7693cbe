"""The engine `athena`: Athena finds the stored rows, merges, and reads back; what is linear in the batch stays here.

Landed objects are validated and deduplicated by the embedded engine, whose rules hold for both. The accepted changes
are appended to the work table's `_changes`, and from there Athena takes them: one query finds the stored rows of their
keys, one MERGE INTO replaces those that are older, one query reads the touched keys back for the audit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException

from lakehouse.merge import reduction
from lakehouse.merge.athena import sql
from lakehouse.merge.athena.client import AthenaClient, AthenaError
from lakehouse.merge.base import Chunk, append_accepted, commit_work
from lakehouse.storage.sql import literal, quoted
from lakehouse.table import iceberg, iceberg_commit, scan, schemas
from lakehouse.table.relations import ACCEPTED, ADDED, AFTER, APPLIED, STORED, VALID
from lakehouse.table.schemas import ORDER, TableShape

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata

    from lakehouse.storage.entries import Entry
    from lakehouse.table.iceberg import LiveFile
    from lakehouse.table.tables import TableState

OPEN_PARTITIONS = 100
"""Partitions that one statement of Athena may write to; a batch that writes to more is merged by several."""


@dataclass
class AthenaEngine:
    """Merges chunks with Athena."""

    client: AthenaClient
    name: str = "athena"

    @property
    def queries(self) -> int:
        """Queries of all chunks so far, those of chunks that were given up included."""
        return self.client.spent.queries

    @property
    def scanned_bytes(self) -> int:
        """Bytes that these queries scanned."""
        return self.client.spent.scanned

    @property
    def usd(self) -> float:
        """What these queries are billed, estimated from the settings' price."""
        return self.client.spent.usd

    def take(self, chunk: Chunk) -> AthenaMerge:
        """Begin to merge a chunk."""
        return AthenaMerge(chunk, self.client)


@dataclass
class AthenaMerge:
    """One chunk on its way into the work tables."""

    chunk: Chunk
    client: AthenaClient
    bound: sql.Bound | None = None
    """Where the stored rows of the batch's keys are; None as long as none was found."""
    ties: bool = False
    """Whether a change has the version of its stored row."""
    appended: tuple[str, int] | None = None
    """Metadata of `_changes` with the changes appended, and how many they were."""

    def find_stored(self, scanned: Sequence[LiveFile]) -> tuple[int, ...]:
        """Ask for the stored rows of the keys in `accepted`, in the partitions of the files that can hold one; and for
        the rest of their order where a change has the same version."""
        chunk = self.chunk
        duck, contract = chunk.duck, chunk.contract
        keys = reduction.key_columns(contract)
        if not scanned:
            order = ", ".join(ORDER)
            duck.run(
                f"CREATE OR REPLACE TEMP TABLE {STORED} AS SELECT {keys}, {order}, NULL::INTEGER AS _file, "
                f"NULL::BIGINT AS _pos FROM {ACCEPTED} WHERE false"
            )
            return ()
        self.appended = (append_accepted(chunk, chunk.name), self._accepted())
        self._ask("_hit", sql.touched_rows(contract, self._source(), self._around(scanned)), "find the stored rows")
        self.bound = self._bound_of_hits()
        same = f"{reduction.same_key(contract, '_hit', ACCEPTED)} AND _hit._version = {ACCEPTED}._version"
        self.ties = self.bound is not None and bool(duck.row(f"SELECT count(*) FROM _hit JOIN {ACCEPTED} ON {same}")[0])
        if self.bound is not None and self.ties:
            self._ask("_tie", sql.tied_rows(contract, self._source(), self.bound), "find stored rows of equal version")
        else:
            duck.run(f"CREATE OR REPLACE TEMP TABLE _tie AS SELECT * FROM {ACCEPTED} WHERE false")
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE {STORED} AS SELECT {keys}, _hit._version, _tie._seq, _tie._event_id, "
            f"0 AS _file, NULL::BIGINT AS _pos FROM _hit LEFT JOIN _tie USING ({keys})"
        )
        return ()

    def append_changes(self) -> str:
        """The metadata of `_changes` with exactly the changes in `accepted`: those that turned out to be stored
        already, or too late, are left out by appending again."""
        chunk = self.chunk
        if self.appended is None:
            self.appended = (append_accepted(chunk, chunk.name), self._accepted())
        elif self.appended[1] != self._accepted():
            shape = schemas.changes(chunk.contract)
            iceberg.move_pointer(chunk.lake, self._entry(shape), chunk.before.changes_location)
            self.appended = (append_accepted(chunk, f"{chunk.name}-again"), self._accepted())
        return self.appended[0]

    def merge(self, properties: Mapping[str, str], summary: Mapping[str, str]) -> str:
        """Merge the winners; the properties follow in a commit of their own, and only then is the table complete."""
        chunk, shape = self.chunk, schemas.compacted(self.chunk.contract)
        base = self._follow_contract(shape)
        statements = self._merges()
        for number, statement in enumerate(statements, start=1):
            what = f"{chunk.contract.name}: merge batch {chunk.batch}"
            if len(statements) > 1:
                what += f" ({number} of {len(statements)})"
            self._run(statement, what)
        location = self._entry(shape).metadata_location
        self._check_history(base, location, len(statements))
        return commit_work(chunk.lake, shape, location, properties, summary)

    def read_back(self, after: TableState) -> None:
        """Leave behind `added`, the rows of the files that Athena wrote, which are as many as the winners, and `after`,
        the touched rows that Athena finds now: with the rest of their order as a new file has it, or as it was before.
        """
        duck, contract = self.chunk.duck, self.chunk.contract
        keys = reduction.key_columns(contract)
        shape = schemas.compacted(contract).stored_as(after.metadata)
        old = {f.path for f in self.chunk.before.files}
        new = [f for f in after.files if f.path not in old]
        duck.run(f"CREATE OR REPLACE TEMP VIEW {ADDED} AS {scan.live_rows(shape, new)}")
        touched = scan.within_bounds(duck, contract, after.files, ACCEPTED)
        if not touched:
            none = f"SELECT {keys}, {', '.join(ORDER)} FROM {STORED} WHERE false"
            duck.run(f"CREATE OR REPLACE TEMP TABLE {AFTER} AS {none}")
            return
        bound = self._around(touched)
        self._ask("_found", sql.touched_rows(contract, self._source(), bound), "read the touched keys back")
        order = ", ".join(ORDER)
        known = (
            f"SELECT {keys}, {order} FROM {ADDED} "
            f"UNION ALL SELECT {keys}, {order} FROM {STORED} ANTI JOIN {ADDED} USING ({keys})"
        )
        duck.run(
            f"CREATE OR REPLACE TEMP TABLE {AFTER} AS SELECT {keys}, _version, known._seq, known._event_id "
            f"FROM _found LEFT JOIN ({known}) AS known USING ({keys}, _version)"
        )

    def _merges(self) -> list[str]:
        """The statements that merge the winners: one, unless they belong into more partitions than one may open."""
        chunk = self.chunk
        contract, duck = chunk.contract, chunk.duck
        into = schemas.compacted(contract).partition_sql()
        applied = f"{VALID} SEMI JOIN {APPLIED} USING (_rid)"
        partitions = [row[0] for row in duck.rows(f"SELECT DISTINCT {into} AS p FROM {applied} ORDER BY p")]
        if not partitions:
            return []
        if len(partitions) <= OPEN_PARTITIONS:
            return [sql.merge(contract, self._source(), self.bound, ties=self.ties)]
        parts = [partitions[n : n + OPEN_PARTITIONS] for n in range(0, len(partitions), OPEN_PARTITIONS)]
        return [sql.merge(contract, self._source(), self.bound, ties=self.ties, into=part) for part in parts]

    def _follow_contract(self, shape: TableShape) -> TableMetadata:
        """The work table's metadata with the contract's columns, before Athena writes them."""
        chunk = self.chunk
        table = iceberg.EntryCatalog(chunk.lake, chunk.lake.work_database).table(shape.name, chunk.before.location)
        if shape.schema().as_struct() == table.schema().as_struct():
            return table.metadata
        return iceberg_commit.commit(table, shape=shape, properties={}, summary={}).metadata

    def _check_history(self, base: TableMetadata, location: str, commits: int) -> None:
        """Only our own statements may have written since `base`."""
        metadata = iceberg.read_metadata(self.chunk.lake, location)
        parents = {s.snapshot_id: s.parent_snapshot_id for s in metadata.snapshots}
        snapshot = metadata.current_snapshot_id
        for _ in range(commits):
            snapshot = parents.get(snapshot) if snapshot is not None else None
        if snapshot != base.current_snapshot_id:
            raise CommitFailedException(
                f"{self.chunk.contract.name}: expected {commits} commits of Athena after snapshot "
                f"{base.current_snapshot_id}, found another history in {location}: another writer was there"
            )

    def _around(self, files: Sequence[LiveFile]) -> sql.Bound:
        """Where the keys in `accepted` can be, given the files that can hold one."""
        contract = self.chunk.contract
        first = quoted(contract.primary_key[0])
        low, high = self.chunk.duck.row(f"SELECT min({first}), max({first}) FROM {ACCEPTED}")
        partitions = frozenset(map(iceberg.partition_value, files)) if contract.partition else None
        return sql.Bound(low, high, partitions)

    def _bound_of_hits(self) -> sql.Bound | None:
        """Where the rows in `_hit` are; None if there are none."""
        contract, duck = self.chunk.contract, self.chunk.duck
        first = quoted(contract.primary_key[0])
        low, high = duck.row(f"SELECT min({first}), max({first}) FROM _hit")
        if low is None:
            return None
        found = {row[0] for row in duck.rows("SELECT DISTINCT _part FROM _hit")}
        return sql.Bound(low, high, frozenset(found) if contract.partition else None)

    def _ask(self, table: str, statement: str, what: str) -> None:
        """Ask Athena, and load the result; the result, which holds keys, is removed."""
        contract, lake = self.chunk.contract, self.chunk.lake
        location = self._run(statement, f"{contract.name}: {what} of batch {self.chunk.batch}")
        try:
            key = lake.store.key(location)
        except ValueError as error:
            raise AthenaError(
                f"{contract.name}: expected Athena's result in the lake's bucket, found {location}; let the workgroup "
                f"{self.client.settings.workgroup} not enforce another output location"
            ) from error
        tied = table == "_tie"
        names = [*contract.primary_key, *(ORDER if tied else ("_version", "_part"))]
        columns = ", ".join(f"{literal(n)}: 'VARCHAR'" for n in names)
        types = {n: schemas.duckdb_type(contract.field(n).type) for n in contract.primary_key}
        types |= {"_version": "BIGINT", "_part": "INTEGER"}
        select = ", ".join(f"{quoted(n)}::{types.get(n, 'VARCHAR')} AS {quoted(n)}" for n in names)
        self.chunk.duck.run(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {select} FROM "
            f"read_csv({literal(location)}, header = true, auto_detect = false, columns = {{{columns}}}, delim = ',', "
            "quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false)"
        )
        lake.store.delete([key, f"{key}.metadata"])

    def _run(self, statement: str, what: str) -> str:
        database = self.chunk.lake.work_database
        # The step is part of the token: the same statement before and after the merge must run twice.
        outcome = self.client.run(statement, database, what, f"{self.chunk.batch_id}/{self.chunk.name}/{what}")
        return outcome.location

    def _source(self) -> sql.Source:
        days = f"SELECT DISTINCT {scan.DAY_OF_CHANGE} FROM {VALID} SEMI JOIN {ACCEPTED} USING (_rid)"
        return sql.Source(
            self.chunk.lake.work_database, self.chunk.batch, frozenset(row[0] for row in self.chunk.duck.rows(days))
        )

    def _entry(self, shape: TableShape) -> Entry:
        lake = self.chunk.lake
        entry = lake.entries.get(lake.work_database, shape.name)
        if entry is None:
            raise CommitFailedException(f"{lake.work_database}.{shape.name}: expected the entry, found none")
        return entry

    def _accepted(self) -> int:
        return self.chunk.duck.count(f"SELECT count(*) FROM {ACCEPTED}")
