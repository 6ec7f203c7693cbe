"""From the lines of an export file to landed text: by SQL that is generated from the contracts, a stretch at a time.

The mapping is `contracts.change`'s, row by row. SQL maps the usual rows only, and tells them by what cannot deceive:
each member of the item is one that the contract knows, once, with the DynamoDB type that it expects. All others (drift,
sets, other types, members that come twice, versions that are no plain numbers, removals) are mapped by
`contracts.change` itself. Where the rows go belongs to `landing`.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from contracts.change import (
    SEQUENCE_WIDTH,
    Row,
    change_from_export,
    change_from_item,
    kind_of,
    reader_of_nested,
)
from contracts.item import BY, FIELD_TIMESTAMPS, POINTER, system_attributes
from contracts.types import BooleanType, FieldType, ListType, MapType, StructType
from lakehouse.exports.manifest import Export, ExportFile, UnusableExport
from lakehouse.storage.duck import Duck
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.relations import text_columns

if TYPE_CHECKING:
    from contracts import Contract, Contracts

STRETCH = 32 << 20
"""Bytes of text that are mapped at once: bounds memory, and is enough rows for the engine."""
LONGEST_LINE = 64 << 20
"""An item has at most 400 KB; as JSON it takes up to seven times as much, and an incremental export has it twice."""

_LINES, _SHARED = "exported_lines", "exported_shared"
_SECOND = 1_000_000
_KINDS = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS")
_SECOND_MEMBER = rf',\s*"(Item|{"|".join(_KINDS)})"\s*:'
"""Follows where an attribute has two types, which JSON allows; also where somebody's map has such a key."""
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, RecursionError)


@dataclass(frozen=True, slots=True)
class Unmapped:
    """An item that is no change, whole: its line in the file (from 1), why, and its text."""

    line: int
    reason: str
    text: bytes


@dataclass(frozen=True)
class Mapped:
    """A stretch of a file. `relations` are temporary tables of landed text by entity, with `_line` (from 1) beside the
    columns of `text_columns`; they hold until the next stretch is mapped. `items` counts lines, `pointers` those that
    only say where another item is, `slow` those that were mapped one by one."""

    relations: dict[str, str]
    unmapped: tuple[Unmapped, ...]
    items: int
    pointers: int
    slow: int
    bytes: int


