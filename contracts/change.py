"""The change record: one flat row of text for each change of an item, exactly as DynamoDB had it.

Shared by the relay (stream records), the export reader (items) and the tests, so that there is one mapping. Nothing is
rounded, coerced or dropped: what the contract does not know, or has with another DynamoDB type, goes to `_extra`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from contracts.item import POINTER, system_attributes
from contracts.model import Contract, Contracts
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)

Row: TypeAlias = dict[str, str | None]

CHANGE_COLUMNS = ("_event_id", "_op", "_version", "_seq", "_changed_at", "_ttl", "_contract", "_extra")
OPERATIONS = ("insert", "modify", "remove", "expire", "snapshot")
SEQUENCE_WIDTH = 40  # stream sequence numbers have up to 40 digits

_TTL_SERVICE = "dynamodb.amazonaws.com"
_OPERATION = {"INSERT": "insert", "MODIFY": "modify", "REMOVE": "remove"}


class UnmappableRecord(ValueError):
    """A stream record that is no change of a known entity; the reason says why. It must be kept whole."""


def change_from_record(record: Mapping[str, Any], contracts: Contracts) -> tuple[str, Row] | None:
    """Entity and row of a DynamoDB stream record; None for an item of ours that is no entity (a pointer).

    Rules of operation and version: an image marked `_deleted` is a `remove`, and its later physical removal says
    nothing new (same version); a removal by TTL is an `expire`, any other is a `remove`, both at the old image's
    version plus one; an image without `_version` (a foreign write) has the second of its change, in microseconds.
    Raises `UnmappableRecord`.
    """
    try:
        event_name = record["eventName"]
        body = record["dynamodb"]
        image = body.get("NewImage") if event_name != "REMOVE" else body.get("OldImage")
        operation = _OPERATION[event_name]
        seconds = int(body["ApproximateCreationDateTime"])
        sequence = body["SequenceNumber"]
        event_id = record["eventID"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnmappableRecord(f"expected a DynamoDB stream record with new and old images: {error!r}") from error
    if image is None:
        raise UnmappableRecord("expected an image of the item, found none: the stream must carry NEW_AND_OLD_IMAGES")
    if not (
        isinstance(sequence, str) and sequence.isascii() and sequence.isdigit() and len(sequence) <= SEQUENCE_WIDTH
    ):
        raise UnmappableRecord(f"expected a sequence number of at most {SEQUENCE_WIDTH} digits, found {sequence!r}")
    contract = _contract_of(image, contracts)
    if contract is None:
        return None
    version = _version(image)
    if version is None:
        version = seconds * 1_000_000
    deleted = image.get("_deleted", {}).get("BOOL") is True
    if deleted:
        operation = "remove"
    elif event_name == "REMOVE":
        version += 1
        if _removed_by_ttl(record):
            operation = "expire"
    row = _fields(contract, image)
    row["_event_id"] = str(event_id)
    row["_op"] = operation
    row["_version"] = str(version)
    row["_seq"] = sequence.rjust(SEQUENCE_WIDTH, "0")
    row["_changed_at"] = _second(seconds)
    return contract.name, row


def change_from_item(
    item: Mapping[str, Any], contracts: Contracts, *, event_id: str, read_at: datetime
) -> tuple[str, Row] | None:
    """Entity and row (`_op` snapshot, or remove for an item marked deleted) of an item of a full export.

    An export carries no sequence number: `_seq` is zeros, so that a streamed change of the same version wins.
    `read_at` is the export's time, aware. Raises `UnmappableRecord`.
    """
    contract = _contract_of(item, contracts)
    if contract is None:
        return None
    version = _version(item)
    row = _fields(contract, item)
    row["_event_id"] = event_id
    row["_op"] = "remove" if item.get("_deleted", {}).get("BOOL") is True else "snapshot"
    row["_version"] = str(int(read_at.timestamp()) * 1_000_000 if version is None else version)
    row["_seq"] = "0" * SEQUENCE_WIDTH
    row["_changed_at"] = _second(int(read_at.timestamp()))
    return contract.name, row


def _contract_of(image: Mapping[str, Any], contracts: Contracts) -> Contract | None:
    entity = image.get("entity", {}).get("S")
    if entity == POINTER:
        return None
    if entity is None:
        raise UnmappableRecord("expected an attribute `entity` (S) that says what the item is, found none")
    contract = contracts.get(entity)
    if contract is None or contract.origin != "stream":
        known = ", ".join(c.name for c in contracts.of_origin("stream"))
        raise UnmappableRecord(f"there is no contract of origin stream for entity {entity!r}; known are {known}")
    return contract


def _version(image: Mapping[str, Any]) -> int | None:
    text = image.get("_version", {}).get("N")
    if text is None:
        return None
    try:
        version = int(text)
    except ValueError:
        raise UnmappableRecord(f"expected an integer as _version, found {text!r}") from None
    if not 0 <= version < 2**63 - 1:
        raise UnmappableRecord(f"expected a _version of 0 to 2**63 - 2, found {text}")
    return version


def _removed_by_ttl(record: Mapping[str, Any]) -> bool:
    identity = record.get("userIdentity") or {}
    kind = identity.get("type") or identity.get("Type")
    principal = identity.get("principalId") or identity.get("PrincipalId")
    return kind == "Service" and principal == _TTL_SERVICE


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    """Text of a second; a batch of the stream spans few."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"


