"""Contracts as one compact JSON document: what a Lambda bundle carries instead of YAML files and their parser.

The codec is written out, because a library (msgspec, cattrs) adds a wheel that is larger than the document to every
bundle, and reads the types' annotations at each cold start.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson

from contracts.model import (
    Contract,
    ContractError,
    Contracts,
    Copies,
    DynamoKeys,
    Erasure,
    IndexKeys,
    Partition,
    Relation,
    Transition,
    Ttl,
)
from contracts.types import (
    SCALARS,
    DecimalType,
    Field,
    FieldType,
    ListType,
    MapType,
    ScalarType,
    StructType,
    fold,
    scalar_name,
)

FORMAT = 1


def dump_compact(contracts: Contracts) -> bytes:
    """The contracts as JSON; the same contracts always give the same bytes."""
    document = {"format": FORMAT, "contracts": [_dump_contract(c) for c in contracts.values()]}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def load_compact(text: bytes) -> Contracts:
    """The contracts in a document of `dump_compact`; raises `ContractError` for any other format."""
    document = orjson.loads(text)
    if document.get("format") != FORMAT:
        raise ContractError(
            f"compact contracts: expected format {FORMAT}, found {document.get('format')!r}; build the bundle again"
        )
    return Contracts({c["name"]: _load_contract(c) for c in document["contracts"]})


def _dump_contract(contract: Contract) -> dict[str, Any]:
    keys = contract.keys
    document = {
        "name": contract.name,
        "version": contract.version,
        "description": contract.description,
        "owner": contract.owner,
        "domain": contract.domain,
        "origin": contract.origin,
        "fields": [_dump_field(f, _dump_type(f.type)) for f in contract.fields],
        "primary_key": contract.primary_key,
        "partition": contract.partition.field if contract.partition else None,
        "sort": contract.sort,
        "ordering": contract.ordering,
        "retention_days": contract.retention_days,
        "freshness_minutes": contract.freshness_minutes,
        "relations": [[r.field, r.entity, r.target_field] for r in contract.relations],
        "keys": None
        if keys is None
        else {
            "pk": keys.pk,
            "sk": keys.sk,
            "indexes": [[i.name, i.pk, i.sk] for i in keys.indexes],
            "ttl": [keys.ttl.after, keys.ttl.days] if keys.ttl else None,
            "copies": [keys.copies.to, keys.copies.fields] if keys.copies else None,
        },
    }
    optional: dict[str, Any] = {
        "engine": None if contract.engine == "embedded" else contract.engine,
        "dimension": contract.dimension,
        "erasure": _dump_erasure(contract.erasure),
        "transition": [contract.transition.days, contract.transition.storage_class] if contract.transition else None,
        "legal_hold": contract.legal_hold,
    }
    return document | {name: value for name, value in optional.items() if value}


def _dump_erasure(erasure: Erasure | None) -> list[Any] | None:
    return None if erasure is None else [erasure.persons, erasure.rows, erasure.fields, erasure.of]


def _load_erasure(value: list[Any] | None) -> Erasure | None:
    if value is None:
        return None
    persons, rows, fields, of = value
    return Erasure(tuple(persons), rows, tuple((f, t) for f, t in fields), tuple((f, p) for f, p in of))


def _load_contract(value: dict[str, Any]) -> Contract:
    keys = value["keys"]
    return Contract(
        name=value["name"],
        version=value["version"],
        description=value["description"],
        owner=value["owner"],
        domain=value["domain"],
        origin=value["origin"],
        fields=tuple(_load_field(f) for f in value["fields"]),
        primary_key=tuple(value["primary_key"]),
        partition=Partition(value["partition"]) if value["partition"] else None,
        sort=tuple(value["sort"]),
        ordering=value["ordering"],
        retention_days=value["retention_days"],
        freshness_minutes=value["freshness_minutes"],
        relations=tuple(Relation(*r) for r in value["relations"]),
        engine=value.get("engine", "embedded"),
        dimension=value.get("dimension"),
        erasure=_load_erasure(value.get("erasure")),
        transition=Transition(*value["transition"]) if "transition" in value else None,
        legal_hold=value.get("legal_hold", False),
        keys=None
        if keys is None
        else DynamoKeys(
            pk=keys["pk"],
            sk=keys["sk"],
            indexes=tuple(IndexKeys(*i) for i in keys["indexes"]),
            ttl=Ttl(*keys["ttl"]) if keys["ttl"] else None,
            copies=Copies(keys["copies"][0], tuple(keys["copies"][1])) if keys["copies"] else None,
        ),
    )


def _dump_field(field: Field, type_: Any) -> dict[str, Any]:
    value: dict[str, Any] = {"name": field.name, "id": field.field_id, "type": type_}
    optional: dict[str, Any] = {
        "required": field.required,
        "description": field.description,
        "aliases": field.aliases,
        "enum": field.enum,
        "minimum": None if field.minimum is None else str(field.minimum),
        "maximum": None if field.maximum is None else str(field.maximum),
        "max_length": field.max_length,
        "pattern": field.pattern,
        "classification": None if field.classification == "internal" else field.classification,
    }
    return value | {k: v for k, v in optional.items() if v not in (None, False, "", ())}


def _load_field(value: dict[str, Any]) -> Field:
    return Field(
        name=value["name"],
        field_id=value["id"],
        type=_load_type(value["type"]),
        required=value.get("required", False),
        description=value.get("description", ""),
        aliases=tuple(value.get("aliases", ())),
        classification=value.get("classification", "internal"),
        enum=tuple(value.get("enum", ())),
        minimum=Decimal(value["minimum"]) if "minimum" in value else None,
        maximum=Decimal(value["maximum"]) if "maximum" in value else None,
        max_length=value.get("max_length"),
        pattern=value.get("pattern"),
    )


def _dump_type(type_: FieldType) -> Any:
    return fold(
        type_,
        scalar=_dump_scalar,
        list_=lambda list_, element: {"list": [list_.element_id, element]},
        map_=lambda map_, value: {"map": [map_.key_id, map_.value_id, value]},
        struct=lambda members: {"struct": [_dump_field(f, inner) for f, inner in members]},
    )


def _dump_scalar(type_: ScalarType) -> Any:
    return [type_.precision, type_.scale] if isinstance(type_, DecimalType) else scalar_name(type_)


def _load_type(value: Any) -> FieldType:
    if isinstance(value, str):
        return SCALARS[value]
    if isinstance(value, list):
        return DecimalType(*value)
    if "list" in value:
        return ListType(value["list"][0], _load_type(value["list"][1]))
    if "map" in value:
        return MapType(value["map"][0], value["map"][1], _load_type(value["map"][2]))
    return StructType(tuple(_load_field(f) for f in value["struct"]))
