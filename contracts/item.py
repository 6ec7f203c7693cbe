"""How an entity's values become an item of the single DynamoDB table: keys, indexes, TTL, pointers, typed attributes.

Only the mapping belongs here; reading and writing the table belongs to `realtime`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from contracts.model import Contract, ContractError, DynamoKeys, template_fields
from contracts.types import IntegerType, TimestampType
from contracts.validation import Value

POINTER = "_pointer"  # the `entity` attribute of an item that only says where another item is

FIELD_TIMESTAMPS = "_field_timestamps"  # the attribute that says which imported event wrote which field last

BY = "_by"  # the attribute that says who wrote the item last: `user:<sub>`, `tenant:<id>` or `function:<name>`

# Attributes that the system sets beside an entity's fields. Index attributes (`<prefix>_pk`, `<prefix>_sk`) are added
# per contract by `system_attributes`.
SYSTEM_ATTRIBUTES = frozenset({"pk", "sk", "entity", "_version", "_contract", "_deleted", FIELD_TIMESTAMPS, BY, "ttl"})

_FOLDED = 60  # characters of a folded text: at most 1,024 bytes of a sort key are to hold more than it
_INTEGER_WIDTH = 19  # every 64-bit integer fits, so that numbers in sort keys sort as numbers


def system_attributes(contract: Contract) -> frozenset[str]:
    """The attributes of an item of this entity that are not its fields."""
    keys = _keys(contract)
    return SYSTEM_ATTRIBUTES.union(*(i.attributes for i in keys.indexes))


def item_keys(contract: Contract, values: Mapping[str, Value]) -> dict[str, str]:
    """`pk` and `sk` of an item, from the fields that its key templates name."""
    keys = _keys(contract)
    return {"pk": _render(contract, keys.pk, values), "sk": _render(contract, keys.sk, values)}


def index_keys(contract: Contract, values: Mapping[str, Value]) -> dict[str, str]:
    """Attributes of the sparse indexes; an index is left out when one of its fields is null or absent."""
    attributes: dict[str, str] = {}
    for index in _keys(contract).indexes:
        if any(values.get(f) is None for f in template_fields(index.pk) + template_fields(index.sk)):
            continue
        # By version, the second is not there: the version is an attribute of its own.
        texts = (_render(contract, template, values) for template in (index.pk, index.sk))
        attributes |= dict(zip(index.attributes, texts, strict=False))
    return attributes


def folded(text: str) -> str:
    """A text as searches compare it: without regard to case, accents and repeated spaces; 60 characters of it. What a
    text begins with folds to what the text's fold begins with, but for a last space."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())[:_FOLDED].strip()


def beginning(text: str) -> str:
    """What the sort key of an index begins with whose folded field begins with this text."""
    return _escape(folded(text))


def pointer_keys(contract: Contract, values: Mapping[str, Value]) -> dict[str, str]:
    """Key of the pointer item of an entity whose place does not follow from its primary key (`needs_pointer`)."""
    identity = "#".join(_escape(_text(contract, name, values)) for name in contract.primary_key)
    return {"pk": f"POINTER#{contract.name}#{identity}", "sk": "POINTER"}


def time_to_live(contract: Contract, values: Mapping[str, Value]) -> int | None:
    """When the operational item may go, in seconds since 1970 UTC; None when the contract or the item sets no end."""
    ttl = _keys(contract).ttl
    moment = values.get(ttl.after) if ttl else None
    if ttl is None or moment is None:
        return None
    return int(datetime.fromisoformat(str(moment)).timestamp()) + ttl.days * 86_400


def landed_size(contract: Contract, image: Mapping[str, Any]) -> int:
    """Bytes of the line of JSON (UTF-8) that an item's change lands as (`contracts.change`), at most; for fields alone,
    what they add to it. JSON takes up to seven times as many bytes as the table for characters that it escapes."""
    system = system_attributes(contract)
    return sum(len(name) + 6 + _written(attribute) for name, attribute in image.items() if name not in system)


def _written(attribute: Mapping[str, Any]) -> int:
    """Bytes of an attribute in a line: text and numbers once in quotation marks, all else as JSON in a text."""
    ((kind, value),) = attribute.items()
    if kind in ("S", "N"):
        return len(orjson.dumps(value))
    if kind in ("BOOL", "NULL"):
        return 8
    return len(orjson.dumps(orjson.dumps(_plain(attribute), default=str).decode()))


def _plain(attribute: Mapping[str, Any]) -> Any:
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "L":
            return [_plain(v) for v in value]
        case "M":
            return {k: _plain(v) for k, v in value.items()}
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else value


def to_attribute(value: Value) -> dict[str, Any]:
    """A storable value as DynamoDB JSON, for example `{"N": "12.5"}`; numbers keep every digit."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case Decimal():
            return {"N": format(value, "f")}
        case list():
            return {"L": [to_attribute(v) for v in value]}
        case dict():
            return {"M": {k: to_attribute(v) for k, v in value.items()}}


def from_attribute(attribute: Mapping[str, Any]) -> Value:
    """The reverse of `to_attribute`; numbers become `Decimal`. Sets and binary values are refused with `ValueError`."""
    ((kind, value),) = attribute.items()
    match kind:
        case "NULL":
            return None
        case "BOOL" | "S":
            return value  # type: ignore[no-any-return]
        case "N":
            return Decimal(value)
        case "L":
            return [from_attribute(v) for v in value]
        case "M":
            return {k: from_attribute(v) for k, v in value.items()}
    raise ValueError(f"expected a DynamoDB attribute of type S, N, BOOL, NULL, L or M; found {kind}")


def _keys(contract: Contract) -> DynamoKeys:
    if contract.keys is None:
        raise ContractError(f"{contract.name}: has no place in DynamoDB, its origin is {contract.origin}")
    return contract.keys


def _render(contract: Contract, template: str, values: Mapping[str, Value]) -> str:
    for name in dict.fromkeys(template_fields(template)):
        text = _text(contract, name, values)
        template = template.replace("{" + name + "}", _escape(text)).replace("{~" + name + "}", _escape(folded(text)))
    return template


def _text(contract: Contract, name: str, values: Mapping[str, Value]) -> str:
    value = values.get(name)
    if value is None:
        raise ContractError(f"{contract.name}: expected a value of {name}, which is part of the key; found nothing")
    if isinstance(contract.field(name).type, IntegerType):
        return f"{int(str(value)):0{_INTEGER_WIDTH}d}"
    if isinstance(contract.field(name).type, TimestampType):
        # One width, so that moments sort as text: ".5Z" would come before "Z".
        moment = datetime.fromisoformat(str(value)).astimezone(UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


def _escape(text: str) -> str:
    """Text without `#`, `{` and `}`, so that no value can reach into the next part of a key or name a placeholder."""
    for character, code in (("%", "%25"), ("#", "%23"), ("{", "%7B"), ("}", "%7D")):
        text = text.replace(character, code)
    return text