class Mapper:
    """Maps the files of one export; use it in one thread with its own connection."""

    def __init__(self, duck: Duck, contracts: Contracts, export: Export) -> None:
        self._duck, self._contracts, self._export = duck, contracts, export
        self._entities = {c.name: c for c in contracts.of_origin("stream")}
        self._statements: dict[str, str] = {}

    def stretches(self, file: ExportFile, path: Path) -> Iterator[Mapped]:
        """The rows of a fetched file, stretch by stretch, in its order. Raises `UnusableExport` in the middle or at the
        end if the file cannot be unpacked, or has not as many items as the manifest says."""
        items = 0
        for text in _blocks(path, file):
            mapped = self._map(text, items)
            items += mapped.items
            yield mapped
        if file.items is not None and items != file.items:
            raise UnusableExport(
                f"{file.key}: expected {file.items} items as the manifest says, found {items}; export again"
            )

    def _map(self, text: bytes, before: int) -> Mapped:
        lines = _lines(text, before)
        relations: dict[str, str] = {}
        odd: list[tuple[int, str]] = []
        try:
            lines.validate(full=True)  # UTF-8, which the engine takes for granted
            pointers = self._by_sql(lines, relations, odd)
        except (pa.ArrowInvalid, duckdb.InvalidInputException) as error:
            if isinstance(error, duckdb.Error) and "Malformed JSON" not in str(error):
                raise
            relations, pointers = {}, 0  # a line is no JSON, or no text: all of the stretch pays for it
            found = lines.column("line").cast(pa.binary()).to_pylist()
            slow, aside = self._by_hand(zip(lines.column("_line").to_pylist(), found, strict=True))
        else:
            slow, aside = self._by_hand((number, line.encode()) for number, line in odd)
        for entity, rows in slow.items():
            self._add(entity, rows, relations)
        mapped_slowly = sum(map(len, slow.values())) + len(aside)
        return Mapped(relations, tuple(aside), lines.num_rows, pointers, mapped_slowly, len(text))

    def _by_sql(self, lines: pa.Table, relations: dict[str, str], odd: list[tuple[int, str]]) -> int:
        """Map the usual rows; adds what is not usual to `odd`, and answers how many pointers there are."""
        connection, pointers = self._duck.connection, 0
        entity = "NewImage" if self._export.kind == "incremental" else "Item"
        connection.register(_LINES, lines)
        try:
            self._duck.run(
                f"CREATE OR REPLACE TEMP TABLE {_SHARED} AS SELECT _line, line, "
                f"json_extract_string(line, '$.{entity}.entity.S') AS entity FROM {_LINES}"
            )
        finally:
            connection.unregister(_LINES)
        for name, rows in self._duck.rows(f"SELECT entity, count(*) FROM {_SHARED} GROUP BY ALL ORDER BY ALL"):
            if name == POINTER:
                pointers = rows
            elif name in self._entities:
                relations[name] = relation = f"exported_{name}"
                self._duck.run(f"CREATE OR REPLACE TEMP TABLE {relation} AS {self._statement(name)}")
                if unusual := self._duck.rows(f"SELECT _line FROM {relation} WHERE NOT usual"):
                    numbers = [number for (number,) in unusual]
                    odd += self._duck.rows(f"SELECT _line, line FROM {_SHARED} WHERE _line IN $1", [numbers])
                    self._duck.run(f"DELETE FROM {relation} WHERE NOT usual")
            else:
                odd += self._duck.rows(
                    f"SELECT _line, line FROM {_SHARED} WHERE entity IS NOT DISTINCT FROM $1", [name]
                )
        self._duck.run(f"DROP TABLE {_SHARED}")
        return pointers

    def _statement(self, entity: str) -> str:
        if entity not in self._statements:
            contract = self._entities[entity]
            _define_readers(self._duck, contract)
            self._statements[entity] = statement(contract, self._export)
        return self._statements[entity]

    def _by_hand(self, lines: Iterable[tuple[int, bytes]]) -> tuple[dict[str, list[Row]], list[Unmapped]]:
        """Rows by entity, with their `_line`, of lines that are mapped one by one, and those that are no change."""
        rows: dict[str, list[Row]] = {}
        aside = []
        for number, line in lines:
            try:
                mapped = change_of_line(line, self._contracts, self._export)
                if mapped is None:
                    continue
                entity, row = mapped
                if not all(value is None or isinstance(value, str) for value in row.values()):
                    raise TypeError("expected DynamoDB JSON, found an attribute whose value is of another type")
            except _UNREADABLE as error:
                aside.append(Unmapped(number, f"{type(error).__name__}: {error}", line.rstrip()))
                continue
            rows.setdefault(entity, []).append({**row, "_line": str(number)})
        return rows, aside

    def _add(self, entity: str, rows: list[Row], relations: dict[str, str]) -> None:
        """Add rows that were mapped one by one to their entity's relation."""
        columns = ("_line", *text_columns(self._entities[entity]))
        table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in columns})
        texts = ", ".join(map(quoted, columns[1:]))
        selected = f"SELECT _line::BIGINT AS _line, {texts} FROM {_LINES}"
        self._duck.connection.register(_LINES, table)
        try:
            if entity in relations:
                self._duck.run(f"INSERT INTO {relations[entity]} SELECT *, true FROM ({selected})")
            else:
                relations[entity] = f"exported_{entity}"
                self._duck.run(
                    f"CREATE OR REPLACE TEMP TABLE {relations[entity]} AS SELECT *, true AS usual FROM ({selected})"
                )
        finally:
            self._duck.connection.unregister(_LINES)


def change_of_line(line: bytes, contracts: Contracts, export: Export) -> tuple[str, Row] | None:
    """Entity and row of a line of an export file; None for a pointer. Raises `contracts.change.UnmappableRecord`, and
    whatever an unreadable line raises."""
    record = orjson.loads(line)
    if export.kind == "incremental":
        return change_from_export(record, contracts, old_images=export.old_images)
    return change_from_item(record["Item"], contracts, event_id=event_of(export), read_at=export.at)


