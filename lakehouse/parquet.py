"""Landed Parquet files as rows of text, each value as its own file holds it.

Files are read together only if their schemas are exactly the same: beside others DuckDB would find a common type
before anything is written as text, and match names without their case, so that a value would depend on the files
beside it. What a writer typed is written as the contract's text would be. Columns are told apart by their place, since
their names may be any.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lakehouse.dropped import NotReadable, removal_sql, resolve
from lakehouse.duck import Duck, file_list
from lakehouse.failures import told
from lakehouse.schemas import literal, quoted
from lakehouse.validation import text_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts import Contract

_OF_THE_READER = ("filename", "file_row_number")  # what DuckDB calls the columns that it adds
_MOST_DIGITS = 38
_SAID = (
    "name", "type", "type_length", "repetition_type", "num_children", "converted_type", "scale", "precision",
    "logical_type", "duckdb_type",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of a file: its name as written, whether its times are finer than a microsecond, and whether it holds
    decimals of more digits than DuckDB keeps."""

    name: str
    finer: bool
    too_wide: bool


@dataclass(frozen=True)
class Shape:
    """Files of one folder, named by the numbers of their objects, that have exactly these columns and types."""

    numbers: tuple[int, ...]
    columns: tuple[Column, ...]

    def halves(self) -> tuple[Shape, Shape]:
        """The same in two parts."""
        middle = len(self.numbers) // 2
        return Shape(self.numbers[:middle], self.columns), Shape(self.numbers[middle:], self.columns)


def shapes(duck: Duck, folder: Path, numbers: Sequence[int]) -> list[Shape]:
    """The files in `folder` by their exact schemas; raises a `duckdb.Error` if one of them has none."""
    members = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in _SAID)
    found = duck.rows(
        f"SELECT list(number ORDER BY number), said FROM (SELECT parse_filename(file_name)::INTEGER AS number, "
        f"list(struct_pack({members}) ORDER BY column_id) AS said "
        f"FROM parquet_schema({file_list([str(folder / str(n)) for n in numbers])}) GROUP BY file_name) "
        "GROUP BY said ORDER BY min(number)"
    )
    result = []
    for together, said in found:
        columns = tuple(_columns(said))
        names = {column.name.lower() for column in columns}
        if names.isdisjoint(_OF_THE_READER):
            result.append(Shape(tuple(together), columns))
        else:
            result += [Shape((number,), columns) for number in together]
    return result


def _columns(said: Sequence[dict[str, Any]]) -> Iterator[Column]:
    """The columns of a schema, which Parquet writes as a tree: each element before its children, the root first."""
    place = 1
    while place < len(said):
        element = said[place]
        logical = element["logical_type"] or ""
        finer = "isAdjustedToUTC=1" in logical and "NANOS=Nano" in logical and not element["num_children"]
        yield Column(element["name"], finer, (element["precision"] or 0) > _MOST_DIGITS)
        open_ = 1
        while open_:
            open_ += (said[place]["num_children"] or 0) - 1
            place += 1


