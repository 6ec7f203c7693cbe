"""The change record: one flat row of text for each change of an item, exactly as DynamoDB had it.

Shared by the relay (stream records), the export reader (items) and the tests, so that there is one mapping. Nothing is
rounded, coerced or dropped: what the contract does not know, or has with another DynamoDB type, goes to `_extra`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from contracts.item import BY, FIELD_TIMESTAMPS, POINTER, system_attributes
from contracts.model import Contract, Contracts
from contracts.system_columns import COMPACTED, LANDED
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
    fold,
)

Row: TypeAlias = dict[str, str | None]

CHANGE_COLUMNS = tuple(field.name for field in LANDED)
CURRENT_COLUMNS = tuple(field.name for field in LANDED if field in COMPACTED)
"""Those that the latest row of a key keeps, too; who made which change is in the history alone."""

SEQUENCE_WIDTH = 40  # stream sequence numbers have up to 40 digits
_SECOND = 1_000_000  # versions are microseconds

EXPIRY = "function:ttl"
"""Who removes an item whose time to live has come."""

_TTL_SERVICE = "dynamodb.amazonaws.com"
_OPERATION = {"INSERT": "insert", "MODIFY": "modify", "REMOVE": "remove"}


class UnmappableRecord(ValueError):
    """A stream record that is no change of a known entity; the reason says why. It must be kept whole."""


def change_from_record(record: Mapping[str, Any], contracts: Contracts) -> tuple[str, Row] | None:
    """Entity and row of a DynamoDB stream record; None for an item of ours that is no entity (a pointer).

    An image marked `_deleted` is a `remove`, and so is its later physical removal; a removal by TTL is an `expire`, any
    other is a `remove`. `_version` is the order of the change, not the item's version: the end of the second in which
    DynamoDB made it, so that `_seq` decides within the second, whoever wrote. Raises `UnmappableRecord`.
    """
    try:
        event_name = record["eventName"]
        body = record["dynamodb"]
        image = body.get("NewImage") if event_name != "REMOVE" else body.get("OldImage")
        operation = _OPERATION[event_name]
        seconds = int(body["ApproximateCreationDateTime"])
        sequence = body["SequenceNumber"]
        usable = sequence.isdigit() and sequence.isascii() and len(sequence) <= SEQUENCE_WIDTH
        event_id = record["eventID"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnmappableRecord(f"expected a DynamoDB stream record with new and old images: {error!r}") from error
    if image is None:
        raise UnmappableRecord("expected an image of the item, found none: the stream must carry NEW_AND_OLD_IMAGES")
    if not usable:
        raise UnmappableRecord(f"expected a sequence number of at most {SEQUENCE_WIDTH} digits, found {sequence!r}")
    mapping = _mapping_of(image, contracts)
    if mapping is None:
        return None
    if _marked_deleted(image):
        operation = "remove"
    elif event_name == "REMOVE" and _removed_by_ttl(record):
        operation = "expire"
    row = _row(mapping, image)
    row["_event_id"] = str(event_id)
    row["_op"] = operation
    row["_version"] = str(_end_of(seconds))
    row["_seq"] = sequence.rjust(SEQUENCE_WIDTH, "0")
    row["_changed_at"] = _second(seconds)
    row[BY] = _writer(event_name, operation, image, body.get("OldImage"))
    return mapping.contract.name, row


def change_from_item(
    item: Mapping[str, Any], contracts: Contracts, *, event_id: str, read_at: datetime
) -> tuple[str, Row] | None:
    """Entity and row (`_op` snapshot, or remove for an item marked deleted) of an item of a full export.

    An export carries no sequence number: `_seq` is zeros, so that a streamed change of the same second wins. The row is
    ordered by the second of the item's version, but whatever changes after `read_at`, the export's time (aware), comes
    after it; an item without a usable version counts as of that time. Raises `UnmappableRecord`.
    """
    mapping = _mapping_of(item, contracts)
    if mapping is None:
        return None
    version = _version(item)
    row = _row(mapping, item)
    row["_event_id"] = event_id
    row["_op"] = "remove" if _marked_deleted(item) else "snapshot"
    read = int(read_at.timestamp())
    row["_version"] = str(_end_of(read if version is None else min(version // _SECOND, read)))
    row["_seq"] = "0" * SEQUENCE_WIDTH
    row["_changed_at"] = _second(int(read_at.timestamp()))
    row[BY] = _named_writer(item)
    return mapping.contract.name, row


def change_from_export(record: Mapping[str, Any], contracts: Contracts, *, old_images: bool) -> tuple[str, Row] | None:
    """Entity and row of a record of an incremental export: the last of the changes of an item within its window.

    The row is ordered by the second of the write that it tells of, and its `_seq` is zeros: a streamed change of the
    same second wins. Its `_event_id` is that of the write, so that two exports that tell of it are one change.
    `old_images` says whether the export has images from before (`NEW_AND_OLD_IMAGES`); without them nobody knows what a
    new image changed (`_op` snapshot), nor what was deleted. Raises `UnmappableRecord`.
    """
    try:
        written = record["Metadata"]["WriteTimestampMicros"]
        micros = int(written["N"] if isinstance(written, Mapping) else written)
        new, old = record.get("NewImage"), record.get("OldImage")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnmappableRecord(f"expected a record of an incremental export with its write time: {error!r}") from error
    image = old if new is None else new
    if image is None:
        raise UnmappableRecord(
            "expected an image of the item, found its keys alone: only an export with NEW_AND_OLD_IMAGES says what was "
            "deleted"
        )
    mapping = _mapping_of(image, contracts)
    if mapping is None:
        return None
    second = micros // _SECOND
    event = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
    row = _row(mapping, image)
    row["_event_id"] = f"write:{micros}"
    operation = _exported(image, event, second, old_images)
    row["_op"] = operation
    row["_version"] = str(_end_of(second))
    row["_seq"] = "0" * SEQUENCE_WIDTH
    row["_changed_at"] = _second(second)
    row[BY] = _writer(event, operation, image, old)
    return mapping.contract.name, row


def _exported(image: Mapping[str, Any], event: str, second: int, old_images: bool) -> str:
    """The operation of a record of an incremental export, which does not say who removed an item: a removal after its
    time to live is taken to be that."""
    if event == "REMOVE":
        return "expire" if has_expired(image, second) and not _marked_deleted(image) else "remove"
    changed = _OPERATION[event] if old_images else "snapshot"
    return "remove" if _marked_deleted(image) else changed


def has_expired(image: Mapping[str, Any], second: int) -> bool:
    """Whether an item's time to live was over in that second (since 1970 UTC)."""
    try:
        return int(image["ttl"]["N"]) <= second
    except (KeyError, TypeError, ValueError):
        return False


