"""What makes a contract usable beyond the shape of its document: names, keys, types, and how contracts fit together.

Each function says one kind of problem. Those of one contract have no place in them; whoever collects them adds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, get_args

from contracts.errors import refuse
from contracts.model import (
    PSEUDONYM_LENGTH,
    TREATMENTS,
    Contract,
    ContractError,
    Contracts,
    DynamoKeys,
    Engine,
    Erasure,
    Treatment,
    template_fields,
)
from contracts.types import FieldType, IntegerType, StringType, StructType, TimestampType, fold

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
STORAGE_CLASSES = ("STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
"""Of S3, for landed objects. From the last two nothing can be read until it is restored."""
_INDEX = re.compile(r"by_[a-z][a-z0-9_]{0,59}")


def check(contract: Contract, where: str) -> None:
    """Raises `ContractError` with all problems of a contract by itself."""
    refuse(_problems(contract), where)


def _problems(contract: Contract) -> Iterator[str]:
    yield from _field_problems(contract)
    yield from _key_problems(contract)
    yield from _table_problems(contract)
    yield from _erasure_problems(contract, contract.erasure)
    yield from _retention_problems(contract)
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


def _erasure_problems(contract: Contract, erasure: Erasure | None) -> Iterator[str]:
    """That it is known whose a personal field is, and that rows hold to their contract without what is personal."""
    if erasure is None:
        return
    named = (*erasure.persons, *(f for f, _ in erasure.fields), *(name for pair in erasure.of for name in pair))
    unknown = [*_unknown(contract, named, "customProperties erasure")]
    yield from unknown
    if unknown or not erasure.persons:
        yield from () if unknown else ("customProperties erasure: expected at least one field in persons",)
        return
    if contract.origin == "files":
        yield "customProperties erasure: rows of origin files are known by their place, which an erasure would move"
    if wrong := [p for _, p in erasure.of if p not in erasure.persons]:
        yield f"customProperties erasure of: expected fields of persons, found {', '.join(wrong)}"
    if len(erasure.persons) > 1 and (lost := [f for f in contract.personal if f not in dict(erasure.of)]):
        yield f"{lost[0]} is personal: customProperties erasure of must say which of several persons it is about"
    if erasure.rows == "delete":
        if not set(erasure.persons) <= set(contract.primary_key) or len(erasure.persons) > 1:
            yield "customProperties erasure: rows can be deleted only where the one person is in the primary key"
        return
    fixed = {*contract.immutable, *contract.sort} & {*erasure.persons, *(f for f, _ in erasure.fields)}
    if fixed:
        yield f"{min(fixed)} says where a row is, so that an erasure cannot change it; use rows: delete"
    for person in erasure.persons:
        for field in contract.field_names:
            yield from _treatment_problems(contract, field, contract.treatment(field, person))


def _treatment_problems(contract: Contract, name: str, treatment: Treatment) -> Iterator[str]:
    field = contract.field(name)
    if treatment not in TREATMENTS:
        yield f"{name}: expected an erasure by {', '.join(TREATMENTS)}; found {treatment!r}"
    if treatment == "null" and field.required:
        yield f"{name}: a required field cannot be erased to null; use pseudonym"
    free = isinstance(field.type, StringType) and not field.enum and not field.pattern
    if treatment == "pseudonym" and not (free and (field.max_length or PSEUDONYM_LENGTH) >= PSEUDONYM_LENGTH):
        yield f"{name}: a pseudonym needs free text of {PSEUDONYM_LENGTH} characters; use null, or delete the rows"


def _retention_problems(contract: Contract) -> Iterator[str]:
    """A transition before the end, and a hold that is one or not."""
    if contract.transition and contract.transition.days >= contract.retention_days:
        yield (
            f"slaProperties transition: expected fewer days than the retention of {contract.retention_days}, "
            f"found {contract.transition.days}"
        )
    if contract.transition and contract.transition.storage_class not in STORAGE_CLASSES:
        yield (
            f"customProperties storageClass: expected {', '.join(STORAGE_CLASSES)}, "
            f"found {contract.transition.storage_class!r}"
        )
    if not isinstance(contract.legal_hold, bool):
        yield f"customProperties legalHold: expected true or false, found {contract.legal_hold!r}"


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
    if "{~" in keys.pk + keys.sk:
        yield "customProperties dynamodb: {~field} is for indexes: two items would have the same key"
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


def with_persons(contract: Contract, contracts: Contracts) -> Contract:
    """The contract with an erasure for the fields that refer to a person, if it does not say any. Raises
    `ContractError` where the rows could not be erased, or where its erasure leaves such a field out."""
    referring = tuple(r.field for r in contract.relations if _is_person(contracts[r.entity], r.target_field))
    if contract.erasure is not None:
        if missing := [f for f in referring if f not in contract.erasure.persons]:
            raise ContractError(
                f"{contract.name}.yaml: {missing[0]} refers to a person: expected it in customProperties erasure "
                "persons"
            )
        return contract
    if not referring:
        return contract
    own = len(referring) == 1 and referring[0] in contract.primary_key
    found = replace(contract, erasure=Erasure(referring, "delete" if own else "keep"))
    refuse(_erasure_problems(found, found.erasure), f"{contract.name}.yaml")
    return found


def _is_person(target: Contract, field: str) -> bool:
    erasure = target.erasure
    return erasure is not None and field in erasure.persons and field in target.primary_key


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
