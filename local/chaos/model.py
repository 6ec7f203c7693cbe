"""What must follow from what the API answered, in plain Python, without anything of the product.

A change that was accepted was done; one that stayed open was done or not, so that an item may be one of several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from local.chaos.traffic import Change

Key = tuple[str, str]
"""Entity and key of an item."""
Fields = frozenset[tuple[str, Any]]
"""The fields of an item that are not null, by name, in a form that compares; None for an item that is not there."""
States = dict[Key, set[Fields | None]]

MOST_STATES = 4096


def plain(value: Any) -> Any:
    """A value of a request, of an item or of a table in one form: numbers as `Decimal`, moments as UTC, lists and maps
    as tuples."""
    match value:
        case bool() | None:
            return value
        case int() | Decimal():
            return Decimal(value).normalize()
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
        case str():
            return _text(value)
        case Mapping():
            return tuple(sorted((str(k), plain(v)) for k, v in value.items()))
        case list() | tuple():
            if value and all(isinstance(v, tuple) and len(v) == 2 for v in value):  # how Arrow gives maps
                return tuple(sorted((str(k), plain(v)) for k, v in value))
            return tuple(plain(v) for v in value)
    raise TypeError(f"expected a value of an item, found {type(value).__name__}")


def _text(value: str) -> Any:
    """A moment or a number as such: JSON has both as text."""
    if len(value) >= 20 and value[4:5] == "-" and value[10:11] == "T":
        return datetime.fromisoformat(value).astimezone(UTC)
    if value.replace(".", "", 1).isdigit():
        return Decimal(value).normalize()
    return value


def fields_of(row: Mapping[str, Any]) -> Fields:
    """The fields of an item, without those that are null or empty."""
    return frozenset((name, plain(value)) for name, value in row.items() if value is not None)


def fold(changes: Iterable[Change]) -> tuple[States, list[str]]:
    """Each item that any change was about, with all that it may be now; and answers that contradict earlier ones."""
    states: States = defaultdict(lambda: {None})
    contradictions = []
    for change in changes:
        key = (change.entity, change.key)
        before = states[key]
        after = {applied(change, state) for state in before}
        match change.outcome:
            case "accepted" if change.method == "GET":
                answer = fields_of(change.payload or {})
                if answer not in before:
                    contradictions.append(f"GET /{'/'.join(key)} is answered with what nobody wrote last")
                states[key] = {answer}
            case "accepted" if change.method == "PATCH":
                there = {state for state in before if state is not None}
                states[key] = {applied(change, state) for state in there} or {None}
                if not there:
                    contradictions.append(f"PATCH /{'/'.join(key)} was accepted, though the item was deleted")
            case "accepted":
                states[key] = after
            case "missing":
                if None not in after:
                    contradictions.append(f"{change.method} /{'/'.join(key)}: the API does not find what it accepted")
                states[key] = {None}
            case "open":
                states[key] = before | after
        if len(states[key]) > MOST_STATES:
            raise ValueError(f"{key} has more than {MOST_STATES} possible states: too many answers were lost in a row")
    return dict(states), contradictions


def applied(change: Change, state: Fields | None) -> Fields | None:
    """What an item is after a request."""
    if change.method == "GET":
        return state
    if change.method == "DELETE":
        return None
    given = {name: plain(value) for name, value in (change.payload or {}).items()}
    if change.method == "PATCH":
        if state is None:
            return None  # there is nothing to change
        given = dict(state) | given
    return frozenset((name, value) for name, value in given.items() if value is not None)
