"""What queries made to items: the contract check, items that are made more than once, references, and the order.

The same file, mapping and options give the same items in the same order. What cannot become an item is rejected with
line and reason. All of it lies in the engine's tables; what is held in memory are a few rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import groupby
from typing import Any, TypeVar

import orjson

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
from local.replay.engine import BATCH, Engine, Value
from local.replay.lines import Source
from local.replay.mapping import Folder, MappingError
from local.replay.shapes import shape
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


_One = TypeVar("_One")


@dataclass(frozen=True)
class Kept(Collection[_One]):
    """What is kept on disk, as often as it is asked for; never all of it in memory."""

    read: Callable[[], Iterator[_One]]
    count: int

    def __iter__(self) -> Iterator[_One]:
        return self.read()

    def __len__(self) -> int:
        return self.count

    def __contains__(self, one: object) -> bool:
        return any(one == other for other in self)


@dataclass
class Transformation:
    """What a file becomes: items in the order in which they can be sent, and everything else with its reason."""

    engine: Engine
    source: Source
    rows: int = 0
    """Records in the file, the unreadable ones included."""
    unused_rows: int = 0
    """Rows that could be read but that no query took."""
    repeated: Counter[str] = field(default_factory=Counter)
    """By entity, how often an item came out again with the same content."""
    warnings: list[str] = field(default_factory=list)
    grouped: bool = False
    """Whether any item is made from many rows."""

    def counts(self) -> dict[str, int]:
        """Items by entity, in the order of sending."""
        return dict(self.engine.scan("SELECT entity, count(*) FROM _items GROUP BY ALL ORDER BY min(rank), entity"))

    @property
    def total(self) -> int:
        """How many items there are."""
        return int(self.engine.value("SELECT count(*) FROM _items"))

    @property
    def items(self) -> Kept[Item]:
        """Each item after those it refers to."""
        return Kept(self.first_items, self.total)

    def first_items(self, each: int | None = None) -> Iterator[Item]:
        """The first so many items of each entity."""
        cut = "" if each is None else f" QUALIFY row_number() OVER (PARTITION BY entity ORDER BY {_ORDER}) <= {each}"
        sql = f"SELECT entity, key, payload, line, rows FROM _items{cut} ORDER BY {_ORDER}"
        for entity, key, payload, line, rows in self.engine.scan(sql):
            yield Item(entity, tuple(orjson.loads(key)), orjson.loads(payload), line, rows)

    @property
    def rejects(self) -> Kept[Reject]:
        """In order of their lines."""
        return Kept(self._rejects, int(self.engine.value("SELECT count(*) FROM _rejects")))

    def _rejects(self) -> Iterator[Reject]:
        sql = "SELECT r.*, place, size FROM _rejects r JOIN _places USING (line) ORDER BY line, entity, field, reason"
        for line, entity, name, reason, place, size in self.engine.scan(sql):
            yield Reject(line, entity, name, reason, self.source.text(place, size))

    def rejected(self) -> tuple[int, int]:
        """How many rows and how many items are rejected."""
        sql = "SELECT count(DISTINCT line) FROM _rejects WHERE entity = ''"
        items = "SELECT count(*) FROM (SELECT DISTINCT line, entity FROM _rejects WHERE entity <> '')"
        return int(self.engine.value(sql)), int(self.engine.value(items))

    def reasons(self, most: int) -> list[tuple[int, str, str, int, str]]:
        """The most frequent places of rejects: how often, entity, field, first line, and the reason there."""
        return list(
            self.engine.scan(
                "SELECT count(*), entity, field, min(line), min_by(reason, (line, reason)) FROM _rejects "
                f"GROUP BY entity, field ORDER BY count(*) DESC, entity, field LIMIT {most}"
            )
        )


_ORDER = "rank, entity, query, line, key"


def transform(engine: Engine, source: Source, mapping: Folder, contracts: Contracts) -> Transformation:
    """Turn what the queries made into items. Raises `MappingError` if a query gives an item without a line."""
    engine.connection.execute(
        "CREATE TABLE _items (entity VARCHAR, key VARCHAR, query BIGINT, rank BIGINT, line BIGINT, rows BIGINT, "
        "payload VARCHAR); CREATE TABLE _references (entity VARCHAR, field VARCHAR, target VARCHAR, key VARCHAR)"
    )
    made = Transformation(engine, source)
    ranks = _ranks(contracts)
    for number, query in enumerate(mapping.queries):
        check = _Check(engine, contracts[query.entity], number, ranks(query.entity))
        check.all(f"{mapping.name}/{query.file}")
    made.repeated = _made_once(engine, contracts)
    made.grouped = bool(engine.value("SELECT count(*) > 0 FROM (SELECT * FROM _items WHERE rows > 1 LIMIT 1)"))
    made.rows = int(engine.value("SELECT count(*) FROM _places"))
    taken = " UNION ALL ".join(
        f"SELECT {_lines(engine, n)} AS line FROM _made_{n}" for n in range(len(mapping.queries))
    )
    made.unused_rows = int(
        engine.value(f"SELECT count(*) FROM _cells ANTI JOIN (SELECT DISTINCT line FROM ({taken})) t ON _line = t.line")
    )
    made.warnings = _dangling(engine)
    return made


def _lines(engine: Engine, number: int) -> str:
    """The SQL of the lines that each item of a query came from."""
    type_ = engine.value(f"SELECT any_value(typeof(_line)) FROM (SELECT _line FROM _made_{number} LIMIT 1)")
    return "unnest(_line)" if str(type_).endswith("[]") else "_line"


class _Check:
    """The contract check of what one query made."""

    def __init__(self, engine: Engine, contract: Contract, query: int, rank: int) -> None:
        self.engine, self.contract, self.query, self.rank = engine, contract, query, rank
        self.types = {f.name: f.type for f in contract.fields}
        self.personal = frozenset(contract.personal)
        self.differing = engine.groups[query]
        self.seen: set[int] = set()
        self.items: list[tuple[Any, ...]] = []
        self.references: list[tuple[Any, ...]] = []
        self.rejects: list[tuple[Any, ...]] = []

    def all(self, file: str) -> None:
        """Check every item; raises `MappingError` for one without a line."""
        table = f"_made_{self.query}"
        names = [c[0] for c in self.engine.connection.execute(f"FROM {table} LIMIT 0").description]
        at = names.index("_line")
        for row in self.engine.scan(f"FROM {table}"):
            lines = row[at] if isinstance(row[at], list) else [row[at]]
            if not lines or None in lines or row[at] is None:
                raise MappingError(f"{file}, line 1: an item has no _line; take it from the rows that the item is of")
            self._one(min(lines), len(lines), dict(zip(names, row, strict=True)))
            if len(self.items) + len(self.rejects) >= BATCH:
                self._flush()
        self._flush()
        if outside := [line for line in self.differing if line not in self.seen]:
            line, (column, _) = outside[0], self.differing[outside[0]]
            raise MappingError(
                f"{file}: single() looked at a group of rows from line {line} ({column}) that is no item of this "
                "query; call it in the outer SELECT, beside `list(_line) AS _line`"
            )

    def _one(self, line: int, rows: int, values: Mapping[str, Value]) -> None:
        contract = self.contract
        payload = {name: written(v, self.types[name]) for name, v in values.items() if name != "_line"}
        if line in self.differing:
            column, reason = self.differing[line]
            self.seen.add(line)
            self.rejects.append((line, contract.name, column, reason))
            return
        parsed = parse(contract, payload)
        if parsed.problems:
            for problem in parsed.problems:
                hidden = problem.field.partition("[")[0].partition(".")[0] in self.personal
                reason = _without_value(problem.reason) if hidden else problem.reason
                self.rejects.append((line, contract.name, problem.field, reason))
            return
        key = _json([parsed.values[name] for name in contract.primary_key])
        text = _json(payload)
        self.items.append((contract.name, key, self.query, self.rank, line, rows, text))
        for relation in contract.relations:
            if payload.get(relation.field) is not None:
                target = _json([parsed.values[relation.field]])
                self.references.append((contract.name, relation.field, relation.entity, target))

    def _flush(self) -> None:
        for table, found in (("_items", self.items), ("_references", self.references), ("_rejects", self.rejects)):
            self.engine.add(table, found)
            found.clear()


def _json(value: object) -> str:
    return orjson.dumps(value, default=str).decode()


def _without_value(reason: str) -> str:
    told, found, value = reason.partition(", found ")
    return f"{told}{found}{shape(value.strip(_QUOTES)) if found else ''}"


_QUOTES = "'\""


def written(value: Value, type_: FieldType | None) -> Any:
    """A value as the API takes it, given the field's type: a number in a text field is written as text, and so on."""
    match value:
        case None | bool():
            return value
        case dict():
            return _members(value, type_)
        case list() | tuple():
            element = type_.element if isinstance(type_, ListType) else None
            return [written(v, element) for v in value if v is not None]
        case Decimal():
            return _number(value, type_)
        case int():
            return str(value) if isinstance(type_, StringType) else value
        case datetime() if isinstance(type_, DateType):
            return value.date().isoformat()
        case datetime():
            moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return moment.isoformat() + "Z"
        case date() if isinstance(type_, TimestampType):
            return datetime.combine(value, time()).isoformat() + "Z"
        case date():
            return value.isoformat()
    return value if isinstance(value, str) else str(value)