def event_of(export: Export) -> str:
    """The `_event_id` of the snapshots of a full export: an item is in it once."""
    return f"export:{export.id}"


def statement(contract: Contract, export: Export) -> str:
    """The query that maps the usual rows of an entity among `exported_shared`: `_line` and the columns of
    `text_columns`, and whether the row is `usual`: what it has in the others means nothing."""
    attributes = _attributes(contract)
    members = ", ".join(f'"{name}": {{"{kind}": "{type_}"}}' for name, (kind, type_) in attributes.items())
    incremental = export.kind == "incremental"
    image = "NewImage" if incremental else "Item"
    shape = f'{{"{image}": {{{members}}}{_MORE if incremental else ""}}}'
    known = " + ".join(f"(i.{quoted(name)}.{kind} IS NOT NULL)::INT" for name, (kind, _) in attributes.items())
    columns = {f.name: _column(contract, f.name) for f in contract.fields} | _system(contract, export)
    selected = ", ".join(f"{columns[name]} AS {quoted(name)}" for name in text_columns(contract))
    nested = [f"(({columns[name]}) IS NULL) = (i.{quoted(name)}.{kind} IS NULL)" for name, kind in _nested(contract)]
    usual = " AND ".join(
        [
            f"members = {known}",
            "NOT doubled",
            "coalesce(regexp_full_match(i._version.N, '[0-9]{1,17}'), true)",
            *nested,
            *(["written IS NOT NULL"] if incremental else []),
        ]
    )
    # Materialized and without a filter, or the engine would parse the line again for each column.
    return (
        f"WITH parsed AS MATERIALIZED (SELECT _line, len(json_keys(line, '$.{image}')) AS members, "
        f"regexp_matches(line, {literal(_SECOND_MEMBER)}) AS doubled, "
        f"json_transform(line, {literal(shape)}) AS t FROM {_SHARED} WHERE entity = {literal(contract.name)}) "
        f"SELECT _line, {selected}, coalesce({usual}, false) AS usual FROM "
        f"(SELECT _line, members, doubled, t.{image} AS i{_AND_MORE if incremental else ''} FROM parsed)"
    )


_MORE = ', "Metadata": {"WriteTimestampMicros": "JSON"}, "OldImage": {"_version": "JSON"}'
_WRITTEN = r'^(?:\{"N":)?"?([0-9]{7,17})"?\}?$'
_AND_MORE = (
    f", nullif(regexp_extract(t.Metadata.WriteTimestampMicros::VARCHAR, {literal(_WRITTEN)}, 1), '')::BIGINT AS written"
    ", t.OldImage AS old"
)


def _attributes(contract: Contract) -> dict[str, tuple[str, str]]:
    """What the usual item may have: its attributes, each with its DynamoDB type and how SQL reads it."""
    found = dict.fromkeys(sorted(system_attributes(contract)), ("S", "VARCHAR"))
    found |= {name: (kind, "VARCHAR") for name, kind in (("_version", "N"), ("ttl", "N"), (BY, "S"))}
    found |= {"_deleted": ("BOOL", "BOOLEAN"), FIELD_TIMESTAMPS: ("M", "JSON")}
    for field in contract.fields:
        kind = kind_of(field.type)
        found[field.name] = (kind, {"BOOL": "BOOLEAN", "S": "VARCHAR", "N": "VARCHAR"}.get(kind, "JSON"))
    return found


def _nested(contract: Contract) -> list[tuple[str, str]]:
    return [(f.name, kind_of(f.type)) for f in contract.fields if isinstance(f.type, ListType | MapType | StructType)]


def _column(contract: Contract, name: str) -> str:
    """A field's text."""
    type_ = contract.field(name).type
    kind = kind_of(type_)
    value = f"i.{quoted(name)}.{kind}"
    if isinstance(type_, ListType | MapType | StructType):
        return f"""{_reader_name(type_)}('{{"{kind}":' || {value} || '}}')"""
    return f"{value}::VARCHAR" if isinstance(type_, BooleanType) else value


