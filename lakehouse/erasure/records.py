"""An object's content without a person: rows of Parquet files, lines and records of texts.

Everything else in the object stays as it is. What cannot be taken apart is given up whole.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.change import CHANGE_COLUMNS
from lakehouse.erasure.compression import decompressed
from lakehouse.erasure.contents import text_leaves
from lakehouse.intake.erased import ALWAYS_NULL, pseudonym

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.erasure.needles import Needles

_DROP = object()


@dataclass
class Cleaned:
    """An object without a person: `content` is None if nothing is left, `rows` how many were deleted or changed, and
    `values` the personal ones that they had."""

    content: bytes | None
    rows: int
    values: set[str] = field(default_factory=set)


def clean_rows(contract: Contract, content: bytes, identity: str, token: str) -> Cleaned:
    """A landed Parquet object without a person, as the contract says. `rows` is 0 if it holds none of hers."""
    assert contract.erasure is not None
    source = pq.ParquetFile(io.BytesIO(content))
    cleaned = Cleaned(content, 0)
    buffer = io.BytesIO()
    with _writer(source, buffer) as writer:
        for number in range(source.num_row_groups):
            table = source.read_row_group(number)
            table = _without_person(contract, table, identity, token, cleaned)
            writer.write_table(table)
    if cleaned.rows:
        cleaned.content = buffer.getvalue()  # also without any row: a rebuild asks for every object that was merged
    return cleaned


def identities(contract: Contract, content: bytes) -> list[str]:
    """Every identity that a landed Parquet object names."""
    assert contract.erasure is not None
    source = pq.ParquetFile(io.BytesIO(content))
    named = [p for p in contract.erasure.persons if p in source.schema_arrow.names]
    found: set[str] = set()
    for column in source.read(columns=named).columns if named else ():
        found |= {text for text in pc.unique(_as_text(column)).to_pylist() if text}
    return sorted(found)


def _writer(source: pq.ParquetFile, target: io.BytesIO) -> pq.ParquetWriter:
    """Writes as the source was written."""
    codec = "snappy"
    if source.num_row_groups and source.metadata.num_columns:
        codec = source.metadata.row_group(0).column(0).compression.lower()
    return pq.ParquetWriter(target, source.schema_arrow, compression="none" if codec == "uncompressed" else codec)


def _without_person(contract: Contract, table: pa.Table, identity: str, token: str, cleaned: Cleaned) -> pa.Table:
    assert contract.erasure is not None
    for person in contract.erasure.persons:
        if person not in table.column_names:
            continue
        mine = pc.fill_null(pc.equal(_as_text(table.column(person)), identity), False)
        hits = pc.sum(mine).as_py() or 0
        if not hits:
            continue
        cleaned.rows += hits
        cleaned.values |= set(_personal_values(contract, table.filter(mine), person))
        if contract.erasure.rows == "delete":
            table = table.filter(pc.invert(mine))
            continue
        for name in (*contract.field_names, *CHANGE_COLUMNS):
            how = "null" if name in ALWAYS_NULL else contract.treatment(name, person) if name[0] != "_" else "keep"
            if how != "keep" and name in table.column_names:
                table = _with_value(table, name, mine, pseudonym(token) if how == "pseudonym" else None)
    return table


def _personal_values(contract: Contract, rows: pa.Table, person: str) -> Iterator[str]:
    assert contract.erasure is not None
    deleted = contract.erasure.rows == "delete"
    for name in contract.personal:
        if name in rows.column_names and (deleted or contract.treatment(name, person) != "keep"):
            for chunk in rows.column(name).chunks:
                for texts in text_leaves(chunk):
                    yield from (text for text in pc.unique(texts).to_pylist() if text)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if not pa.types.is_string(column.type) else column


def _with_value(table: pa.Table, name: str, mine: pa.ChunkedArray, value: str | None) -> pa.Table:
    at = table.column_names.index(name)
    column = table.column(name)
    wanted = pa.scalar(value, pa.string()).cast(column.type) if value is not None else pa.scalar(None, column.type)
    return table.set_column(at, table.schema.field(at), pc.if_else(mine, wanted, column))


def drop_rows(content: bytes, needles: Needles) -> Cleaned:
    """A quarantine file without the rows that hold a needle in any column: they broke their contract, and who wants
    them again takes in the object that they came in, which is without the person by then."""
    source = pq.ParquetFile(io.BytesIO(content))
    table = source.read()
    mine = [any(needles.in_text(text) for text in row.values() if isinstance(text, str)) for row in table.to_pylist()]
    if not any(mine):
        return Cleaned(content, 0)
    left = table.filter(pa.array([not hit for hit in mine], pa.bool_()))
    buffer = io.BytesIO()
    with _writer(source, buffer) as writer:
        writer.write_table(left)
    return Cleaned(buffer.getvalue() if left.num_rows else None, sum(mine))


def clean_text(content: bytes, needles: Needles) -> Cleaned:
    """Any other object without the records that hold a needle: elements of lists in a JSON document, lines of a text;
    if it is neither, or nothing is left, all of it."""
    plain = decompressed(content)
    compressed = plain is not content
    found = _clean_document(plain, needles)
    if found is None:
        found = _clean_lines(plain, needles)
    if found.rows == 0:
        return Cleaned(content, 0)
    if found.content is not None and compressed:
        found.content = gzip.compress(found.content, mtime=0)
    return found


def _clean_document(content: bytes, needles: Needles) -> Cleaned | None:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    dropped: list[Any] = []
    left = _cleaned(document, needles, dropped)
    if left is _DROP:
        return Cleaned(None, 1)
    return Cleaned(orjson.dumps(left) if dropped else content, len(dropped))


def _cleaned(value: Any, needles: Needles, dropped: list[Any]) -> Any:
    """The value without elements of lists that hold a needle; `_DROP` where one is outside of any list."""
    match value:
        case str():
            return _DROP if needles.in_text(value) else value
        case list():
            kept = []
            for inner in value:
                left = _cleaned(inner, needles, dropped)
                if left is _DROP:
                    dropped.append(True)
                else:
                    kept.append(left)
            return kept
        case dict():
            return _cleaned_members(value, needles, dropped)
    return value


def _cleaned_members(members: Mapping[str, Any], needles: Needles, dropped: list[Any]) -> Any:
    found = {}
    for key, inner in members.items():
        left = _cleaned(inner, needles, dropped)
        if left is _DROP or needles.in_text(key):
            return _DROP
        found[key] = left
    return found


def _clean_lines(content: bytes, needles: Needles) -> Cleaned:
    kept, dropped = [], 0
    for line in content.splitlines(keepends=True):
        found = _clean_document(line, needles) if line.strip().startswith((b"{", b"[")) else None
        if found is None:
            found = Cleaned(None, 1) if needles.in_raw(line) else Cleaned(line, 0)
        dropped += found.rows
        if found.content is None:
            continue
        kept.append(found.content if not found.rows else found.content + b"\n")
    left = b"".join(kept)
    if dropped and (not left.strip() or b"\x00" in content):
        return Cleaned(None, dropped)
    return Cleaned(left, dropped)
