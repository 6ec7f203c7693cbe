"""Changes that hold their contracts, for any entity, and their landing as Firehose and other systems write them."""

from __future__ import annotations

import io
import json
import re
import string
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import Contract, Contracts
from contracts.change import CHANGE_COLUMNS
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)

_BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
_LETTERS = re.compile(r"\^\[A-Z\]\{(\d+)\}\$")
Row = dict[str, str | None]


@dataclass(frozen=True)
class MicroBatch:
    """One object for each entity; `keys` are the numbers of the items that change, `version` their new version."""

    number: int
    version: int
    keys: Sequence[int]


def land(client: Any, bucket: str, contracts: Contracts, batches: Iterable[tuple[str, MicroBatch]]) -> int:
    """Land one object per entity, all at about the same time; returns the changes landed."""

    def put(entity: str, batch: MicroBatch) -> int:
        contract = contracts[entity]
        rows = [change(contract, key, batch.version) for key in batch.keys]
        client.put_object(Bucket=bucket, Key=object_key(contract, batch.number), Body=content(contract, rows))
        return len(rows)

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(lambda item: put(*item), batches))


def object_key(contract: Contract, number: int) -> str:
    """Where the object arrives now."""
    now = datetime.now(UTC)
    if contract.origin == "files":
        return f"dropbox/{contract.name}/{now:%Y%m%dT%H%M%S}-{number:06d}.ndjson"
    return f"landing/{contract.name}/dt={now:%Y-%m-%d}/hh={now:%H}/{now:%Y-%m-%d-%H-%M-%S}-{number:06d}.parquet"


def content(contract: Contract, rows: Sequence[Row]) -> bytes:
    """The object: Parquet of text as Firehose writes it, or lines of JSON."""
    if contract.origin == "files":
        return "\n".join(json.dumps({k: v for k, v in row.items() if not k.startswith("_")}) for row in rows).encode()
    columns = (*contract.field_names, *CHANGE_COLUMNS)
    buffer = io.BytesIO()
    pq.write_table(pa.table({c: pa.array([r.get(c) for r in rows], pa.string()) for c in columns}), buffer)
    return buffer.getvalue()


def change(contract: Contract, key: int, version: int) -> Row:
    """The item `key` as it is in a version: its primary key stays, everything else follows the version."""
    row: Row = {f.name: text(f, key if _is_fixed(contract, f) else key + version) for f in contract.fields}
    if contract.ordering:
        row[contract.ordering] = f"{_BEGIN + timedelta(seconds=version):%Y-%m-%dT%H:%M:%SZ}"
    return row | {
        "_event_id": f"{contract.name}/{key}/{version}",
        "_op": "modify",
        "_version": str(version),
        "_seq": str(version).rjust(40, "0"),
        "_changed_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "_contract": contract.version,
    }


def _is_fixed(contract: Contract, field: Field) -> bool:
    return field.name in contract.primary_key or (
        contract.partition is not None and field.name == contract.partition.field
    )


def text(field: Field, number: int) -> str:
    """A value of the field as it lands."""
    value = _value(field, field.type, number)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))  # as the relay writes it


def _value(field: Field, type_: FieldType, number: int) -> Any:
    low = int(field.minimum or 0)
    span = int(field.maximum) - low + 1 if field.maximum is not None else 1000
    match type_:
        case StringType():
            return _string(field, number)
        case IntegerType():
            return str(low + number % span)
        case DecimalType(_, scale):
            return f"{low + number % min(span, 100)}" + (f".{'0' * scale}" if scale else "")
        case BooleanType():
            return "true" if number % 2 else "false"
        case TimestampType():
            return f"{_BEGIN + timedelta(minutes=number % 20_000):%Y-%m-%dT%H:%M:%SZ}"
        case DateType():
            return f"{_BEGIN + timedelta(days=number % 28):%Y-%m-%d}"
        case ListType(element=element):
            return [_inner(field, element, number)]
        case MapType(value=value):
            return {"a": _inner(field, value, number)}
        case StructType(fields):
            return {f.name: _inner(f, f.type, number) for f in fields}


def _inner(field: Field, type_: FieldType, number: int) -> Any:
    """A value within a list, map or record: JSON keeps what is no text as it is."""
    value = _value(field, type_, number)
    return value == "true" if isinstance(type_, BooleanType) else value


def _string(field: Field, number: int) -> str:
    if field.enum:
        return field.enum[number % len(field.enum)]
    if field.pattern and (match := _LETTERS.fullmatch(field.pattern)):
        letters = [string.ascii_uppercase[number // 26**place % 26] for place in range(int(match[1]))]
        return "".join(reversed(letters))
    return f"{field.name[:4]}-{number:09d}"[: field.max_length or 100]
