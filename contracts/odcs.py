"""Reads an Open Data Contract Standard (ODCS v3) document into a `Contract`.

The standard's own JSON Schema checks the document's shape; here is what Gavel reads from it, and what it needs of each
part. How the parts fit together belongs to `contracts.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, partial
from typing import Any, cast, get_args

from contracts import rules
from contracts.errors import gathered, refuse
from contracts.model import (
    Contract,
    ContractError,
    Copies,
    DynamoKeys,
    Erasure,
    IndexKeys,
    Partition,
    Relation,
    Transition,
    Ttl,
)
from contracts.names import ENVELOPE, problem_of_attribute, problem_of_entity, problem_of_member
from contracts.types import (
    SCALARS,
    Classification,
    DecimalType,
    Field,
    FieldType,
    ListType,
    MapType,
    StructType,
)

LAST_FIELD_ID = 999  # ids from 1001 on belong to the system columns of the lake

_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_CUSTOM = frozenset(
    "origin partitionTransform sort ordering dynamodb engine dimension fieldId aliases erasure storageClass "
    "legalHold".split()
)


def parse_contract(document: Mapping[str, Any], where: str = "contract") -> Contract:
    """The contract in an ODCS v3 document; raises `ContractError` with all problems, a line each: those of the
    document's shape, or else of its parts, or else of how they fit together."""
    _check_standard(document, where)
    tables = document["schema"] if isinstance(document.get("schema"), list) else []
    if len(tables) != 1:
        raise ContractError(f"{where}: expected exactly one table under `schema`, found {len(tables)}")
    table = tables[0]
    name = str(document.get("name", ""))
    if not rules.NAME.fullmatch(name) or table["name"] != name:
        raise ContractError(
            f"{where}: `name` and `schema[0].name` must be the same lower-case identifier, "
            f"found {name!r} and {table['name']!r}"
        )
    properties = table.get("properties") or []
    parts: list[Callable[[], Any]] = [
        partial(_custom, table, where),
        lambda: _keys(_own(table).get("dynamodb"), where),
        lambda: _service_level(document, "retention", "d", where),
        lambda: _service_level(document, "freshness", "m", where),
        lambda: _partition(properties, _own(table), where),
        lambda: _relations(properties, where),
        *(partial(_field, p, f"{where}: {p['name']}") for p in properties),
        lambda: _texts(_own(table).get("sort"), f"{where}: customProperties sort"),
        lambda: _erasure(_own(table).get("erasure"), where),
        lambda: _transition(document, _own(table), where),
        partial(_check_version, document, where),
        partial(_check_names, name, table, where),
    ]
    own, keys, retention, freshness, partition, relations, *fields = gathered(parts)
    sort, erasure, transition, *_ = fields[len(properties) :]
    contract = Contract(
        name=name,
        version=str(document["version"]),
        description=str((document.get("description") or {}).get("purpose") or table.get("description") or ""),
        owner=str((document.get("team") or {}).get("name") or ""),
        domain=str(document.get("domain") or ""),
        origin=own.get("origin", "stream"),
        fields=tuple(fields[: len(properties)]),
        primary_key=tuple(p["name"] for p in _ordered(properties, "primaryKey", "primaryKeyPosition")),
        partition=partition,
        sort=tuple(sort),
        ordering=own.get("ordering"),
        keys=keys,
        retention_days=retention,
        freshness_minutes=freshness,
        relations=tuple(relations),
        engine=own.get("engine", "embedded"),
        dimension=own.get("dimension"),
        erasure=erasure,
        transition=transition,
        legal_hold=own.get("legalHold", False),
    )
    rules.check(contract, where)
    return contract


def _check_version(document: Mapping[str, Any], where: str) -> None:
    if not _VERSION.fullmatch(str(document["version"])):
        raise ContractError(f"{where}: expected `version` like 1.0.0, found {document['version']!r}")


def _aliases(element: Mapping[str, Any]) -> list[str]:
    return _texts(_own(element).get("aliases"), f"{element['name']}: customProperties aliases")


def _texts(value: object, where: str) -> list[str]:
    """A list of texts, empty if there is none; raises `ContractError` for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise ContractError(f"{where}: expected a list of texts, found {value!r:.100}")
    return value


def _check_names(name: str, table: Mapping[str, Any], where: str) -> None:
    refuse(_name_problems(name, _own(table).get("dimension"), table.get("properties") or []), where)


def _name_problems(entity: str, dimension: object, properties: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Names of the entity, its dimension, its fields and their members that a layer reads as its own."""
    yield from filter(None, (problem_of_entity(word) for word in (entity, dimension) if isinstance(word, str)))
    for element in properties:
        name = element["name"]
        if dimension and name == f"{dimension}_key":
            yield f"{name} is the key of the dimension; write {entity}_{name}"
        for alias in _aliases(element):
            if alias.startswith("_"):
                yield f"alias {alias} of {name} begins with _ as what the system reads does; leave the _ out"
        if ENVELOPE in _aliases(element):
            yield f"alias {ENVELOPE} of {name} says of an imported object that it is a CloudEvent; leave it out"
        if dimension and (problem := problem_of_attribute(name, entity)):
            yield problem
        yield from filter(None, (problem_of_member(member, entity) for member in _member_names(element)))


def _member_names(element: Mapping[str, Any]) -> Iterator[str]:
    """The names of a property and of what is nested in it."""
    if "name" in element:
        yield str(element["name"])
    nested = list(element.get("properties") or [])
    for part in (element.get("items"), (element.get("map") or {}).get("value")):
        nested += [part] if isinstance(part, Mapping) else []
    for each in nested:
        yield from _member_names(each)


