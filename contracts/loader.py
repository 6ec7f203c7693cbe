"""Reads contracts from ODCS v3 YAML files and refuses, with a clear message, what cannot be used.

Two layers of checks: the Open Data Contract Standard's own JSON Schema (shape of the document), then what Gavel needs
beyond it (keys, ids, partition, origin). One file is one entity; the file's name is the entity's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

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
from contracts.names import ENVELOPE, problem_of_attribute, problem_of_entity, problem_of_member
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
    fold,
)

ENTITIES = Path(__file__).parent / "entities"
LAST_FIELD_ID = 999  # ids from 1001 on belong to the system columns of the lake

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_CLASSIFICATIONS = ("public", "internal", "personal")
_INDEX = re.compile(r"by_[a-z][a-z0-9_]{0,59}")

Made = TypeVar("Made")


def load_contracts(folder: Path | None = None) -> Contracts:
    """All contracts of a folder of `<entity>.yaml` files (default: the product's own), or of one document of
    `contracts.compact`, which were checked when it was made.

    Raises one `ContractError` with every problem of every contract, a line each. What relates two contracts is looked
    at when each can be used by itself.
    """
    folder = folder or ENTITIES
    if folder.is_file():
        return load_compact(folder.read_bytes())
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ContractError(f"{folder}: expected one YAML file per entity, found none")
    loaded = _gathered(partial(load_contract, path) for path in files)
    contracts = Contracts({c.name: c for c in loaded})
    checks = [partial(_check_references, contract, contracts) for contract in contracts.values()]
    _gathered([*checks, partial(_check_dimensions, contracts), partial(_check_alike, contracts)])
    return contracts


def _gathered(parts: Iterable[Callable[[], Made]]) -> list[Made]:
    """What all parts make; raises one `ContractError` with the problems of all that cannot be made."""
    made, problems = [], []
    for part in parts:
        try:
            made.append(part())
        except ContractError as error:
            problems.append(str(error))
    if problems:
        raise ContractError("\n".join(dict.fromkeys(problems)))
    return made


def load_contract(path: Path) -> Contract:
    """The contract in one file; raises `ContractError` that names the file and the place in it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that is none
        raise ContractError(f"{path.name}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ContractError(f"{path.name}: expected a mapping at the top, found {type(document).__name__}")
    contract = parse_contract(document, where=path.name)
    if contract.name != path.stem:
        raise ContractError(f"{path.name}: expected name: {path.stem} (the file's name), found {contract.name}")
    return contract


def parse_contract(document: Mapping[str, Any], where: str = "contract") -> Contract:
    """The contract in an ODCS v3 document; raises `ContractError` with all problems, a line each: those of the
    document's shape, or else of its parts, or else of how they fit together."""
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
        partial(_check_version, document, where),
        partial(_check_names, name, table, where),
    ]
    own, keys, retention, freshness, partition, relations, *fields = _gathered(parts)
    sort = fields[len(properties)]
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
    )
    _check(contract, where)
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
    """That no layer reads the names of the entity, its dimension, its fields and their members as its own."""
    dimension = _own(table).get("dimension")
    problems = [problem_of_entity(word) for word in (name, dimension) if isinstance(word, str)]
    taken = {f"{dimension}_key": "is the key of the dimension"} if dimension else {}
    for element in table.get("properties") or []:
        if element["name"] in taken:
            problems.append(f"{element['name']} {taken[element['name']]}; write {name}_{element['name']}")
        problems += [
            f"alias {alias} of {element['name']} begins with _ as what the system reads does; leave the _ out"
            for alias in _aliases(element)
            if str(alias).startswith("_")
        ]
        problems += [
            f"alias {alias} of {element['name']} says of an imported object that it is a CloudEvent; leave it out"
            for alias in _aliases(element)
            if alias == ENVELOPE
        ]
        if dimension:
            problems.append(problem_of_attribute(element["name"], name))
        problems += [problem_of_member(member, name) for member in _member_names(element)]
    if found := [f"{where}: {problem}" for problem in problems if problem]:
        raise ContractError("\n".join(found))


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
    values = _own(element)
    if unknown := sorted(set(values) - known):
        raise ContractError(
            f"{where}: customProperties has {', '.join(unknown)}; expected only {', '.join(sorted(known))}"
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
    custom, field_id, type_, minimum, maximum, *_ = _gathered(parts)
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
    problems = []
    name = str(element["name"])
    if not _NAME.fullmatch(name):
        problems.append(f"expected a lower-case identifier of at most 63 characters, found {name!r}")
    classification = element.get("classification") or "internal"
    if classification not in _CLASSIFICATIONS:
        problems.append(f"expected classification {', '.join(_CLASSIFICATIONS)}; found {classification!r}")
    pattern = (element.get("logicalTypeOptions") or {}).get("pattern")
    try:
        re.compile(pattern or "")
    except re.error as error:
        problems.append(f"pattern {pattern!r} is not a regular expression: {error}")
    if problems:
        raise ContractError("\n".join(f"{where}: {problem}" for problem in problems))


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
        return StructType(tuple(_gathered(partial(_field, p, f"{where}.{p['name']}") for p in properties)))
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


class _Checks:
    """What a single contract must hold; `problems` is what it does not."""

    def __init__(self, contract: Contract, where: str) -> None:
        self.contract = contract
        self.where = where
        self.problems: list[str] = []

    def expect(self, condition: bool, message: str) -> bool:
        if not condition:
            self.problems.append(f"{self.where}: {message}")
        return condition

    def known(self, fields: Sequence[str], what: str) -> bool:
        unknown = [f for f in fields if f not in self.contract.field_names]
        return self.expect(
            not unknown, f"{what} names {', '.join(map(str, unknown))}, which is no field of {self.contract.name}"
        )

    def fields(self) -> None:
        contract = self.contract
        self.expect(len(contract.field_names) == len(contract.fields), "two fields have the same name")
        ids = _ids(StructType(contract.fields))
        repeated = sorted({i for i in ids if ids.count(i) > 1})
        self.expect(not repeated, f"fieldId {repeated} is used more than once; give each field its own")
        for field in contract.fields:
            for members in _record_members(field.type):
                again = sorted({m for m in members if members.count(m) > 1})
                self.expect(
                    not again, f"{field.name}: members {again} are there more than once; give each its own name"
                )
        aliases = [a for f in contract.fields for a in (f.name, *f.aliases)]
        twice = sorted({a for a in aliases if aliases.count(a) > 1})
        self.expect(not twice, f"alias or name {twice} stands for more than one field")

    def table(self) -> None:
        contract = self.contract
        self.expect(bool(contract.primary_key), "no field has primaryKey: true")
        for name in contract.primary_key:
            field = contract.field(name)
            self.expect(field.required, f"{name}: a field of the primary key must have required: true")
            self.expect(
                isinstance(field.type, StringType | IntegerType),
                f"{name}: a field of the primary key must be a string or an integer",
            )
        if contract.partition and self.known([contract.partition.field], "partition"):
            field = contract.field(contract.partition.field)
            self.expect(
                field.required and isinstance(field.type, TimestampType),
                f"{field.name}: the partition's field must be a required timestamp",
            )
        self.known(contract.sort, "customProperties sort")
        self.expect(
            contract.engine in get_args(Engine),
            f"customProperties engine: expected {' or '.join(get_args(Engine))}, found {contract.engine!r}",
        )
        if contract.dimension is not None:
            self.expect(
                isinstance(contract.dimension, str) and _NAME.fullmatch(contract.dimension) is not None,
                f"customProperties dimension: expected a lower-case identifier, found {contract.dimension!r}",
            )
            self.expect(len(contract.primary_key) == 1, "a dimension needs a primary key of one field")

    def files(self) -> None:
        contract = self.contract
        self.expect(contract.keys is None, "origin files has no place in DynamoDB: leave customProperties dynamodb out")
        ordering = contract.ordering
        if ordering is None:
            self.expect(False, "origin files needs customProperties ordering (a timestamp field)")
        elif self.known([ordering], "customProperties ordering"):
            field = contract.field(ordering)
            self.expect(
                field.required and isinstance(field.type, TimestampType),
                f"{ordering}: the ordering column must be a required timestamp",
            )

    def stream(self) -> None:
        contract, keys = self.contract, self.contract.keys
        if keys is None:
            self.expect(False, "origin stream needs customProperties dynamodb (pk, sk)")
            return
        if self.known(keys.fields, "customProperties dynamodb"):
            for name in keys.fields:
                self.expect(
                    contract.field(name).required, f"{name}: a field of the DynamoDB key must have required: true"
                )
        for index in keys.indexes:
            self.expect(_INDEX.fullmatch(index.name) is not None, f"index {index.name}: expected a name like by_buyer")
            self.known(template_fields(index.pk) + template_fields(index.sk), f"index {index.name}")
        if keys.ttl and self.known([keys.ttl.after], "ttl"):
            self.expect(
                isinstance(contract.field(keys.ttl.after).type, TimestampType),
                "ttl: `after` must name a timestamp field",
            )
        if keys.copies:
            self.known(keys.copies.fields, "copies")


def _check(contract: Contract, where: str) -> None:
    """Raises `ContractError` with all that a contract by itself does not hold."""
    checks = _Checks(contract, where)
    checks.fields()
    checks.table()
    if contract.origin == "files":
        checks.files()
    elif checks.expect(
        contract.origin == "stream",
        f"customProperties origin: expected stream or files, found {contract.origin!r}",
    ):
        checks.stream()
    if checks.problems:
        raise ContractError("\n".join(checks.problems))


def _ids(type_: FieldType) -> list[int]:
    """The field ids in a type, at every depth."""
    return fold(
        type_,
        scalar=lambda _: [],
        list_=lambda list_, element: [list_.element_id, *element],
        map_=lambda map_, value: [map_.key_id, map_.value_id, *value],
        struct=lambda members: [i for field, inner in members for i in (field.field_id, *inner)],
    )


def _record_members(type_: FieldType) -> list[list[str]]:
    """The names of the members of each record in a type, at every depth."""
    return fold(
        type_,
        scalar=lambda _: [],
        list_=lambda _, element: element,
        map_=lambda _, value: value,
        struct=lambda members: [[f.name for f, _ in members], *(names for _, inner in members for names in inner)],
    )


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


def _check_alike(contracts: Contracts) -> None:
    """That no two entities are one where `_` cannot be written: CloudFormation names what is made of each by letters
    and digits alone. Raises `ContractError`."""
    entities: dict[str, str] = {}
    for name in contracts:
        other = entities.setdefault(name.replace("_", ""), name)
        if other != name:
            raise ContractError(
                f"{name}.yaml: expected a name that differs from {other} by more than _, which CloudFormation does not "
                f"see; write another word"
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
