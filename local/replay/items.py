"""Rows to items: a pure function of the file's texts, the mapping, the options and the contracts.

The same input gives the same items in the same order. What cannot become an item is in `rejects`, with line and reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from contracts import Contract, Contracts
from contracts.types import DateType, DecimalType, FieldType, IntegerType, StringType, TimestampType
from contracts.validation import parse
from local.replay.expressions import EvaluationError, Expression, Row, Scope, Value, as_text, describe, hashable
from local.replay.mapping import FieldRule, ItemRule, MappingFile
from local.replay.table import Table, read_cells
from local.traffic import Key


@dataclass(frozen=True, slots=True)
class Item:
    """One item to write. `payload` is ready for JSON; `line` is the first of the `rows` lines that it came from."""

    entity: str
    key: Key
    payload: Mapping[str, Any]
    line: int
    rows: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A row or an item that cannot be used. `text` is the row as written, or the first row of the item."""

    line: int
    entity: str
    field: str
    reason: str
    text: str


@dataclass(frozen=True)
class Transformation:
    """What a file becomes: items in the order in which they can be sent, and everything else with its reason."""

    items: Sequence[Item]
    rejects: Sequence[Reject]
    rows: int
    """Records in the file, the unreadable ones included."""
    unused_rows: int
    """Rows that could be read but that no part of `items` took."""
    repeated: Mapping[str, int]
    """By entity, how often an item came out again with the same content."""
    warnings: Sequence[str]

    def counts(self) -> dict[str, int]:
        """Items by entity, in the order of sending."""
        return dict(Counter(item.entity for item in self.items))


def transform(table: Table, mapping: MappingFile, options: Mapping[str, Value], contracts: Contracts) -> Transformation:
    """Turn the records of `table` into items by `mapping`. Raises nothing for bad data: that becomes rejects."""
    rejects = [Reject(u.line, "", u.column or "", u.reason, u.text) for u in table.unreadable]
    rows = _rows(table, mapping, options, rejects)
    everything = Scope((), False, frozenset(), rows, options)
    made: dict[tuple[str, Key], Item] = {}
    repeated: Counter[str] = Counter()
    taken: set[int] = set()
    for rule in mapping.items:
        contract = contracts[rule.entity]
        own: dict[Key, Item] = {}
        for scope in _scopes(rule, everything, taken, rejects):
            item = _item(rule, scope, contract, rejects)
            if item is None:
                continue
            earlier = own.setdefault(item.key, item)
            if earlier is item:
                place = (item.entity, item.key)
                made[place] = _filled(made[place], item) if place in made else item
            elif earlier.payload == item.payload:
                repeated[item.entity] += 1
            else:
                reason = _conflict(rule, earlier, item)
                rejects.append(Reject(item.line, rule.entity, contract.primary_key[0], reason, scope.rows[0].text))
    items = sorted(made.values(), key=_rank(contracts))
    rejects.sort(key=lambda r: r.line)
    return Transformation(
        items=items,
        rejects=rejects,
        rows=len(table.records) + len(table.unreadable),
        unused_rows=sum(1 for row in rows if row.line not in taken),
        repeated=dict(repeated),
        warnings=_dangling(items, contracts),
    )


def _filled(first: Item, other: Item) -> Item:
    """An item that another rule makes, too: the first rule's fields win, the other fills gaps."""
    gaps = {name: value for name, value in other.payload.items() if first.payload.get(name) is None}
    return replace(first, payload={**first.payload, **gaps})


def _conflict(rule: ItemRule, earlier: Item, item: Item) -> str:
    different = next(k for k in item.payload if item.payload[k] != earlier.payload.get(k))
    return (
        f"{rule.entity} {'/'.join(map(str, item.key))} was already made from line {earlier.line} with "
        f"another {different}; make the key unique, or give items {rule.number} group_by and aggregates"
    )


def _rows(table: Table, mapping: MappingFile, options: Mapping[str, Value], rejects: list[Reject]) -> list[Row]:
    """The rows whose cells can all be read, with the mapping's `values` computed."""
    rows = []
    for line, cells, text in table.records:
        values, problems = read_cells(dict(zip(table.header, cells, strict=True)), mapping.columns)
        if problems:
            rejects.extend(Reject(line, "", column, reason, text) for column, reason in problems)
        else:
            rows.append(Row(line, values, text))
    for name, expression in mapping.values.items():
        good = []
        scope = Scope((), False, frozenset(), rows, options)
        for row in rows:
            try:
                row.values[name] = expression.evaluate(scope.on(row))
                good.append(row)
            except EvaluationError as error:
                rejects.append(Reject(row.line, "", name, str(error), row.text))
        rows = good
    return rows