@cache
def _standard() -> Any:
    from importlib.resources import files

    import jsonschema_rs

    return jsonschema_rs.validator_for(files("open_data_contract_standard").joinpath("schema.json").read_text())


def _check_standard(document: Mapping[str, Any], where: str) -> None:
    try:
        problems = [
            f"{where}: at {'.'.join(str(step) for step in error.instance_path) or 'the top'}: {error.message:.200} "
            f"(Open Data Contract Standard {document.get('apiVersion', 'v3')})"
            for error in _standard().iter_errors(document)
        ]
    except ValueError as error:  # YAML has dates, which JSON does not
        raise ContractError(f"{where}: expected text, numbers and lists only: {error}; put dates in quotes") from error
    if problems:
        raise ContractError("\n".join(problems))


def _custom(element: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = _own(element)
    if unknown := sorted(set(values) - _CUSTOM):
        raise ContractError(
            f"{where}: customProperties has {', '.join(unknown)}; expected only {', '.join(sorted(_CUSTOM))}"
        )
    return values


def _own(element: Mapping[str, Any]) -> dict[str, Any]:
    """What the standard has no word for, unchecked."""
    return {p["property"]: p["value"] for p in element.get("customProperties") or []}


def _field(element: Mapping[str, Any], where: str) -> Field:
    options = element.get("logicalTypeOptions") or {}
    parts: list[Callable[[], Any]] = [
        partial(_custom, element, where),
        lambda: _field_id(_own(element), where),
        partial(_type, element, where),
        lambda: _bound(options.get("minimum"), where),
        lambda: _bound(options.get("maximum"), where),
        partial(_check_field, element, where),
    ]
    custom, field_id, type_, minimum, maximum, *_ = gathered(parts)
    return Field(
        name=str(element["name"]),
        field_id=field_id,
        type=type_,
        required=bool(element.get("required", False)),
        description=str(element.get("description") or ""),
        aliases=tuple(_texts(custom.get("aliases"), f"{where}: customProperties aliases")),
        classification=cast(Classification, element.get("classification") or "internal"),
        enum=tuple(str(v["value"]) for v in element.get("enum") or ()),
        minimum=minimum,
        maximum=maximum,
        max_length=options.get("maxLength"),
        pattern=options.get("pattern"),
    )


def _check_field(element: Mapping[str, Any], where: str) -> None:
    refuse(_field_problems(element), where)


def _field_problems(element: Mapping[str, Any]) -> Iterator[str]:
    name = str(element["name"])
    if not rules.NAME.fullmatch(name):
        yield f"expected a lower-case identifier of at most 63 characters, found {name!r}"
    classification = element.get("classification") or "internal"
    if classification not in get_args(Classification):
        yield f"expected classification {', '.join(get_args(Classification))}; found {classification!r}"
    pattern = (element.get("logicalTypeOptions") or {}).get("pattern")
    try:
        re.compile(pattern or "")
    except re.error as error:
        yield f"pattern {pattern!r} is not a regular expression: {error}"


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
        return StructType(tuple(gathered(partial(_field, p, f"{where}.{p['name']}") for p in properties)))
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
        ttl, copies, indexes = value.get("ttl"), value.get("copies"), value.get("indexes") or ()
        texts = [value["pk"], value["sk"], *(i[part] for i in indexes for part in ("name", "pk", "sk"))]
        texts += [ttl["after"]] if ttl else []
        texts += [copies["to"], *copies["fields"]] if copies else []
        if wrong := [text for text in texts if not isinstance(text, str) or not text]:
            raise TypeError(f"{wrong[0]!r:.100} is no text")
        return DynamoKeys(
            pk=value["pk"],
            sk=value["sk"],
            indexes=tuple(IndexKeys(i["name"], i["pk"], i["sk"]) for i in indexes),
            ttl=Ttl(ttl["after"], int(ttl["days"])) if ttl else None,
            copies=Copies(copies["to"], tuple(copies["fields"])) if copies else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{where}: customProperties dynamodb: expected pk, sk and optionally indexes (name, pk, sk), "
            f"ttl (after, days), copies (to, fields); {error!r}"
        ) from error


def _erasure(value: object, where: str) -> Erasure | None:
    if value is None:
        return None
    try:
        parts: dict[str, Any] = dict(cast(Mapping[str, Any], value))
        found = Erasure(
            persons=tuple(_texts(parts.pop("persons"), f"{where}: customProperties erasure persons")),
            rows=parts.pop("rows", "keep"),
            fields=tuple(sorted(dict(parts.pop("fields", {})).items())),
            of=tuple(sorted(dict(parts.pop("of", {})).items())),
        )
        if parts or found.rows not in ("delete", "keep"):
            raise ValueError(f"found {', '.join(parts) or repr(found.rows)}")
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{where}: customProperties erasure: expected persons (a list of fields) and optionally rows (delete or "
            f"keep), fields (null, pseudonym or keep by field) and of (a field of persons by field); {error!r}"
        ) from error
    return found


def _transition(document: Mapping[str, Any], own: Mapping[str, Any], where: str) -> Transition | None:
    if not any(level["property"] == "transition" for level in document.get("slaProperties") or []):
        return None
    days = _service_level(document, "transition", "d", where)
    return Transition(days, str(own["storageClass"])) if "storageClass" in own else Transition(days)


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