def _end_of(second: int) -> int:
    """The version of all that happens in a second: what orders them within it is the sequence number."""
    return second * _SECOND + _SECOND - 1


def _version(item: Mapping[str, Any]) -> int | None:
    """The version of the item; None where it has none that could be a time of the API's."""
    text = item.get("_version", {}).get("N")
    try:
        return max(0, int(text))
    except (TypeError, ValueError):
        return None


def _writer(event_name: str, operation: str, image: Mapping[str, Any], old: Mapping[str, Any] | None) -> str | None:
    """Who made the change; None where nobody knows: whoever writes around the API leaves the item's version and the
    name of its last writer as they were."""
    if event_name != "REMOVE":
        before = (old or {}).get("_version") if event_name == "MODIFY" else None
        return None if image.get("_version") in (None, before) else _named_writer(image)
    if operation == "expire":
        return EXPIRY
    return _named_writer(image) if _marked_deleted(image) else None  # who marked it; else somebody around the API


def _named_writer(image: Mapping[str, Any]) -> str | None:
    name: str | None = image[BY].get("S") if BY in image else None
    return name


def _marked_deleted(image: Mapping[str, Any]) -> bool:
    return "_deleted" in image and image["_deleted"].get("BOOL") is True


def _removed_by_ttl(record: Mapping[str, Any]) -> bool:
    identity = record.get("userIdentity") or {}
    kind = identity.get("type") or identity.get("Type")
    principal = identity.get("principalId") or identity.get("PrincipalId")
    return kind == "Service" and principal == _TTL_SERVICE


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    """Text of a second; a batch of the stream spans few."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"


Reader: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Reads an attribute of a nested field as a value for JSON."""


class _Unfitting(Exception):
    """An attribute has not the DynamoDB types that the contract says, all the way down."""


_SYSTEM = ""
_SYSTEM_KINDS = (
    ("_version", "N"),
    ("_contract", "S"),
    ("_deleted", "BOOL"),
    (FIELD_TIMESTAMPS, "M"),
    (BY, "S"),
    ("ttl", "N"),
)
"""The DynamoDB types of the attributes that the system sets beside keys; whatever has another one goes to `_extra`."""


@dataclass(frozen=True, slots=True)
class _Mapping:
    """What the rows of an entity are made by: the DynamoDB type of each attribute that is known (`_SYSTEM` for those
    that are no fields), the fields that need more than to be copied, and a row of nulls."""

    contract: Contract
    kinds: Mapping[str, str]
    booleans: tuple[str, ...]
    nested: tuple[tuple[str, Reader], ...]
    empty: Row

    @classmethod
    def of(cls, contract: Contract) -> _Mapping:
        kinds = {f.name: _KINDS[type(f.type)] for f in contract.fields}
        return cls(
            contract,
            kinds=dict.fromkeys(system_attributes(contract), _SYSTEM) | kinds,
            booleans=tuple(name for name, kind in kinds.items() if kind == "BOOL"),
            nested=tuple((f.name, _reader(f.type)) for f in contract.fields if type(f.type) not in _SCALAR_KINDS),
            empty=dict.fromkeys((*contract.field_names, *CHANGE_COLUMNS)),
        )


_mapped: tuple[Contracts, dict[str, _Mapping]] = (Contracts({}), {})