def _scopes(rule: ItemRule, everything: Scope, taken: set[int], rejects: list[Reject]) -> list[Scope]:
    """The row or group of rows behind each item of a rule, in order of the file."""
    rows = [r for r in everything.everything if _holds(rule, rule.where, "where", everything.on(r), rejects)]
    if rule.group_by is None:
        taken.update(r.line for r in rows)
        return [everything.on(row) for row in rows]
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        key = tuple(hashable(row.values[name]) for name in rule.group_by)
        if None in key:
            lacking = rule.group_by[key.index(None)]
            reason = (
                f"{lacking} is missing, by which {rule.label} groups; leave such rows out with"
                f"  where: = present({lacking})"
            )
            rejects.append(Reject(row.line, rule.entity, lacking, reason, row.text))
            taken.add(row.line)
        else:
            groups.setdefault(key, []).append(row)
    keys = frozenset(rule.group_by)
    scopes = []
    for members in groups.values():
        scope = Scope(
            members, True, keys, everything.everything, everything.options, everything.windows, everything.computed
        )
        if _holds(rule, rule.when, "when", scope, rejects):
            taken.update(r.line for r in members)
            scopes.append(scope)
    return scopes


def _holds(rule: ItemRule, condition: Expression | None, name: str, scope: Scope, rejects: list[Reject]) -> bool:
    if condition is None:
        return True
    try:
        return bool(condition.evaluate(scope))
    except EvaluationError as error:
        row = scope.rows[0]
        rejects.append(Reject(row.line, rule.entity, name, str(error), row.text))
        return False


def _item(rule: ItemRule, scope: Scope, contract: Contract, rejects: list[Reject]) -> Item | None:
    row = scope.rows[0]
    payload: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, field_rule in rule.fields.items():
        try:
            payload[name] = _value(field_rule, contract.field(name).type, scope)
        except EvaluationError as error:
            problems.append((name, str(error)))
    failed = {name for name, _ in problems}
    parsed = parse(contract, payload)
    problems += [(p.field, p.reason) for p in parsed.problems if p.field not in failed]
    if problems:
        rejects.extend(Reject(row.line, rule.entity, name, reason, row.text) for name, reason in problems)
        return None
    key: Any = tuple(parsed.values[name] for name in contract.primary_key)
    return Item(rule.entity, key, payload, row.line, len(scope.rows))


def _value(rule: FieldRule, type_: FieldType | None, scope: Scope) -> Any:
    match rule.rule:
        case Expression() as expression:
            return _written(expression.evaluate(scope), type_)
        case dict() as members:
            found = {name: _value(member, None, scope) for name, member in members.items()}
            return {name: value for name, value in found.items() if value is not None}
        case tuple() as members:
            return [v for v in (_value(member, None, scope) for member in members) if v is not None]
        case constant:
            return _written(constant, type_)


def _written(value: Value, type_: FieldType | None) -> Any:
    """A value as the API takes it, given the field's type: a number in a text field is written as text, and so on."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [_written(v, None) for v in value]
    if isinstance(type_, IntegerType) and isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    if isinstance(type_, TimestampType) and isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    if isinstance(type_, DateType) and isinstance(value, datetime):
        value = value.date()
    if isinstance(type_, IntegerType | DecimalType | None) and isinstance(value, int):
        return value
    if isinstance(type_, StringType) and isinstance(value, int):
        return str(value)
    try:
        return as_text(value)
    except EvaluationError:
        raise EvaluationError(f"expected a value for a field, found {describe(value)}") from None


def _rank(contracts: Contracts) -> Any:
    """A sort key that puts items after those they refer to; Python's sort keeps the order otherwise."""
    depth: dict[str, int] = {}

    def of(entity: str, path: tuple[str, ...] = ()) -> int:
        if entity not in depth:
            targets = {r.entity for r in contracts[entity].relations} - {entity, *path}
            depth[entity] = 1 + max((of(t, (*path, entity)) for t in targets), default=0)
        return depth[entity]

    return lambda item: (of(item.entity), item.entity)


def _dangling(items: Sequence[Item], contracts: Contracts) -> list[str]:
    """References to items that this file does not make, where it makes others of that entity."""
    made = {(i.entity, i.key) for i in items}
    entities = {i.entity for i in items}
    lacking: dict[tuple[str, str, str], list[str]] = {}
    for item in items:
        for relation in contracts[item.entity].relations:
            target = item.payload.get(relation.field)
            if target is not None and relation.entity in entities and (relation.entity, (target,)) not in made:
                lacking.setdefault((item.entity, relation.field, relation.entity), []).append(str(target))
    return [
        f"{len(found)} {entity} name in {field} a key of {target} that this file does not make, for example {found[0]}"
        for (entity, field, target), found in lacking.items()
    ]
