"""Merge the winners of a batch into the stored rows: write the files that `planning` asks for.

Dense files are rewritten; in sparse ones the replaced rows are marked by position deletes (Iceberg v2), one delete file
per data file, and their new rows go to small files with the partition's other new rows. Which commit the files go into
belongs to `batch`; which changes win belongs to `reduction`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from lakehouse.merge import file_cutting, planning, spreading, weighing
from lakehouse.merge.planning import FileFacts, Group, Plan
from lakehouse.results import Failure
from lakehouse.storage.duck import VALUE_BYTES, Duck
from lakehouse.storage.failures import class_of
from lakehouse.storage.lake import Lake
from lakehouse.storage.sql import literal, quoted
from lakehouse.storage.threads import Threads
from lakehouse.table import iceberg
from lakehouse.table.relations import ACCEPTED, APPLIED, VALID
from lakehouse.table.scan import deleted, live_rows, stored_rows
from lakehouse.table.schemas import TableShape

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from pyiceberg.manifest import DataFile

    from lakehouse.table.iceberg import LiveFile

_UPLOADS = 4
_LEVEL, _LEVEL_OF_MERGE = 3, 1
"""Levels of zstd. A merge writes with the quick one: in some 60% of the time, files of texts are no larger, those of
lists an eighth larger. What maintenance writes stays, and may take longer."""
FEW_QUERIES = 8
"""Up to so many queries look for their rows among all of a batch; for more, these are first put in order."""


@dataclass(frozen=True)
class Commit:
    """The commit that files are written for: what its rows are marked with, what the names of the files begin with (no
    other commit may have that), and whether others follow before anybody reads."""

    batch: int
    name: str
    goes_on: bool = False


@dataclass(frozen=True)
class Written:
    """New data and delete files in place of old ones, ready for `iceberg_commit.commit`."""

    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]

    @property
    def bytes(self) -> int:
        """Size of the new files."""
        return sum(f.file_size_in_bytes for f in self.added)


@dataclass(frozen=True)
class Rows:
    """Which rows a rewrite keeps (`where`, SQL), and which columns get another value (`values`, SQL by name)."""

    where: str = "true"
    values: Mapping[str, str] = field(default_factory=dict)

    def select(self, shape: TableShape) -> str:
        """The columns of the shape as a select list."""
        return ", ".join(
            f"{self.values[c.name]} AS {quoted(c.name)}" if c.name in self.values else quoted(c.name)
            for c in shape.columns
        )


def merge_compacted(duck: Duck, lake: Lake, shape: TableShape, files: Sequence[LiveFile], commit: Commit) -> Written:
    """Write the winners in `applied` (see `reduction.reduce`) as rows of a commit."""
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _arriving AS "
        f"SELECT _rid, {shape.partition_sql()} AS _part, {APPLIED}._file, {APPLIED}._pos "
        f"FROM {VALID} JOIN {APPLIED} USING (_rid)"
    )
    values = {"_deleted": "_op = 'remove'", "_expired": "_op = 'expire'", "_batch": f"{commit.batch}::BIGINT"}
    return _merge(duck, lake, shape, files, values, commit)


def append_changes(duck: Duck, lake: Lake, shape: TableShape, files: Sequence[LiveFile], commit: Commit) -> Written:
    """Write the accepted changes in `accepted` to the history, together with its small files of the same days."""
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _arriving AS "
        f"SELECT _rid, {shape.partition_sql()} AS _part, NULL::INTEGER AS _file, NULL::BIGINT AS _pos "
        f"FROM {VALID} SEMI JOIN {ACCEPTED} USING (_rid)"
    )
    return _merge(duck, lake, shape, files, {"_batch": f"{commit.batch}::BIGINT"}, commit)


def rewrite_files(
    duck: Duck, lake: Lake, shape: TableShape, files: Sequence[LiveFile], name: str, where: str = "true"
) -> Written:
    """Rewrite the live rows of files of one partition, sorted, in files of the target size; only those for which
    the SQL condition `where` holds. Delete files that concern other data files, too, stay."""
    partitions = {iceberg.partition_value(f) for f in files}
    if len(partitions) != 1:
        raise ValueError(f"{shape.name}: expected files of one partition, found {sorted(map(str, partitions))}")
    partition = partitions.pop()
    source = f"SELECT {shape.select()} FROM ({live_rows(shape, files)}) WHERE {where}"
    try:
        with _writer(duck, lake, shape, name) as writer:
            writer.write_sorted(source, partition, planning.rows_per_file(_facts(shape, files)))
    except duckdb.OutOfMemoryException as error:
        if class_of(error) is Failure.ENVIRONMENT:
            raise
        if middle := len(files) // 2:
            one = rewrite_files(duck, lake, shape, files[:middle], f"{name}-1", where)
            other = rewrite_files(duck, lake, shape, files[middle:], f"{name}-2", where)
            return Written((*one.added, *other.added), _distinct((*one.removed, *other.removed)))
        with _writer(duck, lake, shape, f"{name}-alone") as writer:
            writer.write(source, partition)  # as it stands, which needs no room for a sort
    return Written(tuple(writer.done()), tuple(_removed(lake, files)))


def rewrite_each(
    duck: Duck, lake: Lake, shape: TableShape, files: Sequence[LiveFile], name: str, rows: Rows
) -> Written:
    """Write the rows of each file that `rows` says, with its values, as a file of its own in the order that they have:
    for changes of columns that neither sort nor partition. Nothing is sorted or kept, so that it goes as fast as
    reading. Delete files that concern other data files, too, stay."""
    with _writer(duck, lake, shape, name) as writer:
        for file in files:
            source = f"SELECT {rows.select(shape)} FROM ({live_rows(shape, [file])}) WHERE {rows.where}"
            writer.write(source, iceberg.partition_value(file))
    return Written(tuple(writer.done()), _distinct(tuple(_removed(lake, files))))


def write_rows(duck: Duck, lake: Lake, shape: TableShape, query: str, files: Sequence[LiveFile], name: str) -> Written:
    """Write the rows of a query in the table's columns to new files, sorted, of about the size of those in `files`."""
    source = f"SELECT {shape.select()}, {shape.partition_sql()} AS _part FROM ({query})"
    per_file = planning.rows_per_file(_facts(shape, files))
    with _writer(duck, lake, shape, name) as writer:
        for (part,) in duck.rows(f"SELECT DISTINCT _part FROM ({source}) ORDER BY _part"):
            of_part = f"SELECT {shape.select()} FROM ({source}) WHERE _part IS NOT DISTINCT FROM {_sql(part)}"
            writer.write_sorted(of_part, part, per_file)
    return Written(tuple(writer.done()), ())


