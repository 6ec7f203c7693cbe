"""Checks a payload of the API or the queue against its contract and brings it into the one form that is stored.

The rules are those of the JSON Schema that `contracts.json_schema` writes (a test holds the two together), with all
problems reported at once. Values are never rounded, trimmed or guessed: what does not fit is a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import TypeAlias

from contracts.model import Contract
from contracts.types import (
    BooleanType,
    DateType,
    DecimalType,
    Field,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
    type_name,
)

Value: TypeAlias = "str | int | Decimal | bool | list[Value] | dict[str, Value] | None"

# Only ASCII digits: Python's `\d` and `int` accept digits of every script, other readers do not.
TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
MAX_INTEGER = 2**63 - 1
_MAX_DIGITS = len(str(MAX_INTEGER))
MAX_PROBLEMS = 50  # that are reported of one payload
MAX_SUGGESTIONS = 5  # of a name that was probably meant, and of all there are
MAX_NAME = 64  # characters of a name that a sender invented, where it is shown
MAX_NUMBER = 40  # characters of a number, likewise
MAX_MAP_KEY = 255  # characters; DynamoDB takes no empty name


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the field (`fees[0].amount`; empty for the whole payload) and the reason."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """The values that fit (by field name, in storable form) and what does not: the first problems, and how many more
    there are."""

    values: dict[str, Value]
    problems: tuple[Problem, ...]
    left_out: int = 0


class _Found:
    """The problems of a payload while it is read: all are counted, the first are reported."""

    def __init__(self, suggestions: int) -> None:
        self.reported: list[Problem] = []
        self.left_out = 0
        self._suggestions = suggestions

    def add(self, field: str, reason: str) -> None:
        if len(self.reported) < MAX_PROBLEMS:
            self.reported.append(Problem(shortened(field, MAX_NAME), reason))
        else:
            self.left_out += 1

    def add_unknown(self, contract: Contract, name: str, names: Mapping[str, Field]) -> None:
        """A name that no field has. Looking for what was meant costs more than all the rest, so the first are helped
        alone."""
        suggested = ""
        if self._suggestions > 0:
            self._suggestions -= 1
            suggested = _nearest(name[: MAX_NAME + 1], tuple(names))
        self.add(name, f"{contract.name} has no such field{suggested}")


class _Invalid(Exception):
    """A value does not fit its type; only inside this module."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def parse(
    contract: Contract,
    payload: object,
    *,
    partial: bool = False,
    use_aliases: bool = False,
    suggestions: int = MAX_SUGGESTIONS,
) -> Parsed:
    """Check a decoded JSON payload; decimals must have been decoded as `Decimal` or text, never as float.

    With `partial`, fields may be absent (they keep what is stored) and an explicit null clears a field that is not
    required. With `use_aliases`, the contract's aliases are accepted as field names. Timestamps come back as
    `2026-11-21T01:02:03.456789Z` (UTC), dates as `2026-11-21`, decimals as `Decimal`. At most `MAX_PROBLEMS` problems
    are reported, and for the first `suggestions` of unknown names what was probably meant.
    """
    if not isinstance(payload, Mapping):
        return Parsed({}, (Problem("", f"expected a JSON object, found {_found(payload)}"),))
    values: dict[str, Value] = {}
    given: set[str] = set()
    found = _Found(suggestions)
    names = _names(contract, use_aliases)
    for name, raw in payload.items():
        field = names.get(name)
        if field is None:
            found.add_unknown(contract, str(name), names)
        elif field.name in given:
            found.add(str(name), f"{field.name} is given twice, by name and by alias")
        else:
            given.add(field.name)
            try:
                values[field.name] = _checked(field, raw)
            except _Invalid as invalid:
                found.add(f"{name}{invalid.path}", invalid.reason)
    for field in () if partial else contract.fields:
        if field.required and field.name not in given:
            found.add(field.name, f"required ({type_name(field.type)}), found nothing")
    return Parsed(values, tuple(found.reported), found.left_out)


