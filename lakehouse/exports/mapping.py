"""From the lines of an export file to landed text: by SQL that is generated from the contracts, a stretch at a time.

The mapping is `contracts.change`'s, row by row. SQL maps the usual rows only, and tells them by what cannot deceive:
each member of the item is one that the contract knows, once, with the DynamoDB type that it expects. All others (drift,
sets, other types, members that come twice, versions that are no plain numbers, removals) are mapped by
`contracts.change` itself. Where the rows go belongs to `landing`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from contracts.change import (
    SEQUENCE_WIDTH,
    Row,
    UnmappableRecord,
    change_from_export,
    change_from_item,
    kind_of,
    reader_of_nested,
)
from contracts.item import BY, FIELD_TIMESTAMPS, POINTER, system_attributes
from contracts.types import BooleanType, ListType, MapType, StructType
from lakehouse.exports.manifest import Export, ExportFile, UnusableExport
from lakehouse.storage.duck import Duck
from lakehouse.storage.sql import literal, quoted, total
from lakehouse.table.relations import text_columns

if TYPE_CHECKING:
    from contracts import Contract, Contracts

STRETCH = 32 << 20
"""Bytes of text that are mapped at once: bounds memory, and is enough rows for the engine."""
LONGEST_LINE = 64 << 20
"""An item has at most 400 KB; as JSON it takes up to seven times as much, and an incremental export has it twice."""

_LINES = "exported_lines"
_SECOND = 1_000_000
_NEWLINE = 10
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

    @property
    def keys(self) -> tuple[str, str] | None:
        """The keys (pk, sk) of the item of a full export; None if the line is not even an item with a key."""
        return keys_of(self.text)


def keys_of(text: str | bytes) -> tuple[str, str] | None:
    """The keys (pk, sk) of the item in a line of a full export; None where there are none."""
    try:
        item = json.loads(text)["Item"]
        return str(item["pk"]["S"]), str(item["sk"]["S"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


@dataclass(frozen=True)
class Mapped:
    """A stretch of a file: `tables` of landed text by entity, with `_line` (in the file, from 1) before the columns of
    `text_columns`. `items` counts lines, `pointers` those that only say where another item is, `slow` those that were
    mapped one by one, `unmapped` ones included."""

    tables: dict[str, pa.Table]
    unmapped: tuple[Unmapped, ...]
    items: int
    pointers: int
    slow: int
    bytes: int

    def rows(self, entity: str) -> int:
        """How many rows of an entity there are."""
        return self.tables[entity].num_rows if entity in self.tables else 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Whole lines of an export file, decompressed, and how many lines came before them."""

    text: bytes
    before: int