def _system(contract: Contract, export: Export) -> dict[str, str]:
    """The columns of the change, as `change_from_item` and `change_from_export` make them."""
    deleted = "coalesce(i._deleted.BOOL, false)"
    if export.kind == "incremental":
        operation = "CASE WHEN old IS NULL THEN 'insert' ELSE 'modify' END" if export.old_images else "'snapshot'"
        unchanged = (
            """i._version.N IS NULL OR coalesce(old._version::VARCHAR = '{"N":"' || i._version.N || '"}', false)"""
        )
        changed = {
            "_event_id": "'write:' || written",
            "_op": f"CASE WHEN {deleted} THEN 'remove' ELSE {operation} END",
            "_version": f"(written // {_SECOND} * {_SECOND} + {_SECOND - 1})::VARCHAR",
            "_changed_at": f"strftime(make_timestamp(written // {_SECOND} * {_SECOND}), '%Y-%m-%dT%H:%M:%SZ')",
            BY: f"CASE WHEN {unchanged} THEN NULL ELSE i.{BY}.S END",
        }
    else:
        read = int(export.at.timestamp())
        second = f"least(coalesce(i._version.N::BIGINT // {_SECOND}, {read}), {read})"
        changed = {
            "_event_id": literal(event_of(export)),
            "_op": f"CASE WHEN {deleted} THEN 'remove' ELSE 'snapshot' END",
            "_version": f"({second} * {_SECOND} + {_SECOND - 1})::VARCHAR",
            "_changed_at": literal(f"{export.at:%Y-%m-%dT%H:%M:%S}Z"),
            BY: f"i.{BY}.S",
        }
    return changed | {
        "_seq": literal("0" * SEQUENCE_WIDTH),
        "_ttl": "i.ttl.N",
        "_contract": f"coalesce(nullif(i._contract.S, ''), {literal(contract.version)})",
        "_extra": "NULL::VARCHAR",
    }


def _reader_name(type_: FieldType) -> str:
    """The name of the engine's function for nested fields of that type: the same type has the same function, since
    connections of one engine share them."""
    return f"exported_{hashlib.sha256(repr(type_).encode()).hexdigest()[:16]}"


def _define_readers(duck: Duck, contract: Contract) -> None:
    """Let the engine read the entity's nested fields by the function that reads them elsewhere, to the same bytes."""
    for name, _ in _nested(contract):
        type_ = contract.field(name).type
        texts = partial(_read_texts, reader_of_nested(type_))
        define: Any = duck.connection.create_function
        with suppress(duckdb.NotImplementedException, duckdb.CatalogException):  # it is there already
            define(_reader_name(type_), texts, ["VARCHAR"], "VARCHAR", type="arrow")


def _read_texts(read: Callable[[str], str | None], values: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if value is None else read(value) for value in values.to_pylist()], pa.string())


def _blocks(path: Path, file: ExportFile) -> Iterator[bytes]:
    """The unpacked text of a file in stretches of whole lines; nothing of an empty file."""
    rest = b""
    with path.open("rb") as source:
        for block in _unpacked(source, file):
            cut = block.rfind(b"\n") + 1
            if cut:
                yield rest + block[:cut]
                rest = block[cut:]
            else:
                rest += block
            if len(rest) > LONGEST_LINE:
                raise UnusableExport(
                    f"{file.key}: expected lines of at most {LONGEST_LINE:,} bytes, found a longer one; export again"
                )
    if rest.strip():
        yield rest


def _unpacked(source: BinaryIO, file: ExportFile) -> Iterator[bytes]:
    if not source.peek(1):  # type: ignore[attr-defined]
        return
    packed = gzip.GzipFile(fileobj=source)
    try:
        while block := packed.read(STRETCH):
            yield block
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise UnusableExport(
            f"{file.key}: expected a whole file of gzip, found one that is cut or damaged ({error}); bring it back, or "
            "export again"
        ) from error


def _lines(text: bytes, before: int) -> pa.Table:
    """A table of the lines of a text (`line`, not copied) with their numbers in the file (`_line`); blank ones count
    for nothing."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 10) + 1
    offsets = np.concatenate(([0], ends, [len(text)] if not len(ends) or ends[-1] != len(text) else [])).astype(
        np.int32
    )
    offsets = np.concatenate((offsets[:1], offsets[1:][np.diff(offsets) > 1]))
    lines = pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(text))
    return pa.table({"_line": pa.array(np.arange(before + 1, before + len(offsets))), "line": lines})
