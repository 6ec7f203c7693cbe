"""From what a person types to typed values: by the contract of the field, or by the kind of parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import unquote

from contracts import Contract, Contracts
from contracts.moments import moment
from contracts.types import DateType, IntegerType, TimestampType
from contracts.validation import parse
from retrieval.model import Parameter, RetrievalError, Template

KEY_PART = "key_"
"""Names of the parameters that a key becomes: `key_1`, `key_2`, …"""
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Given:
    """Values to bind, by the name in the query; the entity that a parameter names; and which values name a person."""

    values: Mapping[str, Any]
    entity: str = ""
    persons: frozenset[str] = frozenset()


def given(template: Template, contracts: Contracts, texts: Mapping[str, str]) -> Given:
    """The values of all parameters. Raises `RetrievalError` with all that is missing, unknown or wrong."""
    problems = [f"{name}: no parameter of this question" for name in texts.keys() - template.parameters.keys()]
    problems += [f"{name}: missing ({p.description})" for name, p in template.parameters.items() if name not in texts]
    values: dict[str, Any] = {}
    entity, persons = "", set()
    for name, parameter in template.parameters.items():
        if name not in texts or parameter.type == "key":
            continue
        try:
            value = _value(parameter, contracts, texts[name])
        except RetrievalError as error:
            problems.append(f"{name}: {error}")
            continue
        if parameter.type == "entity":
            entity = value
        else:
            values[name] = value
        if parameter.field and _names_a_person(contracts, parameter.field):
            persons.add(name)
    for name, parameter in template.parameters.items():
        if parameter.type == "key" and name in texts and entity:
            try:
                parts = _key(contracts[entity], texts[name])
            except RetrievalError as error:
                problems.append(f"{name}: {error}")
                continue
            values |= parts
            if contracts[entity].key_names_a_person:
                persons |= parts.keys()
    if problems:
        raise RetrievalError("\n".join(sorted(problems)))
    return Given(values, entity, frozenset(persons))


def _value(parameter: Parameter, contracts: Contracts, text: str) -> Any:
    if parameter.type == "moment":
        try:
            return moment(text)
        except ValueError as error:
            raise RetrievalError(str(error)) from error
    if parameter.type == "entity":
        if text not in contracts:
            raise RetrievalError(f"expected an entity ({', '.join(contracts)}), found {text!r}")
        return text
    entity, _, field = parameter.field.partition(".")
    return _of_field(contracts[entity], field, text)


def _key(contract: Contract, text: str) -> dict[str, Any]:
    parts = [unquote(part) for part in text.split("/")]  # as in an address of the API
    if len(parts) != len(contract.primary_key):
        wanted = "/".join(contract.primary_key)
        raise RetrievalError(
            f"expected a key of {contract.name} ({wanted}), found {len(parts)} part(s); a slash in a part is %2F, a "
            "percent sign %25"
        )
    named = zip(contract.primary_key, parts, strict=True)
    return {f"{KEY_PART}{n}": _of_field(contract, name, part) for n, (name, part) in enumerate(named, 1)}


def _of_field(contract: Contract, name: str, text: str) -> Any:
    """A text as a value of the contract's field."""
    type_ = contract.field(name).type
    raw: object = int(text) if isinstance(type_, IntegerType) and _INTEGER.fullmatch(text) else text
    parsed = parse(contract, {name: raw}, partial=True)
    if parsed.problems:
        # What was found may name a person: only what was expected is said.
        expected = parsed.problems[0].reason.partition(", found")[0]
        raise RetrievalError(f"{expected} ({contract.name}.{name})")
    value = parsed.values[name]
    match type_:
        case TimestampType():
            return datetime.fromisoformat(str(value))
        case DateType():
            return date.fromisoformat(str(value))
        case _:
            return value


def _names_a_person(contracts: Contracts, path: str) -> bool:
    entity, _, field = path.partition(".")
    contract = contracts[entity]
    return field in contract.personal or (contract.erasure is not None and field in contract.erasure.persons)
