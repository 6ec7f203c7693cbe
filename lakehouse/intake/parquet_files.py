"""Landed Parquet files as rows of text, each value as its own file holds it.

Files are read together only if their schemas are exactly the same: beside others DuckDB would find a common type
before anything is written as text, and match names without their case, so that a value would depend on the files
beside it. What a writer typed is written as the contract's text would be. Columns are known by their place, since
their names may be any.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from lakehouse.intake import exact_values
from lakehouse.intake.parquet_text import Value, meant
from lakehouse.intake.text_files import NotReadable
from lakehouse.storage.duck import Duck
from lakehouse.storage.failures import without_values
from lakehouse.storage.sql import file_list, literal, quoted
from lakehouse.table.relations import text_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract

_OF_THE_READER = ("filename", "file_row_number")  # what DuckDB calls the columns that it adds
_MOST_DIGITS = 38
_NO_TEXT = "Invalid string encoding"  # how DuckDB begins to tell of it
_ROWS_AT_ONCE = 2_048
_WORTH_A_LOOK = 1 << 20  # bytes of a file
_FEW_VALUES = 16  # bytes that a nested value takes on average in a dictionary of few entries; plain JSON takes more
_SAID = (
    "name", "type", "type_length", "repetition_type", "num_children", "converted_type", "scale", "precision",
    "logical_type", "duckdb_type",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of a file: its name as written, and whether it may have values that DuckDB does not hold as they are,
    itself or inside of it: times finer than a microsecond, or decimals of more digits. `alike` names a member of a
    struct in it that DuckDB cannot tell from another, if there is one. Likewise `times`, whether it may have times or
    dates that DuckDB cannot hold at all; `old`, whether there are times of 96 bits, which it cuts to microseconds;
    `named`, whether no name in it has a character (NUL) that no statement can have; and `text`, whether it holds text
    or bytes."""

    name: str
    finer: bool
    alike: str | None = None
    times: bool = False
    old: bool = False
    named: bool = True
    text: bool = False


@dataclass(frozen=True)
class Shape:
    """Files of one folder, named by the numbers of their objects, that have exactly these columns and types. The
    columns at the places `by_arrow` have values that DuckDB cannot hold: Arrow
    reads them."""

    numbers: tuple[int, ...]
    columns: tuple[Column, ...]
    by_arrow: frozenset[int] = frozenset()

    def halves(self) -> tuple[Shape, Shape]:
        """The same in two parts."""
        middle = len(self.numbers) // 2
        return replace(self, numbers=self.numbers[:middle]), replace(self, numbers=self.numbers[middle:])

    def parts(self, groups: Mapping[int, int], most: int) -> Iterator[Shape]:
        """The same in parts of at most so many row groups, or of one file; `groups` are those of each file."""
        some: list[int] = []
        for number in self.numbers:
            if some and sum(groups[n] for n in some) + groups[number] > most:
                yield replace(self, numbers=tuple(some))
                some = []
            some.append(number)
        yield replace(self, numbers=tuple(some))


def shapes(duck: Duck, folder: Path, numbers: Sequence[int]) -> list[Shape]:
    """The files in `folder` by their exact schemas; raises a `duckdb.Error` if one of them has none."""
    members = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in ("column_id", *_SAID))
    # Lists are sorted when they are whole: with an order of its own, the engine holds some 200 KB for each list.
    found = duck.rows(
        "SELECT list_sort(list(number)) AS numbers, said FROM (SELECT parse_filename(file_name)::INTEGER AS number, "
        f"list_sort(list(struct_pack({members}))) AS said "
        f"FROM parquet_schema({file_list([str(folder / str(n)) for n in numbers])}) GROUP BY file_name) "
        "GROUP BY said ORDER BY numbers"
    )
    result = []
    for together, said in found:
        columns = tuple(_columns(said))
        names = {column.name.lower() for column in columns}
        if names.isdisjoint(_OF_THE_READER):
            result.append(Shape(tuple(together), columns))
        else:
            result += [Shape((number,), columns) for number in together]
    return [shape for given in result for shape in _by_what_arrow_reads(folder, given)]


def _by_what_arrow_reads(folder: Path, given: Shape) -> Iterator[Shape]:
    """The same files: those that have values that DuckDB cannot hold each by itself."""
    plain = []
    for number in given.numbers:
        if unfit := _unfit(folder / str(number), given.columns):
            yield Shape((number,), given.columns, unfit)
        else:
            plain.append(number)
    if plain:
        yield replace(given, numbers=tuple(plain))