def shortened(text: str, most: int) -> str:
    """The text, cut to so many characters if it is longer."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _names(contract: Contract, use_aliases: bool) -> Mapping[str, Field]:
    if not use_aliases:
        return contract._by_name
    return {name: f for f in contract.fields for name in (f.name, *f.aliases)}


@lru_cache(maxsize=256)
def _nearest(name: str, names: Sequence[str]) -> str:
    """What was probably meant, or all there is. Every event of a batch has the same wrong names, mostly."""
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1) if len(name) <= MAX_NAME else []
    return f"; did you mean {close[0]}?" if close else f"; its fields are {', '.join(names)}"


def _checked(field: Field, raw: object) -> Value:
    if raw is None:
        if field.required:
            raise _Invalid(f"required ({type_name(field.type)}), found null")
        return None
    value = _converted(field.type, raw)
    _check_rules(field, value)
    return value


def _check_rules(field: Field, value: Value) -> None:
    if field.enum and value not in field.enum:
        raise _Invalid(f"expected one of {', '.join(field.enum)}; found {_found(value)}")
    if isinstance(value, str):
        if field.required and value == "":
            raise _Invalid("required, found an empty string")
        if field.max_length is not None and len(value) > field.max_length:
            raise _Invalid(f"expected at most {field.max_length} characters, found {len(value)}")
        if field.pattern is not None and not _pattern(field.pattern).search(value):
            raise _Invalid(f"expected text that matches {field.pattern}, found {_found(value)}")
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        if field.minimum is not None and value < field.minimum:
            raise _Invalid(f"expected at least {field.minimum}, found {_shown(value)}")
        if field.maximum is not None and value > field.maximum:
            raise _Invalid(f"expected at most {field.maximum}, found {_shown(value)}")


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    # JSON Schema's `$` is the very end; Python's would also accept a newline before it.
    return re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern)


def _converted(type_: FieldType, raw: object) -> Value:
    match type_:
        case StringType():
            return _string(raw)
        case IntegerType():
            return _integer(raw)
        case DecimalType(precision, scale):
            return _decimal(raw, precision, scale)
        case BooleanType():
            if isinstance(raw, bool):
                return raw
            raise _Invalid(f"expected true or false, found {_found(raw)}")
        case TimestampType():
            return _timestamp(raw)
        case DateType():
            return _date(raw)
        case ListType(element=element):
            if not isinstance(raw, list):
                raise _Invalid(f"expected a list, found {_found(raw)}")
            return [_within(f"[{i}]", element, v) for i, v in enumerate(raw)]
        case MapType(value=value_type):
            if not isinstance(raw, Mapping):
                raise _Invalid(f"expected an object, found {_found(raw)}")
            return {_map_key(k): _within(f".{k}", value_type, v) for k, v in raw.items()}
        case StructType(fields):
            return _struct(fields, raw)


def _within(path: str, type_: FieldType, raw: object) -> Value:
    try:
        if raw is None:
            raise _Invalid(f"expected {type_name(type_)}, found null")
        return _converted(type_, raw)
    except _Invalid as invalid:
        raise _Invalid(invalid.reason, path + invalid.path) from None


def _struct(fields: tuple[Field, ...], raw: object) -> Value:
    if not isinstance(raw, Mapping):
        raise _Invalid(f"expected an object, found {_found(raw)}")
    by_name = {f.name: f for f in fields}
    for name in raw:
        if name not in by_name:
            raise _Invalid(f"no such field; expected {', '.join(by_name)}", f".{name}")
    values: dict[str, Value] = {}
    for field in fields:
        if field.name not in raw:
            if field.required:
                raise _Invalid(f"required ({type_name(field.type)}), found nothing", f".{field.name}")
            continue
        try:
            values[field.name] = _checked(field, raw[field.name])
        except _Invalid as invalid:
            raise _Invalid(invalid.reason, f".{field.name}{invalid.path}") from None
    return values


def _string(raw: object) -> str:
    if not isinstance(raw, str):
        raise _Invalid(f"expected a string, found {_found(raw)}")
    try:
        raw.encode("utf-8")
    except UnicodeEncodeError:
        raise _Invalid("expected Unicode text, found a lone surrogate") from None
    if "\x00" in raw:
        raise _Invalid("expected text without the character U+0000")
    if "\ufffd" in raw:
        raise _Invalid("expected text in UTF-8, found the character U+FFFD, which stands for bytes that were none")
    return raw


def _map_key(raw: object) -> str:
    key = _string(raw)
    if not 1 <= len(key) <= MAX_MAP_KEY:
        raise _Invalid(f"expected names of 1 to {MAX_MAP_KEY} characters, found one of {len(key)}")
    return key


def _integer(raw: object) -> int:
    if (
        isinstance(raw, Decimal)
        and raw.is_finite()
        and (raw.is_zero() or raw.adjusted() <= _MAX_DIGITS)
        and raw == int(raw)
    ):
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise _Invalid(f"expected an integer, found {_found(raw)}")
    if abs(raw) > MAX_INTEGER:
        raise _Invalid(f"expected an integer of at most 64 bits, found {_shown(raw)}")
    return raw


def _decimal(raw: object, precision: int, scale: int) -> Decimal:
    expected = f"decimal({precision},{scale})"
    if isinstance(raw, bool) or not isinstance(raw, int | str | Decimal):
        raise _Invalid(f"expected {expected} as a number or as text, found {_found(raw)}")
    if isinstance(raw, str) and not DECIMAL.fullmatch(raw):
        raise _Invalid(f"expected {expected}, found {_found(raw)}")
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise _Invalid(f"expected {expected}, found {_found(raw)}") from None
    if not value.is_finite():
        raise _Invalid(f"expected {expected}, found {_found(raw)}")
    if value.is_zero():
        return Decimal(0)
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    zeros = 0  # trailing zeros after the point carry no information
    while zeros < -exponent and digits[-1 - zeros] == 0:
        zeros += 1
    found = _shown(raw)
    if -exponent - zeros > scale:
        raise _Invalid(f"expected at most {scale} digits after the point ({expected}), found {found}")
    if len(digits) + exponent > precision - scale:
        raise _Invalid(f"expected at most {precision - scale} digits before the point ({expected}), found {found}")
    return Decimal((sign, digits[: len(digits) - zeros], exponent + zeros)) if len(digits) > precision else value


def _timestamp(raw: object) -> str:
    if not isinstance(raw, str) or not TIMESTAMP.fullmatch(raw):
        raise _Invalid(f"expected a timestamp with offset like 2026-11-21T01:02:03.456Z, found {_found(raw)}")
    try:
        moment = datetime.fromisoformat(raw).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Invalid(f"expected a moment that exists, found {_found(raw)}") from None
    return format_timestamp(moment)


def format_timestamp(moment: datetime) -> str:
    """An aware datetime as `2026-11-21T01:02:03.456789Z`; the fraction is left out when it is zero."""
    moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _date(raw: object) -> str:
    if not isinstance(raw, str) or not DATE.fullmatch(raw):
        raise _Invalid(f"expected a date like 2026-11-21, found {_found(raw)}")
    try:
        date.fromisoformat(raw)
    except ValueError:
        raise _Invalid(f"expected a day that exists, found {_found(raw)}") from None
    return raw


def _found(value: object) -> str:
    """What a problem shows of a value: its kind, and little of its text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    if isinstance(value, int | float | Decimal):
        return f"the number {_shown(value)}"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, Mapping) else type(value).__name__


def _shown(number: object) -> str:
    """A number or its text as a problem shows it. Python refuses to write integers of thousands of digits."""
    if isinstance(number, int) and number.bit_length() > 1000:
        return f"{'-' if number < 0 else ''}an integer of about {number.bit_length() * 3 // 10} digits"
    return shortened(str(number), MAX_NUMBER)