def _distinct(files: Sequence[DataFile]) -> tuple[DataFile, ...]:
    return tuple({f.file_path: f for f in files}.values())


def _merge(
    duck: Duck,
    lake: Lake,
    shape: TableShape,
    files: Sequence[LiveFile],
    values: Mapping[str, str],
    commit: Commit,
) -> Written:
    """Merge the rows in `_arriving` (_rid, _part, _file, _pos of what each replaces); `values` are SQL for columns that
    the rows in `VALID` do not have.

    A stored file tells its compressed bytes only, and those of a few very long lists say nothing of what they take in
    memory. Where that is too much beside the new rows, these are written by themselves."""
    try:
        plan = _plan(duck, shape, files, goes_on=commit.goes_on)
        _route(duck, shape, files, plan, values)
        return _write_plan(_writer(duck, lake, shape, commit.name, _LEVEL_OF_MERGE), files, plan)
    except duckdb.OutOfMemoryException as error:
        if class_of(error) is Failure.ENVIRONMENT:
            raise
        apart = _plan(duck, shape, files, joining=False)
        _route(duck, shape, files, apart, values)
        return _write_plan(_writer(duck, lake, shape, f"{commit.name}-apart", _LEVEL_OF_MERGE), files, apart)


def _write_plan(making: AbstractContextManager[_Writer], files: Sequence[LiveFile], plan: Plan) -> Written:
    """Write the rows in `_incoming`, by the group that `_route` has given each."""
    with making as writer:
        duck, lake, shape = writer.duck, writer.lake, writer.shape
        rewritten = [files[n] for group in plan.groups for n in group.files]
        marked = [files[n] for n in plan.marked]
        present: dict[int | None, list[LiveFile]] = {}
        for file in files:
            present.setdefault(iceberg.partition_value(file), []).append(file)
        weight = weighing.row_weight(duck, shape, str(VALID))
        per_file = [
            planning.rows_per_file(
                _facts(shape, [files[n] for n in group.files] or present.get(group.partition, [])), weight
            )
            for group in plan.groups
        ]
        rows = [group.rows + sum(files[n].rows for n in group.files) for group in plan.groups]
        writer.row_group = planning.rows_per_group(weight)
        bundles = planning.bundles(rows, per_file, weight)
        large = [first for first, end in bundles if end - first == 1]
        if weight * sum(rows[n] for n in large) > planning.SORTED_BYTES:
            _spread(writer, files, {n: plan.groups[n] for n in large}, per_file, weight)
            bundles = [(first, end) for first, end in bundles if end - first > 1]
        if len(bundles) > FEW_QUERIES:
            duck.run("CREATE OR REPLACE TEMP TABLE _gathered AS SELECT * FROM _incoming ORDER BY _group")
            duck.run("CREATE OR REPLACE TEMP VIEW _incoming AS SELECT * FROM _gathered")
        for first, end in bundles:
            if end - first == 1:
                _write_group(writer, files, plan.groups[first], first, per_file[first])
            else:
                _write_bundle(writer, files, {n: plan.groups[n] for n in range(first, end)})
        _mark(writer, files, plan)
    return Written(tuple(writer.done()), (*_removed(lake, rewritten), *_replaced_deletes(lake, marked)))