def as_text(duck: Duck, contract: Contract, folder: Path, shape: Shape) -> str:
    """A query for the rows of the files as text: _no, _row (from 1), _problem, and the columns of `text_columns`.

    It holds until the next call. Raises `NotReadable` for a field that is given twice, and a `duckdb.Error`."""
    names = [column.name for column in shape.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise NotReadable(f"expected each column once, found {', '.join(twice)[:200]} twice")
    files = file_list([str(folder / str(n)) for n in shape.numbers])
    types = _types(duck, files, as_string=False)
    # Bytes within nested values can only be text for all of them, or for none.
    as_string = any("BLOB" in str(type_) and str(type_) != "BLOB" for type_ in types)
    if as_string:
        types = _types(duck, files, as_string)
    source = _source(files, shape, as_string)
    if finer := _find_finer(duck, folder, shape):
        source += " LEFT JOIN finer USING (_no, _row)"
    values = [_Value(f"c{n}", column.name, types[n], n in finer) for n, column in enumerate(shape.columns)]
    problems, texts = _meant(contract, shape, values)
    problem = f"coalesce({', '.join(problems)})" if problems else "NULL::VARCHAR"
    columns = (f"{texts.get(c, 'NULL::VARCHAR')} AS {quoted(c)}" for c in text_columns(contract))
    return f"(SELECT _no, _row, {problem} AS _problem, {', '.join(columns)} FROM {source})"


def _types(duck: Duck, files: str, as_string: bool) -> list[Any]:
    options = f"hive_partitioning = false, binary_as_string = {str(as_string).lower()}"
    found = duck.connection.execute(f"SELECT * FROM read_parquet({files}, {options}) LIMIT 0").description
    return [type_ for _, type_, *_ in found]


def _source(files: str, shape: Shape, as_string: bool) -> str:
    """The rows of the files with their columns as c0, c1, …, and _no and _row."""
    named = [f"c{n}" for n in range(len(shape.columns))]
    options = f"{files}, hive_partitioning = false, binary_as_string = {str(as_string).lower()}"
    if not {c.name.lower() for c in shape.columns}.isdisjoint(_OF_THE_READER):  # one file, see `shapes`
        rows = f"SELECT {shape.numbers[0]}::INTEGER AS _no, row_number() OVER () AS _row, {', '.join(named)}"
        return f"({rows} FROM read_parquet({options}) AS landed_file ({', '.join(named)}))"
    rows = f"SELECT parse_filename(path)::INTEGER AS _no, number + 1 AS _row, {', '.join(named)}"
    listed = ", ".join((*named, "number", "path"))
    return f"({rows} FROM read_parquet({options}, filename = true, file_row_number = true) AS landed_file ({listed}))"


def _find_finer(duck: Duck, folder: Path, shape: Shape) -> frozenset[int]:
    """The places of the columns with moments finer than a microsecond, the rest of which DuckDB leaves out. Table
    `finer` has their rows: _no, _row, and the text of each such column as t<place>."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    places = [n for n, column in enumerate(shape.columns) if column.finer]
    found: list[pa.Table] = []
    for number in shape.numbers if places else ():
        before = 1
        try:
            with pq.ParquetFile(folder / str(number)) as file:
                for batch in file.iter_batches(columns=[shape.columns[n].name for n in places]):
                    rows = np.arange(before, before + batch.num_rows)
                    before += batch.num_rows
                    moments = [_nanoseconds(batch.column(shape.columns[n].name)) for n in places]
                    kept = np.any([pc.fill_null(m, 0).to_numpy() % 1000 != 0 for m in moments], axis=0)
                    if kept.any():
                        numbers = pa.array(np.full(len(rows), number, np.int32))
                        named = {f"n{n}": m for n, m in zip(places, moments, strict=True)}
                        found.append(pa.table({"_no": numbers, "_row": rows, **named}).filter(pa.array(kept)))
        except OSError as error:
            if error.errno is None:  # what pyarrow says of a file that is broken
                raise NotReadable(f"expected a Parquet file that can be read, found: {told(error)}") from error
            raise
    if not found:
        return frozenset()
    texts = ", ".join(
        f"strftime(make_timestamp(n{n} // 1000 - (n{n} % 1000 < 0)::BIGINT), '%Y-%m-%dT%H:%M:%S.%f') "
        f"|| lpad(((n{n} % 1000 + 1000) % 1000)::VARCHAR, 3, '0') || 'Z' AS t{n}"
        for n in places
    )
    duck.connection.register("moments", pa.concat_tables(found))
    duck.run(f"CREATE OR REPLACE TEMP TABLE finer AS SELECT _no, _row, {texts} FROM moments")
    duck.connection.unregister("moments")
    return frozenset(places)


def _nanoseconds(moments: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(pc.cast(moments, pa.timestamp("ns", "UTC")), pa.int64())


@dataclass(frozen=True)
class _Value:
    """A column in the query: its name there, as written, its type in DuckDB, and whether `finer` knows more of it."""

    sql: str
    given: str
    type_: Any
    finer: bool

    def text(self) -> str:
        """The value as the contract's text would be written."""
        if self.type_ == "BLOB":
            return f"coalesce(TRY(decode({self.sql})), CAST({self.sql} AS VARCHAR))"
        if self.type_ == "TIMESTAMP WITH TIME ZONE":
            text = f"strftime(timezone('UTC', {self.sql}), '%Y-%m-%dT%H:%M:%S.%fZ')"
            return f"coalesce(t{self.sql[1:]}, {text})" if self.finer else text
        if self.type_.id in _NESTED:
            return f"CAST(to_json(CAST({self.sql} AS {_text_type(self.type_)})) AS VARCHAR)"
        return self.sql if self.type_ == "VARCHAR" else f"CAST({self.sql} AS VARCHAR)"

    def json(self) -> str:
        """The value as a member of an object."""
        exact = self.type_.id in ("decimal", "hugeint", "uhugeint")
        return self.text() if exact or self.finer or self.type_ == "BLOB" else self.sql


_NESTED = ("list", "array", "struct", "map")


def _text_type(type_: Any) -> str:
    """The type with text for every scalar but booleans, so that JSON keeps each digit."""
    match type_.id:
        case "list" | "array":
            return f"{_text_type(type_.children[0][1])}[]"
        case "map":
            return f"MAP(VARCHAR, {_text_type(type_.children[1][1])})"
        case "struct":
            return "STRUCT(" + ", ".join(f"{quoted(name)} {_text_type(t)}" for name, t in type_.children) + ")"
        case "boolean":
            return "BOOLEAN"
        case _:
            return "VARCHAR"


def _meant(contract: Contract, shape: Shape, values: Sequence[_Value]) -> tuple[list[str], dict[str, str]]:
    """What may be wrong with a row's bytes, and the text of each column of the contract that the files have."""
    landed = contract.origin == "stream"
    columns = text_columns(contract)
    names = [v.given for v in values]
    meant = {n: n if n in columns else None for n in names} if landed else resolve(contract, names)
    problems, texts, unknown = [], {}, []
    for column, value in zip(shape.columns, values, strict=True):
        name = meant[value.given]
        if name is None:
            unknown.append(value)
            continue
        if column.too_wide:
            raise NotReadable(f"{name}: expected a decimal of at most {_MOST_DIGITS} digits, found one of more")
        removed = name == "_op" and not landed
        texts[name] = removal_sql(f"CAST({value.sql} AS VARCHAR)") if removed else value.text()
        if value.type_ == "BLOB":
            wrong = f"{value.sql} IS NOT NULL AND TRY(decode({value.sql})) IS NULL"
            told = literal(f"{name}: expected text in UTF-8, found other bytes")
            problems.append(f"CASE WHEN {wrong} THEN {told} END")
    if unknown:
        texts["_extra"] = _drifted(unknown, texts.get("_extra")) if landed else _others(unknown)
    return problems, texts


def _others(unknown: Sequence[_Value]) -> str:
    """The columns that nobody knows as a JSON object."""
    return f"json_object({', '.join(f'{literal(v.given)}, {v.json()}' for v in unknown)})::VARCHAR"


def _drifted(unknown: Sequence[_Value], extra: str | None) -> str:
    """DynamoDB JSON of the attributes that the relay did not know, and those that the contract does not: a relay may
    know a contract that the lake does not yet, and what it says is kept."""
    members = ", ".join(
        f"CASE WHEN {v.sql} IS NOT NULL THEN {literal(json.dumps(v.given) + ':')} || "
        f'to_json(struct_pack("S" := {v.text()}))::VARCHAR END'
        for v in unknown
    )
    more = f"nullif(concat_ws(',', {members}), '')"
    if extra is None:
        return f"'{{' || {more} || '}}'"
    both = f"left({extra}, -1) || ',' || {more} || '}}'"
    empty = f"{extra} IS NULL OR {extra} = '{{}}'"
    return f"CASE WHEN {more} IS NULL THEN {extra} WHEN {empty} THEN '{{' || {more} || '}}' ELSE {both} END"