_NESTED, _SYSTEM = "nested", "system"


@dataclass(frozen=True, slots=True)
class _Mapping:
    """What the rows of an entity are made by: what each attribute is (its DynamoDB type, nested, or the system's),
    the types of nested ones, and a row of nulls."""

    kinds: Mapping[str, str]
    nested: Mapping[str, FieldType]
    empty: Row


_mappings: dict[int, tuple[Contract, _Mapping]] = {}


def _mapping(contract: Contract) -> _Mapping:
    """Made once for each contract: the relay needs it for every change."""
    known = _mappings.get(id(contract))
    if known is None or known[0] is not contract:
        kinds = dict.fromkeys(system_attributes(contract), _SYSTEM)
        kinds |= {f.name: _SCALAR_KINDS.get(type(f.type), _NESTED) for f in contract.fields}
        nested = {f.name: f.type for f in contract.fields if kinds[f.name] == _NESTED}
        empty: Row = dict.fromkeys((*contract.field_names, *CHANGE_COLUMNS))
        known = _mappings[id(contract)] = (contract, _Mapping(kinds, nested, empty))
    return known[1]


def _fields(contract: Contract, image: Mapping[str, Any]) -> Row:
    mapping = _mapping(contract)
    kinds = mapping.kinds
    row = mapping.empty.copy()
    extra: dict[str, Any] = {}
    for name, attribute in image.items():
        wanted = kinds.get(name)
        if wanted is _SYSTEM:
            continue
        ((kind, value),) = attribute.items()
        if kind == wanted:
            row[name] = value if kind != "BOOL" else ("true" if value else "false")
        elif wanted is not None and kind == "NULL":
            continue
        elif wanted is _NESTED and _fits(mapping.nested[name], kind, value):
            row[name] = orjson.dumps(_plain(kind, value)).decode()
        else:
            extra[name] = attribute
    ttl = image.get("ttl")
    if ttl is not None:
        if "N" in ttl:
            row["_ttl"] = ttl["N"]
        else:
            extra["ttl"] = ttl
    row["_contract"] = image.get("_contract", {}).get("S") or contract.version
    if extra:
        row["_extra"] = orjson.dumps(extra, option=orjson.OPT_SORT_KEYS, default=_text).decode()
    return row


_SCALAR_KINDS: dict[type, str] = {
    StringType: "S",
    IntegerType: "N",
    DecimalType: "N",
    BooleanType: "BOOL",
    TimestampType: "S",
    DateType: "S",
}


def _fits(type_: FieldType, kind: str, value: Any) -> bool:
    """Whether a nested attribute has the DynamoDB types that the contract says, all the way down."""
    if kind == "NULL":
        return True
    scalar = _SCALAR_KINDS.get(type(type_))
    if scalar is not None:
        return kind == scalar
    match type_:
        case ListType(element=element):
            return kind == "L" and all(_fits(element, *_only(v)) for v in value)
        case MapType(value=value_type):
            return kind == "M" and all(_fits(value_type, *_only(v)) for v in value.values())
        case StructType(fields):
            by_name = {f.name: f.type for f in fields}
            return kind == "M" and all(k in by_name and _fits(by_name[k], *_only(v)) for k, v in value.items())
    return False


def _plain(kind: str, value: Any) -> Any:
    """A nested value for JSON; numbers stay text, because no JSON reader keeps 38 digits."""
    if kind == "L":
        return [_plain(*_only(v)) for v in value]
    if kind == "M":
        return {k: _plain(*_only(v)) for k, v in value.items()}
    return None if kind == "NULL" else value


def _only(attribute: Mapping[str, Any]) -> tuple[str, Any]:
    ((kind, value),) = attribute.items()
    return kind, value


def _text(value: Any) -> Any:
    """Binary values and sets that a boto3 client decoded, as the stream's JSON has them."""
    import base64

    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"expected DynamoDB JSON, found {type(value).__name__}")
