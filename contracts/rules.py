"""What makes a contract usable beyond the shape of its document: names, keys, types, and how contracts fit together.

Each function says one kind of problem. Those of one contract have no place in them; whoever collects them adds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from contracts.errors import refuse
from contracts.model import Contract, ContractError, Contracts, DynamoKeys, Engine, template_fields
from contracts.types import FieldType, IntegerType, StringType, StructType, TimestampType, fold

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_INDEX = re.compile(r"by_[a-z][a-z0-9_]{0,59}")


def check(contract: Contract, where: str) -> None:
    """Raises `ContractError` with all problems of a contract by itself."""
    refuse(_problems(contract), where)


def _problems(contract: Contract) -> Iterator[str]:
    yield from _field_problems(contract)
    yield from _key_problems(contract)
    yield from _table_problems(contract)
    if contract.origin == "files":
        yield from _file_problems(contract)
    elif contract.origin == "stream":
        yield from _stream_problems(contract, contract.keys)
    else:
        yield f"customProperties origin: expected stream or files, found {contract.origin!r}"


def _field_problems(contract: Contract) -> Iterator[str]:
    """Names, ids and aliases that stand for more than one thing."""
    if len(contract.field_names) < len(contract.fields):
        yield "two fields have the same name"
    if repeated := _repeated(_ids(StructType(contract.fields))):
        yield f"fieldId {repeated} is used more than once; give each field its own"
    for field in contract.fields:
        for members in _record_members(field.type):
            if again := _repeated(members):
                yield f"{field.name}: members {again} are there more than once; give each its own name"
    if twice := _repeated([a for f in contract.fields for a in (f.name, *f.aliases)]):
        yield f"alias or name {twice} stands for more than one field"


def _key_problems(contract: Contract) -> Iterator[str]:
    if not contract.primary_key:
        yield "no field has primaryKey: true"
    for name in contract.primary_key:
        field = contract.field(name)
        if not field.required:
            yield f"{name}: a field of the primary key must have required: true"
        if not isinstance(field.type, StringType | IntegerType):
            yield f"{name}: a field of the primary key must be a string or an integer"


def _table_problems(contract: Contract) -> Iterator[str]:
    """Partition, order of rows, engine and dimension."""
    if contract.partition:
        yield from _moment_problems(contract, contract.partition.field, "partition", "the partition's field")
    yield from _unknown(contract, contract.sort, "customProperties sort")
    if contract.engine not in get_args(Engine):
        yield f"customProperties engine: expected {' or '.join(get_args(Engine))}, found {contract.engine!r}"
    if contract.dimension is not None:
        if not isinstance(contract.dimension, str) or not NAME.fullmatch(contract.dimension):
            yield f"customProperties dimension: expected a lower-case identifier, found {contract.dimension!r}"
        if len(contract.primary_key) != 1:
            yield "a dimension needs a primary key of one field"


def _file_problems(contract: Contract) -> Iterator[str]:
    """What an entity needs that lives in files alone."""
    if contract.keys is not None:
        yield "origin files has no place in DynamoDB: leave customProperties dynamodb out"
    if contract.ordering is None:
        yield "origin files needs customProperties ordering (a timestamp field)"
    else:
        yield from _moment_problems(contract, contract.ordering, "customProperties ordering", "the ordering column")


def _stream_problems(contract: Contract, keys: DynamoKeys | None) -> Iterator[str]:
    """What an entity needs that lives in DynamoDB."""
    if keys is None:
        yield "origin stream needs customProperties dynamodb (pk, sk)"
        return
    unknown = [*_unknown(contract, keys.fields, "customProperties dynamodb")]
    yield from unknown
    for name in () if unknown else keys.fields:
        if not contract.field(name).required:
            yield f"{name}: a field of the DynamoDB key must have required: true"
    for index in keys.indexes:
        if not _INDEX.fullmatch(index.name):
            yield f"index {index.name}: expected a name like by_buyer"
        yield from _unknown(contract, template_fields(index.pk) + template_fields(index.sk), f"index {index.name}")
    if keys.ttl:
        unknown = [*_unknown(contract, [keys.ttl.after], "ttl")]
        yield from unknown
        if not unknown and not isinstance(contract.field(keys.ttl.after).type, TimestampType):
            yield "ttl: `after` must name a timestamp field"
    if keys.copies:
        yield from _unknown(contract, keys.copies.fields, "copies")


def _moment_problems(contract: Contract, name: str, what: str, called: str) -> Iterator[str]:
    """That a name is of a field, which is a required timestamp."""
    if unknown := [*_unknown(contract, [name], what)]:
        yield from unknown
        return
    field = contract.field(name)
    if not (field.required and isinstance(field.type, TimestampType)):
        yield f"{name}: {called} must be a required timestamp"


def _unknown(contract: Contract, fields: Sequence[str], what: str) -> Iterator[str]:
    if unknown := [f for f in fields if f not in contract.field_names]:
        yield f"{what} names {', '.join(map(str, unknown))}, which is no field of {contract.name}"


def _repeated(values: Sequence[Any]) -> list[Any]:
    return sorted({v for v in values if values.count(v) > 1})


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


def check_dimensions(contracts: Contracts) -> None:
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


def check_alike(contracts: Contracts) -> None:
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


def check_references(contract: Contract, contracts: Contracts) -> None:
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