class Mapper:
    """Maps the files of one export; use it in one thread with its own connection. `wanted` names the entities whose
    rows are made; whether an item can be mapped is looked at for all."""

    def __init__(self, duck: Duck, contracts: Contracts, export: Export, wanted: Collection[str] | None = None) -> None:
        self._duck, self._contracts, self._export = duck, contracts, export
        self._entities = {c.name: c for c in contracts.of_origin("stream")}
        self._wanted = self._entities.keys() if wanted is None else self._entities.keys() & set(wanted)
        self._statements: dict[str, str] = {}

    def map(self, stretch: Stretch) -> Mapped:
        """The rows of a stretch, usual ones first, then others, each in their order."""
        lines = lines_of(stretch)
        try:
            lines.validate(full=True)  # UTF-8, which the engine takes for granted
            tables, odd, pointers = self._by_sql(lines)
        except (pa.ArrowInvalid, duckdb.InvalidInputException) as error:
            if isinstance(error, duckdb.Error) and "Malformed JSON" not in str(error):
                raise
            tables, odd, pointers = {}, lines, 0  # a line is no JSON, or no text: all of the stretch pays for it
        numbers, texts = odd.column("_line").to_pylist(), odd.column("line").cast(pa.binary()).to_pylist()
        rows, aside = self._by_hand(zip(numbers, texts, strict=True))
        for entity in sorted(rows.keys() & self._wanted):
            slow = self._table(entity, rows[entity])
            tables[entity] = pa.concat_tables([tables[entity], slow]) if entity in tables else slow
        return Mapped(tables, tuple(aside), lines.num_rows, pointers, odd.num_rows, len(stretch.text))

    def _by_sql(self, lines: pa.Table) -> tuple[dict[str, pa.Table], pa.Table, int]:
        """Usual rows by entity, the lines that are not usual, and how many pointers there are."""
        image = "NewImage" if self._export.kind == "incremental" else "Item"
        query = f"SELECT json_extract_string(line, '$.{image}.entity.S') AS entity FROM {_LINES}"
        with self._registered(lines):
            entities = self._duck.arrow(query).column("entity")
        tables, odd = {}, []
        for entity in sorted(pc.unique(entities).to_pylist(), key=str):
            if entity == POINTER or (entity in self._entities and entity not in self._wanted):
                continue
            of_entity = pc.is_null(entities) if entity is None else pc.fill_null(pc.equal(entities, entity), False)
            own = lines if pc.all(of_entity).as_py() else lines.filter(of_entity)
            if entity not in self._entities:
                odd.append(own)
                continue
            with self._registered(own):
                mapped = _read_nested(self._entities[entity], self._duck.arrow(self._statement(entity)))
            usual = mapped.column("_usual")
            tables[entity] = mapped = mapped.drop_columns(["_usual"])
            if not pc.all(usual).as_py():
                tables[entity] = mapped.filter(usual)
                odd.append(own.filter(pc.is_in(own.column("_line"), mapped.filter(pc.invert(usual)).column("_line"))))
        pointers = pc.sum(pc.equal(entities, POINTER)).as_py() or 0
        return tables, pa.concat_tables([lines.slice(0, 0), *odd]), pointers

    @contextmanager
    def _registered(self, lines: pa.Table) -> Iterator[None]:
        self._duck.connection.register(_LINES, lines)
        try:
            yield
        finally:
            self._duck.connection.unregister(_LINES)

    def _statement(self, entity: str) -> str:
        if entity not in self._statements:
            self._statements[entity] = statement(self._entities[entity], self._export)
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

    def _table(self, entity: str, rows: list[Row]) -> pa.Table:
        columns = text_columns(self._entities[entity])
        texts = {name: pa.array([row[name] for row in rows], pa.string()) for name in columns}
        return pa.table({"_line": pa.array([int(row["_line"] or 0) for row in rows], pa.int64()), **texts})


def stretches_of(file: ExportFile, path: Path) -> Iterator[Stretch]:
    """A fetched file, decompressed, stretch by stretch. Raises `UnusableExport` in the middle or at the end if the file
    cannot be decompressed, or has not as many items as the manifest says."""
    items = 0
    for text in _blocks(path, file):
        yield Stretch(text, items)
        items += _count(text)
    if file.items is not None and items != file.items:
        raise UnusableExport(
            f"{file.key}: expected {file.items} items as the manifest says, found {items}; export again"
        )


def change_of_line(line: bytes, contracts: Contracts, export: Export) -> tuple[str, Row] | None:
    """Entity and row of a line of an export file; None for a pointer. Raises `contracts.change.UnmappableRecord`, and
    whatever an unreadable line raises."""
    record = orjson.loads(line)
    if export.kind == "incremental":
        mapped = change_from_export(record, contracts, old_images=export.old_images)
        if mapped is not None and int(mapped[1]["_version"] or 0) > _last(export):
            raise UnmappableRecord(
                f"expected a write before the window's end, {export.at.isoformat()}, found a later one"
            )
        return mapped
    return change_from_item(record["Item"], contracts, event_id=event_of(export), read_at=export.at)


def _last(export: Export) -> int:
    """The last version that a write of an incremental export can have."""
    return int(export.at.timestamp()) * _SECOND + _SECOND - 1


def event_of(export: Export) -> str:
    """The `_event_id` of the snapshots of a full export: an item is in it once."""
    return f"export:{export.id}"


