"""Which changes of a contract keep every reader and every stored row right, and which are refused.

Allowed: a new field that is not required, a wider type, fewer rules, new aliases, other texts. Refused: dropping,
renaming or narrowing a field, and anything that changes which item or partition a row belongs to. The rules are those
of Iceberg's schema evolution, made stricter where a stored row could become invalid.
"""

from __future__ import annotations

from dataclasses import replace

from contracts.model import Contract, ContractError, Contracts
from contracts.types import (
    CLASSIFICATIONS,
    PERSONAL,
    DecimalType,
    Field,
    FieldType,
    ListType,
    MapType,
    StructType,
    fold,
    type_name,
)


class IncompatibleContract(ContractError):
    """A new version of a contract would break readers or stored rows; lists everything that would."""


def check_compatible(old: Contract, new: Contract) -> None:
    """Raise `IncompatibleContract` unless `new` may follow `old` in place."""
    problems = _contract_problems(old, new) + _field_problems(old.fields, new.fields, "")
    changed = _without_texts(StructType(old.fields)) != _without_texts(StructType(new.fields))
    if changed and not problems and _number(new.version) <= _number(old.version):
        problems.append(f"version: expected one above {old.version}, found {new.version}")
    if problems:
        raise IncompatibleContract(
            f"{new.name}: version {new.version} cannot follow {old.version}:\n"
            + "\n".join(f"  - {p}" for p in problems)
            + "\nAdd a new field beside the old one, or a new entity, and retire the old one when nobody reads it."
        )


def check_all_compatible(old: Contracts, new: Contracts) -> None:
    """`check_compatible` for each entity of `old`; an entity that is gone is refused too."""
    for name, contract in old.items():
        if name not in new:
            raise IncompatibleContract(f"{name}: the contract is gone; expected it to stay while its tables are read")
        check_compatible(contract, new[name])


def _without_texts(type_: FieldType) -> FieldType:
    """The type by what it demands of data: a better description needs no new version."""
    return fold(
        type_,
        scalar=lambda scalar: scalar,
        list_=lambda list_, element: replace(list_, element=element),
        map_=lambda map_, value: replace(map_, value=value),
        struct=lambda members: StructType(
            tuple(replace(field, description="", aliases=(), type=inner) for field, inner in members)
        ),
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _contract_problems(old: Contract, new: Contract) -> list[str]:
    problems = []
    for what, before, after in (
        ("name", old.name, new.name),
        ("origin", old.origin, new.origin),
        ("primary key", old.primary_key, new.primary_key),
        ("partition", old.partition, new.partition),
        ("ordering", old.ordering, new.ordering),
        ("DynamoDB pk", old.keys and old.keys.pk, new.keys and new.keys.pk),
        ("DynamoDB sk", old.keys and old.keys.sk, new.keys and new.keys.sk),
    ):
        if before != after:
            problems.append(f"{what}: expected {before!r} as before, found {after!r}")
    persons = set(old.erasure.persons if old.erasure else ())
    if forgotten := sorted(persons - set(new.erasure.persons if new.erasure else ())):
        problems.append(f"erasure: expected persons to name {', '.join(forgotten)} as before; rows hold them")
    return problems


def _field_problems(old: tuple[Field, ...], new: tuple[Field, ...], path: str) -> list[str]:
    problems = []
    by_name, by_id = {f.name: f for f in new}, {f.field_id: f for f in new}
    old_ids = {f.field_id: f for f in old}
    for field in old:
        where = f"{path}{field.name}"
        found = by_name.get(field.name)
        if found is None:
            renamed = by_id.get(field.field_id)
            problems.append(f"{where}: renamed to {renamed.name}" if renamed else f"{where}: dropped")
            continue
        if found.field_id != field.field_id:
            problems.append(f"{where}: expected fieldId {field.field_id} as before, found {found.field_id}")
        problems += _type_problems(field.type, found.type, where)
        problems += _rule_problems(field, found, where)
    names = {f.name for f in old}
    for field in new:
        if field.name in names:
            continue
        if field.required:
            problems.append(f"{path}{field.name}: a new field must not be required, stored rows have none")
        if field.field_id in old_ids and old_ids[field.field_id].name in by_name:
            problems.append(f"{path}{field.name}: fieldId {field.field_id} belongs to another field")
    return problems


def _type_problems(old: FieldType, new: FieldType, where: str) -> list[str]:
    match old, new:
        case DecimalType(old_precision, old_scale), DecimalType(new_precision, new_scale):
            if new_scale == old_scale and new_precision >= old_precision:
                return []
        case ListType(old_id, old_element), ListType(new_id, new_element):
            if old_id == new_id:
                return _type_problems(old_element, new_element, f"{where}[]")
        case MapType(old_key, old_id, old_value), MapType(new_key, new_id, new_value):
            if (old_key, old_id) == (new_key, new_id):
                return _type_problems(old_value, new_value, f"{where} value")
        case StructType(old_fields), StructType(new_fields):
            return _field_problems(old_fields, new_fields, f"{where}.")
        case _:
            if old == new:
                return []
    return [f"{where}: {type_name(old)} cannot become {type_name(new)}; only a wider decimal of the same scale can"]


def _rule_problems(old: Field, new: Field, where: str) -> list[str]:
    problems = []
    if new.required and not old.required:
        problems.append(f"{where}: cannot become required, stored rows may have none")
    if old.enum != new.enum and new.enum and not set(old.enum or ("",)) <= set(new.enum):
        problems.append(
            f"{where}: values {', '.join(sorted(set(old.enum) - set(new.enum))) or 'beyond the list'} refused"
        )
    upper = (("maxLength", old.max_length, new.max_length), ("maximum", old.maximum, new.maximum))
    for what, before, after in upper:
        if after is not None and (before is None or after < before):
            problems.append(f"{where}: {what} narrowed from {before} to {after}")
    if new.minimum is not None and (old.minimum is None or new.minimum > old.minimum):
        problems.append(f"{where}: minimum narrowed from {old.minimum} to {new.minimum}")
    if new.pattern is not None and new.pattern != old.pattern:
        problems.append(f"{where}: pattern changed from {old.pattern} to {new.pattern}")
    if old.classification in PERSONAL and CLASSIFICATIONS.index(new.classification) < CLASSIFICATIONS.index(
        old.classification
    ):
        problems.append(f"{where}: {old.classification} data cannot be declared {new.classification}")
    return problems