def _unfit(path: Path, columns: Sequence[Column]) -> frozenset[int]:
    """The places of the columns with a value that DuckDB cannot hold; none of a file that Arrow cannot read."""
    import pyarrow as pa

    places = [n for n, column in enumerate(columns) if column.times or column.old]
    names = [column.name for column in columns]
    if not places or len(set(names)) < len(names):  # `as_text` refuses the latter
        return frozenset()
    found: set[int] = set()
    try:
        for batch, fine in _batches(path, [columns[n] for n in places]):
            for n in set(places) - found:
                column = batch.column(names[n])
                if exact_values.rows_with_any(column, exact_values.beyond).any() or (
                    columns[n].old and exact_values.rows_with_any(fine.column(names[n])).any()
                ):
                    found.add(n)
    except (pa.ArrowException, ValueError):
        return frozenset()
    except OSError as error:
        if error.errno is not None:  # None is what pyarrow says of a file that is broken
            raise
        return frozenset()
    return frozenset(found)


def _batches(path: Path, columns: Sequence[Column]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """These columns of a file, batch by batch; the other of each pair has times of 96 bits in nanoseconds, which the
    first has in microseconds, as `exact_values.text` takes them. Raises `NotReadable` if there is none of that name."""
    import pyarrow.parquet as pq

    names = [column.name for column in columns]
    with pq.ParquetFile(path, pre_buffer=False, coerce_int96_timestamp_unit="us") as file:
        if lost := sorted({*names} - {*file.schema_arrow.names}):
            raise NotReadable(f"expected the columns that the footer lists, found none named {', '.join(lost)[:200]}")
        if not any(column.old for column in columns):
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
                yield batch, batch
            return
        with pq.ParquetFile(path, pre_buffer=False) as fine:
            both = (each.iter_batches(_ROWS_AT_ONCE, columns=names) for each in (file, fine))
            yield from zip(*both, strict=True)


def _columns(said: Sequence[dict[str, Any]]) -> Iterator[Column]:
    """The columns of a schema, which Parquet writes as a tree: each element before its children, the root first."""
    place = 1
    while place < len(said):
        first, open_ = place, 1
        while open_:
            open_ += (said[place]["num_children"] or 0) - 1
            place += 1
        elements = said[first:place]
        yield Column(
            said[first]["name"],
            finer=any(map(_is_finer, elements)),
            alike=_alike(elements),
            times=any(map(_is_time, elements)),
            old=any(element["type"] == "INT96" for element in elements),
            named=not any("\0" in element["name"] for element in elements),
            text=said[first]["duckdb_type"] in ("VARCHAR", "BLOB"),
        )


def _alike(elements: Sequence[dict[str, Any]]) -> str | None:
    """The first member whose name differs from that of another in its struct by the case of ASCII letters at most."""
    open_: list[tuple[int, set[str]]] = []  # of each struct that is not over yet: members to come, and their names
    for element in elements:
        while open_ and open_[-1][0] == 0:
            open_.pop()
        if open_:
            left, names = open_[-1]
            name = "".join(c.lower() if c.isascii() else c for c in element["name"])
            if name in names:
                return str(element["name"])
            open_[-1] = (left - 1, names | {name})
        if element["num_children"]:
            open_.append((element["num_children"], set()))
    return None


def _is_finer(element: dict[str, Any]) -> bool:
    logical = element["logical_type"] or ""
    # DuckDB keeps nanoseconds of timestamps without a zone.
    times = "NANOS=Nano" in logical and ("isAdjustedToUTC=1" in logical or logical.startswith("TimeType"))
    return times or (element["precision"] or 0) > _MOST_DIGITS


def _is_time(element: dict[str, Any]) -> bool:
    said = element["logical_type"] or element["converted_type"] or ""
    return said.lower().startswith(("time", "date"))


def as_text(duck: Duck, contract: Contract, folder: Path, shape: Shape) -> str:
    """A query for the rows of the files as text: _no, _row (from 1), _problem, and the columns of `text_columns`.

    It holds until the next call. Raises `NotReadable` for a field that is given twice, and a `duckdb.Error`."""
    names = [column.name for column in shape.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise NotReadable(f"expected each column once, found {', '.join(twice)[:200]} twice")
    if unnamed := [column.name.replace("\0", "\\0") for column in shape.columns if not column.named]:
        raise NotReadable(f"expected names without the character NUL, found one in {unnamed[0][:200]}")
    if alike := next((column for column in shape.columns if column.alike is not None), None):
        shown_name = f"{alike.name}: {alike.alike}"[:200]
        raise NotReadable(f"expected members that differ by more than upper and lower case, found {shown_name}")
    files = file_list([str(folder / str(n)) for n in shape.numbers])
    types = _types(duck, files, as_string=False)
    # Bytes within nested values can only be text for all of them, or for none.
    as_string = any("BLOB" in str(type_) and str(type_) != "BLOB" for type_ in types)
    if as_string:
        types = _types(duck, files, as_string)
    source = _source(files, shape, as_string)
    if finer := _find_finer(duck, folder, shape):
        source += " LEFT JOIN _finer USING (_no, _row)"
    values = [
        Value(f"c{n}", column.name, types[n], n in finer, n in shape.by_arrow) for n, column in enumerate(shape.columns)
    ]
    problems, texts = meant(contract, values)
    problem = f"coalesce({', '.join(problems)})" if problems else "NULL::VARCHAR"
    columns = (f"{texts.get(c, 'NULL::VARCHAR')} AS {quoted(c)}" for c in text_columns(contract))
    return f"(SELECT _no, _row, {problem} AS _problem, {', '.join(columns)} FROM {source})"


def repeated(duck: Duck, folder: Path, shape: Shape, columns: Sequence[str]) -> frozenset[str]:
    """Which of these columns of text have few values, each many times, by what the footer of the largest file says of
    their size in a dictionary. A guess that costs time where it is wrong, and nothing else. Of files of text only:
    DuckDB writes all statistics of a footer as text, and a time that is none makes it read where it must not."""
    largest = max((folder / str(number) for number in shape.numbers), key=lambda path: path.stat().st_size)
    if not columns or largest.stat().st_size < _WORTH_A_LOOK or not all(column.text for column in shape.columns):
        return frozenset()
    found = duck.rows(
        f"SELECT path_in_schema FROM parquet_metadata({literal(str(largest))}) "
        f"WHERE path_in_schema IN ({', '.join(map(literal, columns))}) AND contains(encodings, 'DICTIONARY') "
        f"GROUP BY path_in_schema HAVING sum(total_uncompressed_size) < {_FEW_VALUES} * sum(num_values)"
    )
    return frozenset(name for (name,) in found)


def bare_text(duck: Duck, path: Path, error: Exception) -> bool:
    """Rewrite a file that has text which is not UTF-8, its columns of text as bytes, and say whether that was done.

    DuckDB refuses a whole page for one such value (also one that no row uses); of bytes, only the row is refused
    (`as_text`). Bytes within nested values are written as text, because DuckDB reads all bytes of a file as text or
    none. A file is left alone if its text is in order and the `error` speaks of none, if its text is broken within
    lists or structs, or if another column would not have the same type afterwards.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    new = path.with_name(f"{path.name}.bare")
    try:
        # DuckDB reads the old times of 96 bits to the microsecond, too.
        with pq.ParquetFile(path, pre_buffer=False, coerce_int96_timestamp_unit="us") as source:
            schema = _bare(source.schema_arrow)
            if schema == source.schema_arrow:
                return False
            if _NO_TEXT not in str(error) and not any(map(_is_no_text, source.iter_batches(_ROWS_AT_ONCE))):
                return False
            with pq.ParquetWriter(new, schema, compression="zstd", store_schema=False) as target:
                for batch in source.iter_batches(_ROWS_AT_ONCE):
                    columns = [_as(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
                    target.write_batch(pa.record_batch(columns, schema=schema))
        before, after = (_types(duck, file_list([str(p)]), as_string=False) for p in (path, new))
    except (pa.ArrowException, ValueError, duckdb.Error):
        return False
    except OSError as broken:
        if broken.errno is None:  # what pyarrow says of a file that is broken
            return False
        raise
    if not all(map(_is_same, before, after)):
        return False
    os.replace(new, path)
    return True


def _is_same(before: Any, after: Any) -> bool:
    """Whether a type of DuckDB is as it was but for text, which became bytes, and bytes within others, now text."""
    was, now = str(before), str(after)
    return was == now or (was, now) == ("VARCHAR", "BLOB") or (was != "BLOB" and was.replace("BLOB", "VARCHAR") == now)


def _as(column: pa.Array, type_: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(type_):
        column = column.dictionary_decode()
    return column.cast(type_)


def _bare(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([pa.field(f.name, pa.binary() if _is_text(f.type) else _with_text(f.type)) for f in schema])


def _with_text(type_: pa.DataType, nested: bool = False) -> pa.DataType:
    """The type with text in place of the bytes within it."""
    import pyarrow as pa

    if pa.types.is_map(type_):
        return pa.map_(_with_text(type_.key_type, True), _with_text(type_.item_type, True))
    if pa.types.is_struct(type_):
        return pa.struct([f.with_type(_with_text(f.type, True)) for f in type_])
    if pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_):
        member = type_.value_field.with_type(_with_text(type_.value_type, True))
        if pa.types.is_fixed_size_list(type_):
            return pa.list_(member, type_.list_size)
        return pa.large_list(member) if pa.types.is_large_list(type_) else pa.list_(member)
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return pa.string() if nested and any(is_kind(type_) for is_kind in kinds) else type_


def _is_text(type_: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(type_):
        return _is_text(type_.value_type)
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def _is_no_text(batch: pa.RecordBatch) -> bool:
    """Whether a column of text has a value that is no UTF-8."""
    import pyarrow as pa

    for column in batch.columns:
        if _is_text(column.type):
            plain = column.dictionary if pa.types.is_dictionary(column.type) else column
            try:
                plain.validate(full=True)
            except pa.ArrowInvalid:
                return True
    return False


def _types(duck: Duck, files: str, as_string: bool) -> list[Any]:
    options = f"hive_partitioning = false, binary_as_string = {str(as_string).lower()}"
    found = duck.connection.execute(f"SELECT * FROM read_parquet({files}, {options}) LIMIT 0").description
    return [type_ for _, type_, *_ in found]


def _source(files: str, shape: Shape, as_string: bool) -> str:
    """The rows of the files with their columns as c0, c1, …, but for those that Arrow reads, and _no and _row."""
    named = [f"c{n}" for n in range(len(shape.columns))]
    # To name one is enough for DuckDB to look at what the footer says of its smallest and largest value.
    given = [f"c{n}" for n in range(len(shape.columns)) if n not in shape.by_arrow]
    options = f"{files}, hive_partitioning = false, binary_as_string = {str(as_string).lower()}"
    if not {c.name.lower() for c in shape.columns}.isdisjoint(_OF_THE_READER):  # one file, see `shapes`
        rows = f"SELECT {shape.numbers[0]}::INTEGER AS _no, row_number() OVER () AS _row"
        rows += "".join(f", {name}" for name in given)
        return f"({rows} FROM read_parquet({options}) AS landed_file ({', '.join(named)}))"
    rows = "".join(("SELECT parse_filename(path)::INTEGER AS _no, number + 1 AS _row", *(f", {n}" for n in given)))
    listed = ", ".join((*named, "number", "path"))
    return f"({rows} FROM read_parquet({options}, filename = true, file_row_number = true) AS landed_file ({listed}))"


def _find_finer(duck: Duck, folder: Path, shape: Shape) -> frozenset[int]:
    """The places of the columns with values that DuckDB does not hold as they are. Table `finer` has the rows with any,
    or all rows if Arrow reads some columns: _no, _row, and the text of each such column as t<place>."""
    places = [n for n, column in enumerate(shape.columns) if column.finer or n in shape.by_arrow]
    if not places:
        return frozenset()
    texts = ", ".join(f"t{n} VARCHAR" for n in places)
    duck.run(f"CREATE OR REPLACE TEMP TABLE _finer (_no INTEGER, _row BIGINT, {texts})")
    found = False
    for number in shape.numbers:
        try:
            for table in _finer_of(folder / str(number), number, shape, places):
                found = True
                duck.connection.register("exact_rows", table)
                duck.run("INSERT INTO _finer SELECT * FROM exact_rows")
                duck.connection.unregister("exact_rows")
        except OSError as error:
            if error.errno is None:  # what pyarrow says of a file that is broken
                raise NotReadable(
                    f"expected a Parquet file that can be read, found: {without_values(error)}"
                ) from error
            raise
    return frozenset(places) if found else frozenset()


def _finer_of(path: Path, number: int, shape: Shape, places: Sequence[int]) -> Iterator[pa.Table]:
    """The rows of a file for table `finer`."""
    import pyarrow as pa

    before = 1
    names = [shape.columns[n].name for n in places]
    for batch, fine in _batches(path, [shape.columns[n] for n in places]):
        rows = np.arange(len(batch)) if shape.by_arrow else _finer_rows(batch, names)
        if len(rows):
            table = {"no": pa.array(np.full(len(rows), number, np.int32)), "row": pa.array(rows + before)}
            kept, fine = (each.take(pa.array(rows)) for each in (batch, fine))
            for n, name in zip(places, names, strict=True):
                texts = map(exact_values.text, kept.column(name), fine.column(name))
                table[f"t{n}"] = pa.array(list(texts), pa.string())
            yield pa.table(table)
        before += batch.num_rows


def _finer_rows(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    """The numbers of the rows with such a value in any of these columns."""
    return np.flatnonzero(np.any([exact_values.rows_with_any(batch.column(name)) for name in names], axis=0))