def _members(value: Mapping[Any, Value], type_: FieldType | None) -> dict[str, Any]:
    """An object without its members that have no value."""
    types: Mapping[str, FieldType] = {}
    if isinstance(type_, StructType):
        types = {f.name: f.type for f in type_.fields}
    every = type_.value if isinstance(type_, MapType) else None
    return {str(n): written(v, types.get(str(n), every)) for n, v in value.items() if v is not None}


def _number(value: Decimal, type_: FieldType | None) -> Any:
    """Exact, with the digits behind the point that the field has; a finer one keeps its digits."""
    if isinstance(type_, IntegerType) and value == value.to_integral_value():
        return int(value)
    digits = f"{value:f}".rstrip("0").rstrip(".") if value.as_tuple().exponent else f"{value:f}"
    if isinstance(type_, DecimalType) and len(digits.partition(".")[2]) <= type_.scale:
        return f"{value:.{type_.scale}f}"
    return digits


def _made_once(engine: Engine, contracts: Contracts) -> Counter[str]:
    """Leave one item for each key; returns how often items came out again with the same content.

    Items of several queries are merged: the first query's fields win, the next ones fill gaps. An item that one query
    makes twice with different content is rejected.
    """
    engine.connection.execute(
        "CREATE TABLE _twice AS FROM _items SEMI JOIN "
        "(SELECT entity, key FROM _items GROUP BY ALL HAVING count(*) > 1) k USING (entity, key);"
        "DELETE FROM _items WHERE (entity, key) IN (SELECT (entity, key) FROM _twice)"
    )
    repeated: Counter[str] = Counter()
    kept: list[tuple[Any, ...]] = []
    rejects: list[tuple[Any, ...]] = []
    rows = engine.scan("SELECT * FROM _twice ORDER BY entity, key, query, line, payload")
    for _, same in groupby(rows, key=lambda row: row[:2]):
        item, found = _merged(same, contracts, repeated)
        kept.append(item)
        rejects += found
        if len(kept) + len(rejects) >= BATCH:
            engine.add("_items", kept)
            engine.add("_rejects", rejects)
            kept, rejects = [], []
    engine.add("_items", kept)
    engine.add("_rejects", rejects)
    return repeated


