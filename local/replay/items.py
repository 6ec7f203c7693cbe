"""What queries made to items: the contract check, items that are made more than once, references, and the order.

The same file, mapping and options give the same items in the same order. What cannot become an item is rejected with
line and reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from contracts import Contract, Contracts
from contracts.types import (
    DateType,
    DecimalType,
    FieldType,
    IntegerType,
    ListType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)
from contracts.validation import parse
from local.replay.engine import Made, Reject, Value
from local.replay.money import shape
from local.traffic import Key


@dataclass(frozen=True, slots=True)
class Item:
    """One item to write. `payload` is ready for JSON; `line` is the first of the `rows` lines that it came from."""

    entity: str
    key: Key
    payload: Mapping[str, Any]
    line: int
    rows: int


@dataclass
class Transformation:
    """What a file becomes: items, each after those it refers to, and everything else with its reason."""

    rows: int = 0
    """Records in the file, the unreadable ones included."""
    items: Sequence[Item] = ()
    rejects: list[Reject] = field(default_factory=list)
    """In order of their lines."""
    unused_rows: int = 0
    """Rows that could be read but that no query took."""
    repeated: Counter[str] = field(default_factory=Counter)
    """By entity, how often an item came out again with the same content."""
    warnings: Sequence[str] = ()

    def counts(self) -> dict[str, int]:
        """Items by entity, in the order of sending."""
        return dict(Counter(item.entity for item in self.items))

    def rejected(self) -> tuple[int, int]:
        """How many rows and how many items are rejected."""
        found = {(reject.line, reject.entity) for reject in self.rejects}
        rows = sum(not entity for _, entity in found)
        return rows, len(found) - rows


def transform(
    made: Sequence[tuple[str, Sequence[Made]]], rows: Mapping[int, str], contracts: Contracts
) -> Transformation:
    """Turn what each query made, with its entity, into items. `rows` are the rows that are not rejected, by line."""
    check = _Check(contracts, rows)
    for number, (entity, found) in enumerate(made):
        for one in found:
            check.add(number, contracts[entity], one)
    used = {line for _, found in made for one in found for line in one.lines}
    rank = _ranks(contracts)
    items = sorted(check.items.values(), key=lambda item: (rank(item.entity), item.entity))
    return Transformation(
        items=items,
        rejects=check.rejects,
        unused_rows=len(rows.keys() - used),
        repeated=check.repeated,
        warnings=_dangling(items, contracts),
    )


class _Check:
    """The items so far, by entity and key, and what was rejected.

    Items of several queries are merged: the first query's fields win, the next ones fill gaps. An item that one query
    makes twice with different content is rejected.
    """

    def __init__(self, contracts: Contracts, rows: Mapping[int, str]) -> None:
        self.contracts, self.rows = contracts, rows
        self.items: dict[tuple[str, Key], Item] = {}
        self.own: dict[tuple[int, str, Key], tuple[int, dict[str, Any]]] = {}
        """Line and content of an item as each query made it first."""
        self.rejects: list[Reject] = []
        self.repeated: Counter[str] = Counter()

    def add(self, query: int, contract: Contract, made: Made) -> None:
        types = {f.name: f.type for f in contract.fields}
        payload = {name: written(value, types[name]) for name, value in made.values.items()}
        line, entity = made.lines[0], contract.name
        parsed = parse(contract, payload)
        for problem in parsed.problems:
            personal = problem.field.partition("[")[0].partition(".")[0] in contract.personal
            reason = _without_value(problem.reason) if personal else problem.reason
            self._reject(line, entity, problem.field, reason)
        if parsed.problems:
            return
        key: Any = tuple(parsed.values[name] for name in contract.primary_key)
        first_line, first = self.own.setdefault((query, entity, key), (line, payload))
        if first is not payload:
            self._again(contract, key, line, first_line, first, payload)
            return
        item = self.items.get((entity, key), Item(entity, key, {}, line, len(made.lines)))
        merged = payload | {name: value for name, value in item.payload.items() if value is not None}
        self.items[entity, key] = Item(entity, key, merged, item.line, item.rows)

    def _again(
        self, contract: Contract, key: Key, line: int, first_line: int, first: dict[str, Any], payload: dict[str, Any]
    ) -> None:
        different = next((name for name in payload if payload[name] != first.get(name)), None)
        if different is None:
            self.repeated[contract.name] += 1
            return
        reason = (
            f"{contract.name} {'/'.join(map(str, key))} was already made from line {first_line} with another "
            f"{different}; make the key unique, or use GROUP BY and aggregates"
        )
        self._reject(line, contract.name, contract.primary_key[0], reason)

    def _reject(self, line: int, entity: str, name: str, reason: str) -> None:
        self.rejects.append(Reject(line, entity, name, reason, self.rows[line]))


def _without_value(reason: str) -> str:
    expected, found, value = reason.partition(", found ")
    return f"{expected}{found}{shape(value.strip(_QUOTES)) if found else ''}"


_QUOTES = "'\""


def written(value: Value, type_: FieldType | None) -> Any:
    """A value as the API takes it, given the field's type: a number in a text field is written as text, and so on."""
    match value:
        case dict():
            types = {f.name: f.type for f in type_.fields} if isinstance(type_, StructType) else {}
            every = type_.value if isinstance(type_, MapType) else None
            return {str(n): written(v, types.get(str(n), every)) for n, v in value.items() if v is not None}
        case list() | tuple():
            element = type_.element if isinstance(type_, ListType) else None
            return [written(v, element) for v in value if v is not None]
        case Decimal():
            return _number(value, type_)
        case bool() | None:
            return value
        case int():
            return str(value) if isinstance(type_, StringType) else value
        case datetime() if not isinstance(type_, DateType):
            moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return moment.isoformat() + "Z"
        case date() if isinstance(type_, TimestampType):
            return datetime.combine(value, time()).isoformat() + "Z"
        case date():
            return value.isoformat()[:10]
    return str(value)


def _number(value: Decimal, type_: FieldType | None) -> Any:
    """Exact, with the digits behind the point that the field has; a finer one keeps its digits."""
    if isinstance(type_, IntegerType) and value == value.to_integral_value():
        return int(value)
    digits = f"{value:f}".rstrip("0").rstrip(".") if value.as_tuple().exponent else f"{value:f}"
    if isinstance(type_, DecimalType) and len(digits.partition(".")[2]) <= type_.scale:
        return f"{value:.{type_.scale}f}"
    return digits


def _ranks(contracts: Contracts) -> Callable[[str], int]:
    """A number for each entity that is greater than those of the entities it refers to."""
    depth: dict[str, int] = {}

    def of(entity: str, path: tuple[str, ...] = ()) -> int:
        if entity not in depth:
            targets = {r.entity for r in contracts[entity].relations} - {entity, *path}
            depth[entity] = 1 + max((of(t, (*path, entity)) for t in targets), default=0)
        return depth[entity]

    return of


def _dangling(items: Sequence[Item], contracts: Contracts) -> list[str]:
    """References to items that this file does not make, where it makes others of that entity."""
    made = {(item.entity, item.key) for item in items}
    entities = {item.entity for item in items}
    found: dict[tuple[str, str, str], list[str]] = {}
    for item in items:
        for relation in contracts[item.entity].relations:
            key = item.payload.get(relation.field)
            if key is not None and relation.entity in entities and (relation.entity, (key,)) not in made:
                found.setdefault((item.entity, relation.field, relation.entity), []).append(str(key))
    return [
        f"{len(keys)} {entity} name in {name} a key of {target} that this file does not make, for example {min(keys)}"
        for (entity, name, target), keys in sorted(found.items())
    ]