def _facts(
    shape: TableShape, files: Sequence[LiveFile], hits: Mapping[int, tuple[int, int]] | None = None
) -> list[FileFacts]:
    top = {column.field_id for column in shape.columns}
    found = []
    for n, file in enumerate(files):
        hit, staying = (hits or {}).get(n, (0, 0))
        found.append(
            FileFacts(
                n,
                iceberg.partition_value(file),
                file.data.file_size_in_bytes,
                file.rows,
                file.deleted_rows,
                hit,
                staying,
                VALUE_BYTES * sum(n for i, n in (file.data.value_counts or {}).items() if i not in top),
            )
        )
    return found


def _plan(
    duck: Duck, shape: TableShape, files: Sequence[LiveFile], *, joining: bool = True, goes_on: bool = False
) -> Plan:
    """The plan for `arriving`; adds to it the column `_stays`: whether a row remains in the partition of its file."""
    hit = [row[0] for row in duck.rows("SELECT DISTINCT _file FROM _arriving WHERE _file IS NOT NULL")]
    listed = ", ".join(f"({n}, {_sql(iceberg.partition_value(files[n]))})" for n in hit) or "(NULL, NULL)"
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _placed AS SELECT a.*, f._file IS NOT NULL "
        "AND a._part IS NOT DISTINCT FROM f._part AS _stays FROM _arriving a "
        f"LEFT JOIN (VALUES {listed}) AS f(_file, _part) ON a._file = f._file"
    )
    hits = {
        n: (rows, staying)
        for n, rows, staying in duck.rows(
            "SELECT _file, count(*), count(*) FILTER (_stays) FROM _placed WHERE _file IS NOT NULL GROUP BY _file"
        )
    }
    new = dict(duck.rows("SELECT _part, count(*) FROM _placed WHERE NOT _stays GROUP BY _part"))
    facts, marking = _facts(shape, files, hits), iceberg.writes_position_deletes()
    return planning.plan_merge(facts, new, marking=marking, joining=joining, goes_on=goes_on)