def _merged(
    same: Iterable[tuple[Any, ...]], contracts: Contracts, repeated: Counter[str]
) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
    """One item of all that have a key, and rejects for those that contradict what their own query made before."""
    first: tuple[Any, ...] | None = None
    payload: dict[str, Any] = {}
    rejects = []
    for _, of_query in groupby(same, key=lambda row: row[2]):
        (entity, key, query, rank, line, rows, text), *again = of_query
        own = orjson.loads(text)
        first = first or (entity, key, query, rank, line, rows)
        payload |= {name: value for name, value in own.items() if payload.get(name) is None}
        for *_, at, _, other_text in again:
            other = orjson.loads(other_text)
            if other == own:
                repeated[entity] += 1
                continue
            different = next(k for k in other if other[k] != own.get(k))
            reason = (
                f"{entity} {'/'.join(map(str, orjson.loads(key)))} was already made from line {line} with another "
                f"{different}; make the key unique, or use GROUP BY and aggregates"
            )
            rejects.append((at, entity, contracts[entity].primary_key[0], reason))
    assert first is not None
    return (*first, _json(payload)), rejects


def _ranks(contracts: Contracts) -> Any:
    """A number for each entity that is greater than those of the entities it refers to."""
    depth: dict[str, int] = {}

    def of(entity: str, path: tuple[str, ...] = ()) -> int:
        if entity not in depth:
            targets = {r.entity for r in contracts[entity].relations} - {entity, *path}
            depth[entity] = 1 + max((of(t, (*path, entity)) for t in targets), default=0)
        return depth[entity]

    return of


def _dangling(engine: Engine) -> list[str]:
    """References to items that this file does not make, where it makes others of that entity."""
    found = engine.scan(
        "SELECT r.entity, r.field, r.target, count(*), min(r.key) FROM _references r "
        "ANTI JOIN _items i ON i.entity = r.target AND i.key = r.key "
        "WHERE r.target IN (SELECT DISTINCT entity FROM _items) GROUP BY ALL ORDER BY ALL"
    )
    return [
        f"{count} {entity} name in {name} a key of {target} that this file does not make, "
        f"for example {'/'.join(map(str, orjson.loads(key)))}"
        for entity, name, target, count, key in found
    ]
