"""What a payload and the key in a path say, by the contract; what breaks it is a problem with all its fields."""

from __future__ import annotations

import re
from collections.abc import Mapping

from contracts.model import Contract
from contracts.types import IntegerType
from contracts.validation import MAX_SUGGESTIONS, Parsed, Problem, Value, parse
from realtime.api import items, preconditions, problems
from realtime.api.items import Values


def path_key(contract: Contract, parts: tuple[str, ...]) -> Values:
    """The primary key that the parts of a path name."""
    names = contract.primary_key
    if len(parts) != len(names):
        path = "/".join((contract.name, *("{" + n + "}" for n in names)))
        raise problems.malformed(",".join(names), f"expected /{path}, found {len(parts)} parts after the entity")
    raw = {n: _key_part(contract, n, text) for n, text in zip(names, parts, strict=True)}
    parsed = parse(contract, raw, partial=True)
    if parsed.problems:
        first = parsed.problems[0]
        raise problems.malformed(first.field, first.reason)
    if found := items.too_long(contract, items.place_of(contract, parsed.values)):
        raise problems.malformed(found.field, found.reason)
    return parsed.values


def whole(contract: Contract, payload: object) -> dict[str, Value]:
    """The values of a whole item."""
    return _valid(contract, parse(contract, payload))


def whole_with_key(contract: Contract, path_key: Values, payload: object) -> dict[str, Value]:
    """The values of a whole item whose key the path names; a payload that has another key is a problem."""
    if not isinstance(payload, Mapping):
        return whole(contract, payload)
    given = {n: payload[n] for n in contract.primary_key if n in payload}
    preconditions.same_key(contract, path_key, parse(contract, given, partial=True).values)
    return whole(contract, {**path_key, **payload})


def patch(contract: Contract, path_key: Values, payload: object) -> dict[str, Value]:
    """The values of fields to change, at least one; a payload that has another key than the path is a problem."""
    values = _valid(contract, parse(contract, payload, partial=True))
    if not values:
        raise problems.invalid(contract.name, (Problem("", "expected at least one field to change, found none"),))
    preconditions.same_key(contract, path_key, values)
    return values


def event_values(contract: Contract, payload: object, suggestions: int = MAX_SUGGESTIONS) -> dict[str, Value]:
    """The values of an imported event by field name; it names its item, and may leave out whatever it does not change.
    For the first `suggestions` of unknown names the problem says what was probably meant."""
    values = _valid(contract, parse(contract, payload, partial=True, use_aliases=True, suggestions=suggestions))
    absent = [n for n in contract.primary_key if n not in values]
    if absent:
        reason = "required as part of the key, found nothing"
        raise problems.invalid(contract.name, [Problem(n, reason) for n in absent])
    return values


def _valid(contract: Contract, parsed: Parsed) -> dict[str, Value]:
    if parsed.problems:
        raise problems.invalid(contract.name, parsed.problems, parsed.left_out)
    return parsed.values


def _key_part(contract: Contract, name: str, text: str) -> object:
    is_number = isinstance(contract.field(name).type, IntegerType) and re.fullmatch(r"-?[0-9]{1,19}", text)
    return int(text) if is_number else text