def _route(duck: Duck, shape: TableShape, files: Sequence[LiveFile], plan: Plan, values: Mapping[str, str]) -> None:
    """Make `_incoming`: the batch's rows in the table's columns with their number `_rid` and the `_group` that each
    goes to. They stay where they are: rows with their values are moved once only, when their file is written."""
    by_file = [(n, number) for number, group in enumerate(plan.groups) for n in group.files]
    by_part = [(_sql(group.partition), number) for number, group in enumerate(plan.groups) if group.newcomers]
    of_file = ", ".join(f"({n}, {number})" for n, number in by_file) or "(NULL, NULL)"
    of_part = ", ".join(f"({part}, {number})" for part, number in by_part) or "(NULL, NULL)"
    duck.run(
        "CREATE OR REPLACE TEMP TABLE _routed AS SELECT p._rid, coalesce(f._group, n._group)::INTEGER AS _group "
        f"FROM _placed p LEFT JOIN (VALUES {of_file}) AS f(_file, _group) ON p._stays AND p._file = f._file "
        f"LEFT JOIN (VALUES {of_part}) AS n(_part, _group) ON p._part IS NOT DISTINCT FROM n._part"
    )
    columns = ", ".join(
        f"{values[c.name]} AS {quoted(c.name)}" if c.name in values else quoted(c.name) for c in shape.columns
    )
    source = f"{VALID} JOIN _routed USING (_rid)"
    duck.run(f"CREATE OR REPLACE TEMP VIEW _incoming AS SELECT {columns}, _rid, _group FROM {source}")
    duck.run("DROP TABLE IF EXISTS _gathered")  # of a first try, for which memory ran out


def _sql(partition: int | None) -> str:
    return "NULL" if partition is None else str(partition)


def _sort(shape: TableShape) -> str:
    return ", ".join(quoted(c) for c in shape.sort)


def _write_group(writer: _Writer, files: Sequence[LiveFile], group: Group, number: int, per_file: int) -> None:
    shape = writer.shape
    source = f"SELECT {shape.select()} FROM _incoming WHERE _group = {number}"
    if group.files:
        source += f" UNION ALL SELECT {shape.select('d')} FROM {_kept(shape, files, group.files)}"
    if sum(files[n].rows for n in group.files) + group.rows <= 1.5 * per_file:
        writer.write(f"{source} ORDER BY {_sort(shape)}", group.partition)
    else:
        writer.write_sorted(source, group.partition, per_file)


def _write_bundle(writer: _Writer, files: Sequence[LiveFile], groups: Mapping[int, Group]) -> None:
    """Write consecutive groups of few rows, by their number, with one query for all: one for each would take longer
    than what it writes, and a history may have thousands of days in one batch."""
    writer.write_groups(
        f"{_rows_of(writer.shape, files, groups)} ORDER BY _group, {_sort(writer.shape)}",
        {number: group.partition for number, group in groups.items()},
    )


def _spread(
    writer: _Writer, files: Sequence[LiveFile], groups: Mapping[int, Group], per_file: Sequence[int], weight: float
) -> None:
    """Write groups of many rows, by their number, in files cut by key, some groups with one query."""
    rows = {n: group.rows + sum(files[file].rows for file in group.files) for n, group in groups.items()}
    slices = {n: max(len(planning.slices(rows[n], per_file[n])), 1) for n in groups}
    for some in spreading.passes(slices):
        query = _rows_of(writer.shape, files, {n: groups[n] for n in some})
        if sum(slices[n] for n in some) == 1:
            writer.write(f"SELECT {writer.shape.select()} FROM ({query})", groups[some[0]].partition)
            continue
        spread = spreading.Spread(query, {n: rows[n] for n in some}, {n: slices[n] for n in some})
        writer.write_spread(spread, {n: groups[n].partition for n in some}, weight)


