"""Reads contracts from ODCS v3 YAML files and refuses, with a clear message, what cannot be used.

Two layers of checks: the Open Data Contract Standard's own JSON Schema (shape of the document), then what Gavel needs
beyond it (keys, ids, partition, origin). One file is one entity; the file's name is the entity's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

from contracts.compact import load_compact
from contracts.model import (
    Contract,
    ContractError,
    Contracts,
    Copies,
    DynamoKeys,
    Engine,
    IndexKeys,
    Partition,
    Relation,
    Ttl,
    template_fields,
)
from contracts.types import (
    SCALARS,
    Classification,
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

ENTITIES = Path(__file__).parent / "entities"
LAST_FIELD_ID = 999  # ids from 1001 on belong to the system columns of the lake

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_CLASSIFICATIONS = ("public", "internal", "personal")


def load_contracts(folder: Path | None = None) -> Contracts:
    """All contracts of a folder of `<entity>.yaml` files (default: the product's own), or of one document of
    `contracts.compact`, which were checked when it was made.

    Raises `ContractError` at the first contract that cannot be used, or when relations name what does not exist.
    """
    folder = folder or ENTITIES
    if folder.is_file():
        return load_compact(folder.read_bytes())
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ContractError(f"{folder}: expected one YAML file per entity, found none")
    contracts = Contracts({c.name: c for c in (load_contract(path) for path in files)})
    for contract in contracts.values():
        _check_references(contract, contracts)
    _check_dimensions(contracts)
    return contracts


def load_contract(path: Path) -> Contract:
    """The contract in one file; raises `ContractError` that names the file and the place in it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as error:
        raise ContractError(f"{path.name}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ContractError(f"{path.name}: expected a mapping at the top, found {type(document).__name__}")
    contract = parse_contract(document, where=path.name)
    if contract.name != path.stem:
        raise ContractError(f"{path.name}: expected name: {path.stem} (the file's name), found {contract.name}")
    return contract


def parse_contract(document: Mapping[str, Any], where: str = "contract") -> Contract:
    """The contract in an ODCS v3 document; raises `ContractError`."""
    _check_standard(document, where)
    tables = document["schema"] if isinstance(document.get("schema"), list) else []
    if len(tables) != 1:
        raise ContractError(f"{where}: expected exactly one table under `schema`, found {len(tables)}")
    table = tables[0]
    name = str(document.get("name", ""))
    if not _NAME.fullmatch(name) or table["name"] != name:
        raise ContractError(
            f"{where}: `name` and `schema[0].name` must be the same lower-case identifier, "
            f"found {name!r} and {table['name']!r}"
        )
    if not _VERSION.fullmatch(str(document["version"])):
        raise ContractError(f"{where}: expected `version` like 1.0.0, found {document['version']!r}")
    properties = table.get("properties") or []
    own = _custom(table, where)
    fields = tuple(_field(p, f"{where}: {p['name']}") for p in properties)
    contract = Contract(
        name=name,
        version=str(document["version"]),
        description=str((document.get("description") or {}).get("purpose") or table.get("description") or ""),
        owner=str((document.get("team") or {}).get("name") or ""),
        domain=str(document.get("domain") or ""),
        origin=own.get("origin", "stream"),
        fields=fields,
        primary_key=tuple(p["name"] for p in _ordered(properties, "primaryKey", "primaryKeyPosition")),
        partition=_partition(properties, own, where),
        sort=tuple(own.get("sort") or ()),
        ordering=own.get("ordering"),
        keys=_keys(own.get("dynamodb"), where),
        retention_days=_service_level(document, "retention", "d", where),
        freshness_minutes=_service_level(document, "freshness", "m", where),
        relations=tuple(_relations(properties, where)),
        engine=own.get("engine", "embedded"),
        dimension=own.get("dimension"),
    )
    _check(contract, where)
    return contract


@cache
def _standard() -> Any:
    from importlib.resources import files

    import jsonschema_rs

    return jsonschema_rs.validator_for(files("open_data_contract_standard").joinpath("schema.json").read_text())


def _check_standard(document: Mapping[str, Any], where: str) -> None:
    from jsonschema_rs import ValidationError

    try:
        _standard().validate(document)
    except ValidationError as error:
        place = ".".join(str(step) for step in error.instance_path) or "the top"
        raise ContractError(
            f"{where}: at {place}: {error.message:.200} "
            f"(Open Data Contract Standard {document.get('apiVersion', 'v3')})"
        ) from error
    except ValueError as error:  # YAML has dates, which JSON does not
        raise ContractError(f"{where}: expected text, numbers and lists only: {error}; put dates in quotes") from error


def _custom(element: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = {
        "origin",
        "partitionTransform",
        "sort",
        "ordering",
        "dynamodb",
        "engine",
        "dimension",
        "fieldId",
        "aliases",
    }
    values = {p["property"]: p["value"] for p in element.get("customProperties") or []}
    if unknown := sorted(set(values) - known):
        raise ContractError(
            f"{where}: customProperties has {', '.join(unknown)}; expected only {', '.join(sorted(known))}"
        )
    return values


def _field(element: Mapping[str, Any], where: str) -> Field:
    custom = _custom(element, where)
    options = element.get("logicalTypeOptions") or {}
    name = str(element["name"])
    if not _NAME.fullmatch(name):
        raise ContractError(f"{where}: expected a lower-case identifier of at most 63 characters, found {name!r}")
    classification = element.get("classification") or "internal"
    if classification not in _CLASSIFICATIONS:
        raise ContractError(f"{where}: expected classification {', '.join(_CLASSIFICATIONS)}; found {classification!r}")
    pattern = options.get("pattern")
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ContractError(f"{where}: pattern {pattern!r} is not a regular expression: {error}") from error
    return Field(
        name=name,
        field_id=_field_id(custom, where),
        type=_type(element, where),
        required=bool(element.get("required", False)),
        description=str(element.get("description") or ""),
        aliases=tuple(custom.get("aliases") or ()),
        classification=cast(Classification, classification),
        enum=tuple(str(v["value"]) for v in element.get("enum") or ()),
        minimum=_bound(options.get("minimum"), where),
        maximum=_bound(options.get("maximum"), where),
        max_length=options.get("maxLength"),
        pattern=pattern,
    )


def _bound(value: object, where: str) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ContractError(f"{where}: expected a number as bound, found {value!r}")
    return Decimal(str(value))


def _field_id(custom: Mapping[str, Any], where: str) -> int:
    value = custom.get("fieldId")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LAST_FIELD_ID:
        raise ContractError(
            f"{where}: expected customProperties fieldId, an integer from 1 to {LAST_FIELD_ID} that no other field "
            f"has or had; found {value!r}"
        )
    return value


def _type(element: Mapping[str, Any], where: str) -> FieldType:
    logical = element.get("logicalType")
    if logical in SCALARS:
        return SCALARS[logical]
    if logical == "number":
        match = _DECIMAL.fullmatch(str(element.get("physicalType") or ""))
        if not match:
            raise ContractError(
                f"{where}: expected physicalType decimal(precision,scale) for logicalType number (money is decimal, "
                f"never float); found {element.get('physicalType')!r}"
            )
        precision, scale = int(match[1]), int(match[2])
        if not (1 <= precision <= 38 and scale <= precision):
            raise ContractError(f"{where}: expected 1 <= precision <= 38 and scale <= precision, found {match[0]}")
        return DecimalType(precision, scale)
    if logical == "array":
        items = _part(element, "items", where)
        return ListType(_field_id(_custom(items, where), f"{where}[]"), _type(items, f"{where}[]"))
    if logical == "map":
        entry = _part(element, "map", where)
        key, value = entry["key"], entry["value"]
        if key.get("logicalType") != "string":
            raise ContractError(f"{where}: expected a map whose keys are strings, found {key.get('logicalType')!r}")
        return MapType(
            _field_id(_custom(key, where), f"{where} key"),
            _field_id(_custom(value, where), f"{where} value"),
            _type(value, f"{where} value"),
        )
    if logical == "object":
        properties = element.get("properties") or []
        if not properties:
            raise ContractError(f"{where}: expected `properties` of logicalType object, found none")
        return StructType(tuple(_field(p, f"{where}.{p['name']}") for p in properties))
    expected = ", ".join([*SCALARS, "number", "array", "map", "object"])
    raise ContractError(f"{where}: expected logicalType {expected}; found {logical!r}")


def _part(element: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    part = element.get(name)
    if not isinstance(part, dict):
        raise ContractError(f"{where}: logicalType {element['logicalType']} needs `{name}`")
    return part


def _ordered(properties: Sequence[Mapping[str, Any]], flag: str, position: str) -> Sequence[Mapping[str, Any]]:
    return sorted((p for p in properties if p.get(flag)), key=lambda p: p.get(position) or 0)


def _partition(properties: Sequence[Mapping[str, Any]], own: Mapping[str, Any], where: str) -> Partition | None:
    fields = _ordered(properties, "partitioned", "partitionKeyPosition")
    if not fields:
        return None
    if len(fields) > 1 or own.get("partitionTransform") != "month":
        raise ContractError(
            f"{where}: expected one partitioned field and customProperties partitionTransform: month; "
            f"found {[p['name'] for p in fields]} and {own.get('partitionTransform')!r}"
        )
    return Partition(fields[0]["name"])


def _keys(value: Mapping[str, Any] | None, where: str) -> DynamoKeys | None:
    if value is None:
        return None
    try:
        ttl, copies = value.get("ttl"), value.get("copies")
        return DynamoKeys(
            pk=value["pk"],
            sk=value["sk"],
            indexes=tuple(IndexKeys(i["name"], i["pk"], i["sk"]) for i in value.get("indexes") or ()),
            ttl=Ttl(ttl["after"], int(ttl["days"])) if ttl else None,
            copies=Copies(copies["to"], tuple(copies["fields"])) if copies else None,
        )
    except (KeyError, TypeError) as error:
        raise ContractError(
            f"{where}: customProperties dynamodb: expected pk, sk and optionally indexes (name, pk, sk), "
            f"ttl (after, days), copies (to, fields); {error!r}"
        ) from error


def _service_level(document: Mapping[str, Any], name: str, unit: str, where: str) -> int:
    for level in document.get("slaProperties") or []:
        if level["property"] == name:
            if level.get("unit") != unit or not isinstance(level["value"], int) or level["value"] <= 0:
                raise ContractError(
                    f"{where}: slaProperties {name}: expected a positive integer with unit {unit}, "
                    f"found {level['value']!r} {level.get('unit')!r}"
                )
            return int(level["value"])
    raise ContractError(f"{where}: slaProperties: expected a property {name} with unit {unit}, found none")


def _relations(properties: Sequence[Mapping[str, Any]], where: str) -> list[Relation]:
    found = []
    for element in properties:
        for relation in element.get("relationships") or []:
            entity, _, target = str(relation["to"]).partition(".")
            if not target:
                raise ContractError(
                    f"{where}: {element['name']}: expected a relationship to <entity>.<field>, found {relation['to']!r}"
                )
            found.append(Relation(element["name"], entity, target))
    return found


def _check(contract: Contract, where: str) -> None:
    """What a single contract must hold; raises `ContractError`."""
    names = contract.field_names

    def expect(condition: bool, message: str) -> None:
        if not condition:
            raise ContractError(f"{where}: {message}")

    def known(fields: Sequence[str], what: str) -> None:
        unknown = [f for f in fields if f not in names]
        expect(not unknown, f"{what} names {', '.join(unknown)}, which is no field of {contract.name}")

    expect(len(names) == len(contract.fields), "two fields have the same name")
    ids = _all_ids(contract.fields)
    repeated = sorted({i for i in ids if ids.count(i) > 1})
    expect(not repeated, f"fieldId {repeated} is used more than once; give each field its own")
    expect(bool(contract.primary_key), "no field has primaryKey: true")
    for name in contract.primary_key:
        expect(contract.field(name).required, f"{name}: a field of the primary key must have required: true")
        expect(
            isinstance(contract.field(name).type, StringType | IntegerType),
            f"{name}: a field of the primary key must be a string or an integer",
        )
    if contract.partition:
        known([contract.partition.field], "partition")
        field = contract.field(contract.partition.field)
        expect(
            field.required and isinstance(field.type, TimestampType),
            f"{field.name}: the partition's field must be a required timestamp",
        )
    known(contract.sort, "customProperties sort")
    aliases = [a for f in contract.fields for a in (f.name, *f.aliases)]
    twice = sorted({a for a in aliases if aliases.count(a) > 1})
    expect(not twice, f"alias or name {twice} stands for more than one field")
    expect(
        contract.origin in ("stream", "files"),
        f"customProperties origin: expected stream or files, found {contract.origin!r}",
    )
    expect(
        contract.engine in get_args(Engine),
        f"customProperties engine: expected {' or '.join(get_args(Engine))}, found {contract.engine!r}",
    )
    if contract.dimension is not None:
        expect(
            isinstance(contract.dimension, str) and _NAME.fullmatch(contract.dimension) is not None,
            f"customProperties dimension: expected a lower-case identifier, found {contract.dimension!r}",
        )
        expect(len(contract.primary_key) == 1, "a dimension needs a primary key of one field")
    if contract.origin == "files":
        expect(contract.ordering is not None, "origin files needs customProperties ordering (a timestamp field)")
        ordering = contract.ordering or ""
        known([ordering], "customProperties ordering")
        expect(
            contract.field(ordering).required and isinstance(contract.field(ordering).type, TimestampType),
            f"{ordering}: the ordering column must be a required timestamp",
        )
        expect(
            contract.keys is None,
            "origin files has no place in DynamoDB: leave customProperties dynamodb out",
        )
        return
    expect(contract.keys is not None, "origin stream needs customProperties dynamodb (pk, sk)")
    keys = cast(DynamoKeys, contract.keys)
    known(keys.fields, "customProperties dynamodb")
    for name in keys.fields:
        expect(contract.field(name).required, f"{name}: a field of the DynamoDB key must have required: true")
    for index in keys.indexes:
        expect(index.name.startswith("by_"), f"index {index.name}: expected a name like by_buyer")
        known(template_fields(index.pk) + template_fields(index.sk), f"index {index.name}")
    if keys.ttl:
        known([keys.ttl.after], "ttl")
        expect(
            isinstance(contract.field(keys.ttl.after).type, TimestampType),
            "ttl: `after` must name a timestamp field",
        )
    if keys.copies:
        known(keys.copies.fields, "copies")


def _all_ids(fields: Sequence[Field]) -> list[int]:
    ids: list[int] = []
    for field in fields:
        ids.append(field.field_id)
        ids.extend(_type_ids(field.type))
    return ids


def _type_ids(type_: FieldType) -> list[int]:
    match type_:
        case ListType(element_id, element):
            return [element_id, *_type_ids(element)]
        case MapType(key_id, value_id, value):
            return [key_id, value_id, *_type_ids(value)]
        case StructType(fields):
            return _all_ids(fields)
        case _:
            return []


def _check_dimensions(contracts: Contracts) -> None:
    """That no two entities make the same dimension; raises `ContractError`."""
    entities: dict[str, str] = {}
    for contract in contracts.values():
        if contract.dimension is None:
            continue
        other = entities.setdefault(contract.dimension, contract.name)
        if other != contract.name:
            raise ContractError(
                f"{contract.name}.yaml: customProperties dimension: expected a name of its own, found "
                f"{contract.dimension!r}, which {other} has"
            )


def _check_references(contract: Contract, contracts: Contracts) -> None:
    """That relations and copies name entities and fields that exist; raises `ContractError`."""
    for relation in contract.relations:
        target = contracts.get(relation.entity)
        if target is None or relation.target_field not in target.field_names:
            raise ContractError(
                f"{contract.name}.yaml: {relation.field}: relationship to {relation.entity}.{relation.target_field}, "
                f"which does not exist; entities are {', '.join(contracts)}"
            )
    copies = contract.keys.copies if contract.keys else None
    if copies is None:
        return
    target = contracts.get(copies.to)
    if target is None or target.keys is None or target.needs_pointer:
        raise ContractError(
            f"{contract.name}.yaml: copies.to: expected an entity of origin stream that is addressed by its primary "
            f"key, found {copies.to!r}"
        )
    missing = [f for f in (*copies.fields, *target.primary_key) if f not in target.field_names]
    missing += [f for f in target.primary_key if f not in contract.field_names]
    if missing:
        raise ContractError(
            f"{contract.name}.yaml: copies: {', '.join(missing)} must be in both {contract.name} and {copies.to}"
        )
