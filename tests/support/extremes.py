"""Rows at the ends of what contracts allow, made from the contracts: whatever a field may hold, some row holds.

`extremes_of` gives the values of one field; `extreme_rows` puts each of them into a row that is otherwise ordinary, and
makes rows in which every field is extreme. For tests of what has to bear any valid row.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from contracts import Contract, Contracts
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
)
from tests.support.slices import Slice

FIRST, LAST = "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"
MOMENTS = (
    *(FIRST, LAST, "9999-12-31T00:00:00", "1899-12-31T23:59:59.999999", "1900-01-01T00:00:00", "1969-12-31T23:59:59"),
    *(
        "1989-06-01T10:00:00",
        "2024-02-29T12:00:00",
        "2026-03-01T12:00:00",
        "2035-12-31T23:59:59",
        "2036-01-01T00:00:00",
    ),
)
TEXTS = (
    "a",
    "a|1",
    "~|",
    "it''s'; drop table x; --",
    'q"{{ x }}',
    " ",
    "\t\n",
    "\U0001f9ca" * 3,
    "e\u0301",
    "\u00e9",
    "%_\\",
)
LONG = 5_000
"""Characters of text that no contract limits."""
MAX_INTEGER = 2**63 - 1
MANY = 200
"""Members of a long list."""

Row = Mapping[str, Any]


def extremes_of(type_: FieldType, field: Field) -> list[Any]:
    """The extreme values of a field, without null; amounts as text."""
    match type_:
        case StringType() if field.enum:
            return list(field.enum)
        case StringType() if field.pattern:
            return ["A" * int(field.pattern.split("{")[1][0]), "Z" * int(field.pattern.split("{")[1][0])]
        case StringType():
            longest = field.max_length or LONG
            texts = [*TEXTS, "x" * longest, "\U0001f40d" * longest, *([] if field.required else [""])]
            return [text for text in texts if len(text) <= longest]
        case IntegerType():
            low = -MAX_INTEGER if field.minimum is None else int(field.minimum)
            high = MAX_INTEGER if field.maximum is None else int(field.maximum)
            return [low, low + 1, high]
        case DecimalType(precision, scale):
            largest = Decimal(10**precision - 1).scaleb(-scale)
            low = -largest if field.minimum is None else field.minimum
            high = largest if field.maximum is None else field.maximum
            return [str(n) for n in dict.fromkeys((low, Decimal(0), Decimal(1).scaleb(-scale), high))]
        case BooleanType():
            return [False, True]
        case TimestampType():
            return list(MOMENTS)
        case DateType():
            return list(dict.fromkeys(moment[:10] for moment in MOMENTS))
        case ListType(element=element):
            members = extremes_of(element, field)
            return [[], *([member] for member in members), members, members[-1:] * MANY]
        case StructType(fields):
            values = [extremes_of(part.type, part) for part in fields]
            longest = max(map(len, values))
            return [{f.name: v[n % len(v)] for f, v in zip(fields, values, strict=True)} for n in range(longest)]
        case MapType(value=value):
            values = extremes_of(value, field)
            return [{}, {f"k{n}": v for n, v in enumerate(values)}, {"'|\U0001f9ca": values[0]}]


class Extremes:
    """Rows of all entities; `known` are keys that relations of other rows may point to."""

    def __init__(self, contracts: Contracts, rng: random.Random) -> None:
        self._contracts, self._rng = contracts, rng
        self._numbers = itertools.count(1)
        self.rows: dict[str, dict[tuple[Any, ...], Row]] = {name: {} for name in contracts}
        self._relations = {
            (c.name, relation.field): relation.entity for c in contracts.values() for relation in c.relations
        }

    def add_single(self, contract: Contract) -> None:
        """For each field and extreme a row that is ordinary in all else; also null, and only what is required."""
        self._add(contract, self._ordinary(contract))
        self._add(contract, {n: v for n, v in self._ordinary(contract).items() if contract.field(n).required})
        for field in contract.fields:
            values = extremes_of(field.type, field) + ([] if field.required else [None])
            for value in values:
                self._add(contract, {**self._ordinary(contract), field.name: value})

    def add_combined(self, contract: Contract, rows: int) -> None:
        """Rows in which each field is extreme or null, and relations point to rows that are there, or to nothing."""
        for _ in range(rows):
            self._add(contract, {field.name: self._any(contract, field) for field in contract.fields})

    def _add(self, contract: Contract, row: Row) -> None:
        self.rows[contract.name].setdefault(tuple(row[name] for name in contract.primary_key), row)

    def _any(self, contract: Contract, field: Field) -> Any:
        entity = self._relations.get((contract.name, field.name))
        if entity and self.rows[entity] and self._rng.random() < 0.7:
            return self._rng.choice(list(self.rows[entity]))[0]
        if field.name in contract.primary_key and self._rng.random() < 0.7:
            return self._plain(contract, field)  # or rows with the same key would push each other out
        if not field.required and self._rng.random() < 0.2:
            return None
        return self._rng.choice(extremes_of(field.type, field))

    def _ordinary(self, contract: Contract) -> dict[str, Any]:
        return {field.name: self._plain(contract, field) for field in contract.fields}

    def _plain(self, contract: Contract, field: Field) -> Any:
        """A value of every day; keys are new, relations point to one of the ordinary rows."""
        number = next(self._numbers)
        if field.name in contract.primary_key and (contract.name, field.name) not in self._relations:
            if isinstance(field.type, IntegerType):
                return number
            return f"{contract.name}-{number}" if not field.pattern else _code(number)
        entity = self._relations.get((contract.name, field.name))
        if entity and self.rows[entity]:
            return self._rng.choice(list(self.rows[entity]))[0]
        match field.type:
            case StringType():
                return (
                    field.enum[number % len(field.enum)] if field.enum else "EUR" if field.pattern else f"text {number}"
                )
            case IntegerType():
                return 3
            case DecimalType():
                return "0.5" if field.maximum == 1 else "120.50"
            case TimestampType():
                return f"2026-02-{1 + number % 28:02d}T10:00:00"
            case DateType():
                return f"2026-02-{1 + number % 28:02d}"
            case other:
                return self._rng.choice(extremes_of(other, field))


def _code(number: int) -> str:
    """A text of two capital letters, another for each of 676 numbers."""
    return chr(65 + number // 26 % 26) + chr(65 + number % 26)


def extreme_rows(contracts: Contracts, rng: random.Random, combined: int = 40) -> dict[str, dict[tuple[Any, ...], Row]]:
    """Rows by entity and key. What others point to comes first."""
    extremes = Extremes(contracts, rng)
    for contract in _referred_first(contracts):
        extremes.add_single(contract)
        extremes.add_combined(contract, combined)
    return extremes.rows


def _referred_first(contracts: Contracts) -> Iterator[Contract]:
    left = dict(contracts.items())
    while left:
        free = [c for c in left.values() if not any(r.entity in left and r.entity != c.name for r in c.relations)]
        for contract in free or list(left.values())[:1]:
            del left[contract.name]
            yield contract


def lake_of(rows: Mapping[str, Mapping[tuple[Any, ...], Row]], data: Slice, rng: random.Random) -> Slice:
    """Published tables with these rows, and one to three states of each in their history, at any time."""
    for entity, items in rows.items():
        others = list(items.values())
        key = tuple(data.contracts[entity].primary_key)
        for version, row in enumerate(items.values(), start=1):
            states = [*({**rng.choice(others), **{k: row[k] for k in key}} for _ in range(rng.randrange(3))), row]
            for number, state in enumerate(states):
                data.change(entity, 1, version % 3000, number, **state)
                if rng.random() < 0.5:
                    data.tables[f"{entity}_changes"][-1] |= {"_changed_at": rng.choice(MOMENTS)[:19]}
            data.put(entity, 1, version % 3000, **row)
    return data