def _rows_of(shape: TableShape, files: Sequence[LiveFile], groups: Mapping[int, Group]) -> str:
    """A query for the rows of groups, by their number: the new ones and those that stay, and the `_group` of each."""
    listed = ", ".join(map(str, groups))
    source = f"SELECT {shape.select()}, _group FROM _incoming WHERE _group IN ({listed})"
    if mine := [(n, number) for number, group in groups.items() for n in group.files]:
        owners = "([" + ", ".join(str(number) for _, number in mine) + "]::INTEGER[])"
        kept = _kept(shape, files, [n for n, _ in mine])
        source += f" UNION ALL SELECT {shape.select('d')}, {owners}[d.file_index::BIGINT + 1] FROM {kept}"
    return source


def _kept(shape: TableShape, files: Sequence[LiveFile], chosen: Sequence[int]) -> str:
    """What follows FROM, for the rows `d` of the chosen files that are neither deleted nor replaced."""
    numbers = "[" + ", ".join(map(str, chosen)) + "]"
    gone = f"SELECT _file, _pos FROM _placed WHERE _file IN (SELECT unnest({numbers}))"
    if partly := {n: files[n] for n in chosen if files[n].deletes}:
        gone += f" UNION ALL SELECT _file, _pos FROM {deleted(partly)}"
    return (
        f"{stored_rows(shape, [files[n] for n in chosen])} AS d ANTI JOIN ({gone}) AS g "
        f"ON g._file = {numbers}[d.file_index::BIGINT + 1] AND g._pos = d.file_row_number"
    )


def _mark(writer: _Writer, files: Sequence[LiveFile], plan: Plan) -> None:
    """Write the position deletes of the files that are not rewritten: those they had and the new ones in one file."""
    import pyarrow.compute as pc

    if not plan.marked:
        return
    listed = ", ".join(map(str, plan.marked))
    hits = writer.duck.arrow(f"SELECT _file, _pos FROM _placed WHERE _file IN ({listed}) ORDER BY _file, _pos")
    counts = pc.value_counts(hits.column("_file"))
    start = 0
    for counted in counts.to_pylist():
        number, rows = counted["values"], counted["counts"]
        writer.mark(files[number], hits.column("_pos").slice(start, rows))
        start += rows


def _removed(lake: Lake, files: Sequence[LiveFile]) -> Iterator[DataFile]:
    """Data files that are replaced, with the delete files that concern no other."""
    for file in files:
        yield file.data
    yield from _replaced_deletes(lake, files)


def _replaced_deletes(lake: Lake, files: Sequence[LiveFile]) -> Iterator[DataFile]:
    for file in files:
        yield from iceberg.own_deletes(lake, file).deletes