def _mapping_of(image: Mapping[str, Any], contracts: Contracts) -> _Mapping | None:
    """How the image's entity is mapped, made once for the contracts in use; None for a pointer."""
    global _mapped
    used, mappings = _mapped
    if used is not contracts:
        _mapped = used, mappings = contracts, {c.name: _Mapping.of(c) for c in contracts.of_origin("stream")}
    entity = image["entity"].get("S") if "entity" in image else None
    if entity in mappings:
        return mappings[entity]
    if entity == POINTER:
        return None
    if entity is None:
        raise UnmappableRecord("expected an attribute `entity` (S) that says what the item is, found none")
    known = ", ".join(mappings)
    raise UnmappableRecord(f"there is no contract of origin stream for entity {entity!r}; known are {known}")


def _row(mapping: _Mapping, image: Mapping[str, Any]) -> Row:
    """All that an image says: its fields as text, null where there is none; its end and contract; what does not fit."""
    row: dict[str, Any] = mapping.empty.copy()
    extra: dict[str, Any] | None = None
    kinds = mapping.kinds
    try:  # nearly every image fits: nothing in it is unknown, and every field is of the type that is expected
        for name, attribute in image.items():
            kind = kinds[name]
            if kind:
                row[name] = attribute[kind]
    except KeyError:
        row, extra = _sorted_out(mapping, image)
    for name in mapping.booleans:
        if row[name] is not None:
            row[name] = "true" if row[name] else "false"
    for name, read in mapping.nested:
        if row[name] is not None:
            try:
                row[name] = orjson.dumps(read(image[name])).decode()
            except _Unfitting:
                row[name], extra = None, {**(extra or {}), name: image[name]}
    if "ttl" in image:
        row["_ttl"] = image["ttl"].get("N")
    for name, kind in _SYSTEM_KINDS:
        if name in image and kind not in image[name]:
            extra = {**(extra or {}), name: image[name]}
    named = image["_contract"].get("S") if "_contract" in image else None
    row["_contract"] = named or mapping.contract.version
    if extra:
        row["_extra"] = orjson.dumps(extra, option=orjson.OPT_SORT_KEYS, default=_text).decode()
    return row


def _sorted_out(mapping: _Mapping, image: Mapping[str, Any]) -> tuple[Row, dict[str, Any]]:
    """Row and extra, attribute by attribute: what is a field of the contract's type, and what is not; a null of a field
    says nothing."""
    row, extra = mapping.empty.copy(), {}
    for name, attribute in image.items():
        wanted = mapping.kinds.get(name)
        if wanted == _SYSTEM:
            continue
        ((kind, value),) = attribute.items()
        if kind == wanted:
            row[name] = value
        elif kind != "NULL" or wanted is None:
            extra[name] = attribute
    return row, extra


_SCALAR_KINDS: dict[type, str] = {
    StringType: "S",
    IntegerType: "N",
    DecimalType: "N",
    BooleanType: "BOOL",
    TimestampType: "S",
    DateType: "S",
}
_KINDS = _SCALAR_KINDS | {ListType: "L", MapType: "M", StructType: "M"}


def _reader(type_: FieldType) -> Reader:
    """A reader of attributes of that type; numbers stay text, because no JSON reader keeps 38 digits."""
    return fold(
        type_,
        scalar=lambda scalar: _of_kind(_SCALAR_KINDS[type(scalar)]),
        list_=lambda _, read: _of_kind("L", lambda content: [read(v) for v in content]),
        map_=lambda _, read: _of_kind("M", lambda content: {k: read(v) for k, v in content.items()}),
        struct=_struct_reader,
    )


def _struct_reader(members: Sequence[tuple[Field, Reader]]) -> Reader:
    readers = {field.name: read for field, read in members}
    return _of_kind("M", lambda content: {k: readers.get(k, _refuse)(v) for k, v in content.items()})


def kind_of(type_: FieldType) -> str:
    """The DynamoDB type that attributes of a field of that type have: S, N, BOOL, L or M."""
    return _KINDS[type(type_)]


def reader_of_nested(type_: FieldType) -> Callable[[str], str | None]:
    """A reader of the JSON of attributes of a list, map or struct: their text in a row, None for what does not fit."""
    read = _reader(type_)

    def text(attribute: str) -> str | None:
        try:
            return orjson.dumps(read(orjson.loads(attribute))).decode()
        except (_Unfitting, ValueError, AttributeError):
            return None

    return text


def _of_kind(kind: str, inner: Callable[[Any], Any] | None = None) -> Reader:
    """A reader of attributes of that DynamoDB type; `inner` reads the content, which else is the value itself."""

    def read(attribute: Mapping[str, Any]) -> Any:
        ((found, value),) = attribute.items()
        if found == kind:
            return value if inner is None else inner(value)
        if found == "NULL":
            return None
        raise _Unfitting

    return read


def _refuse(attribute: Mapping[str, Any]) -> Any:
    raise _Unfitting


def _text(value: Any) -> Any:
    """Binary values and sets that a boto3 client decoded, as the stream's JSON has them."""
    import base64

    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"expected DynamoDB JSON, found {type(value).__name__}")