def statement(contract: Contract, export: Export) -> str:
    """The query that maps the usual rows of an entity, whose lines are `exported_lines`: `_line` and the columns of
    `text_columns`, and whether the row is `_usual`: what it has in the others means nothing."""
    attributes = _attributes(contract)
    members = ", ".join(f'"{name}": {{"{kind}": "{type_}"}}' for name, (kind, type_) in attributes.items())
    incremental = export.kind == "incremental"
    image = "NewImage" if incremental else "Item"
    shape = f'{{"{image}": {{{members}}}{_MORE if incremental else ""}}}'
    known = total([f"(i.{quoted(name)}.{kind} IS NOT NULL)::INT" for name, (kind, _) in attributes.items()])
    columns = {f.name: _column(contract, f.name) for f in contract.fields} | _system(contract, export)
    selected = ", ".join(f"{columns[name]} AS {quoted(name)}" for name in text_columns(contract))
    usual = " AND ".join(
        [
            f"members = {known}",
            "NOT doubled",
            "coalesce(regexp_full_match(i._version.N, '[0-9]{1,17}'), true)",
            *([f"written <= {_last(export)}"] if incremental else []),
        ]
    )
    # Materialized and without a filter, or the engine would parse the line again for each column.
    return (
        f"WITH parsed AS MATERIALIZED (SELECT _line, len(json_keys(line, '$.{image}')) AS members, "
        f"regexp_matches(line, {literal(_SECOND_MEMBER)}) AS doubled, "
        f"json_transform(line, {literal(shape)}) AS t FROM {_LINES}) "
        f"SELECT _line, {selected}, coalesce({usual}, false) AS _usual FROM "
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
        return f"""'{{"{kind}":' || {value} || '}}'"""  # an attribute, which `_read_nested` reads
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
        second = f"least(coalesce(TRY_CAST(i._version.N AS BIGINT) // {_SECOND}, {read}), {read})"
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


def _read_nested(contract: Contract, mapped: pa.Table) -> pa.Table:
    """The mapped rows with the text of nested fields, by the function that reads them elsewhere, so that each byte is
    the same; where one does not fit, the row is not `usual`."""
    for name, _ in _nested(contract):
        values = mapped.column(name).to_pylist()
        read = reader_of_nested(contract.field(name).type)
        texts = [None if value is None else read(value) for value in values]
        mapped = mapped.set_column(mapped.schema.get_field_index(name), name, pa.array(texts, pa.string()))
        if any(text is None and value is not None for text, value in zip(texts, values, strict=True)):
            fits = pa.array([text is not None or value is None for text, value in zip(texts, values, strict=True)])
            usual = pc.and_(mapped.column("_usual"), fits)
            mapped = mapped.set_column(mapped.schema.get_field_index("_usual"), "_usual", usual)
    return mapped


def _blocks(path: Path, file: ExportFile) -> Iterator[bytes]:
    """The decompressed text of a file in stretches of whole lines; nothing of an empty file."""
    rest = b""
    with path.open("rb") as source:
        for block in _decompressed(source, file):
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


def _decompressed(source: BinaryIO, file: ExportFile) -> Iterator[bytes]:
    if not source.peek(1):  # type: ignore[attr-defined]
        return
    compressed = gzip.GzipFile(fileobj=source)
    try:
        while block := compressed.read(STRETCH):
            yield block
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise UnusableExport(
            f"{file.key}: expected a whole file of gzip, found one that is cut or damaged ({error}); bring it back, or "
            "export again"
        ) from error


def _count(text: bytes) -> int:
    """How many lines of a text are not blank."""
    return len(_offsets(text)) - 1


def lines_of(stretch: Stretch) -> pa.Table:
    """A table of the lines of a stretch (`line`, not copied) with their numbers in the file (`_line`)."""
    offsets = _offsets(stretch.text)
    lines = pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(stretch.text))
    numbers = np.arange(stretch.before + 1, stretch.before + len(offsets))
    return pa.table({"_line": pa.array(numbers, pa.int64()), "line": lines})


def _offsets(text: bytes) -> np.ndarray:
    """Where lines begin, and where the last one ends; blank ones belong to the next."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _NEWLINE) + 1
    offsets = np.concatenate(([0], ends, [len(text)] if not len(ends) or ends[-1] != len(text) else []))
    return np.concatenate((offsets[:1], offsets[1:][np.diff(offsets) > 1])).astype(np.int32)