@dataclass
class _Writer:
    """Writes files to scratch and uploads them behind the next one's back."""

    duck: Duck
    lake: Lake
    shape: TableShape
    name: str
    pool: Threads
    level: int
    row_group: int = planning.MOST_ROWS_OF_A_GROUP
    uploads: list[Future[DataFile | None]] = field(default_factory=list)

    def write(self, query: str, partition: int | None) -> None:
        """Write the rows of a query as one data file; none if there are no rows."""
        path, location = self._next("parquet")
        self.duck.run(
            f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd, "
            f"COMPRESSION_LEVEL {self.level}, ROW_GROUP_SIZE {self.row_group}, FIELD_IDS {self.shape.field_ids()})"
        )
        self.uploads.append(self.pool.submit(self._store, path, location, partition))

    def write_sorted(self, query: str, partition: int | None, per_file: int) -> None:
        """Sort the rows of a query and write them in files of about `per_file` rows."""
        self.duck.run(f"CREATE OR REPLACE TEMP TABLE _sorted AS SELECT * FROM ({query}) ORDER BY {_sort(self.shape)}")
        weight = weighing.row_weight(self.duck, self.shape, "_sorted")
        self.row_group = planning.rows_per_group(weight)
        rows = self.duck.count("SELECT count(*) FROM _sorted")
        for first, end in planning.slices(rows, min(per_file, planning.most_rows(weight))):
            self.write(f"SELECT * FROM _sorted WHERE rowid >= {first} AND rowid < {end}", partition)
        self.duck.run("DROP TABLE _sorted")

    def write_spread(self, spread: spreading.Spread, partitions: Mapping[int, int | None], weight: float) -> None:
        """Write rows of groups in the files that each is cut into; `partitions` are by the group's number, and a row
        weighs `weight` bytes in memory on average."""
        folder = self.duck.scratch / "written" / f"{self.shape.name}-{self.name}-{len(self.uploads):04d}"
        order = dict.fromkeys((*self.shape.sort, *self.shape.keys))  # each once: `sort` alone may have few values
        number, groups = spreading.slice_sql(self.duck, tuple(order), spread)
        self.duck.run(f"SET partitioned_write_flush_threshold = {spreading.rows_buffered(weight)}")
        self.duck.run(
            f"COPY (SELECT * EXCLUDE (_group), {number} AS _slice FROM ({spread.query})) TO {literal(str(folder))} "
            f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {self.level}, ROW_GROUP_SIZE {self.row_group}, "
            f"FIELD_IDS {self.shape.field_ids()}, PARTITION_BY (_slice))"
        )
        for path in sorted(folder.glob("_slice=*/*.parquet")):
            group = groups[int(path.parent.name.partition("=")[2])]
            _, location = self._next("parquet")
            self.uploads.append(self.pool.submit(self._store, path, location, partitions[group]))

    def write_groups(self, query: str, partitions: Mapping[int, int | None]) -> None:
        """Write the rows of a query, which come in the order of their last column `_group`, as one data file for each
        of its values; `partitions` are by that value."""
        schema = file_cutting.arrow_schema(self.shape)
        batches = self.duck.stream(query, file_cutting.ROWS_AT_ONCE)
        for group, rows in file_cutting.groups(batches, schema):
            path, location = self._next("parquet")
            # Kept until it is written: all groups of a query weigh no more than a row group.
            cut = list(rows)
            self.uploads.append(self.pool.submit(self._cut, path, location, partitions[group], schema, cut))

    def mark(self, file: LiveFile, rows: pa.ChunkedArray) -> None:
        """Write the delete file of a data file: `rows` (positions, ascending) and those deleted before."""
        _, location = self._next("deletes.parquet")
        self.uploads.append(self.pool.submit(self._store_deletes, file, rows, location))

    def done(self) -> list[DataFile]:
        """The files written, all of them stored; raises what any upload raised."""
        return [file for upload in self.uploads if (file := upload.result()) is not None]

    def _next(self, suffix: str) -> tuple[Path, str]:
        name = f"{self.name}-{len(self.uploads):04d}.{suffix}"
        address = f"{self.lake.table_location(self.shape.name)}/data/{name}"
        return self.duck.scratch / "written" / f"{self.shape.name}-{name}", address

    def _store(self, path: Path, location: str, partition: int | None) -> DataFile | None:
        described = iceberg.data_file(self.shape, path, location, partition)
        if described.record_count:
            self.lake.store.upload(path, self.lake.store.key(location))
        path.unlink(missing_ok=True)
        return described if described.record_count else None

    def _cut(
        self, path: Path, location: str, partition: int | None, schema: pa.Schema, rows: list[pa.Table]
    ) -> DataFile | None:
        file_cutting.write(path, schema, rows, self.level)
        return self._store(path, location, partition)

    def _store_deletes(self, file: LiveFile, rows: pa.ChunkedArray, location: str) -> DataFile:
        earlier = iceberg.deleted_positions(self.lake, iceberg.own_deletes(self.lake, file))
        described, content = iceberg.delete_file(self.shape, file.data, iceberg.ascending([rows, earlier]), location)
        self.lake.store.write(self.lake.store.key(location), content)
        return described


@contextmanager
def _writer(duck: Duck, lake: Lake, shape: TableShape, name: str, level: int = _LEVEL) -> Iterator[_Writer]:
    """A writer whose uploads have all ended, well or not, when it is left."""
    (duck.scratch / "written").mkdir(exist_ok=True)
    with Threads(_UPLOADS) as pool:
        yield _Writer(duck, lake, shape, name, pool, level)
