"""The statements of the engine `athena`, written from an entity's contract, for Athena engine version 3 and Trino.

Everything is a literal that is made here from integers and from text with its quotes doubled: there is no value from
outside in a statement that was not typed before. What the statements are for belongs to `engine`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lakehouse.storage.sql import literal, quoted
from lakehouse.table import schemas
from lakehouse.table.schemas import ORDER

if TYPE_CHECKING:
    from contracts import Contract

_FLAGS = {"_deleted": "remove", "_expired": "expire"}
_EPOCH = date(1970, 1, 1)
_BEYOND = (10_000 - 1970) * 12
"""The month after the last one that a timestamp can be written of."""
_LAST_DAY = (date.max - _EPOCH).days


@dataclass(frozen=True)
class Bound:
    """Which stored rows a statement may have to look at: those whose first key column is from `low` to `high`, in one
    of `partitions` (months since 1970, None for the null partition). `partitions` is None if there are none to choose
    from: the table has no partition."""

    low: str | int
    high: str | int
    partitions: frozenset[int | None] | None


@dataclass(frozen=True)
class Source:
    """The changes of one batch in `<entity>_changes`: its number, and the days (since 1970) that its changes are of."""

    database: str
    batch: int
    days: frozenset[int]


def touched_rows(contract: Contract, source: Source, bound: Bound) -> str:
    """SELECT the stored rows of the batch's keys: the key, `_version`, and the partition as `_part`.

    The rest of the order is wide (identities hardly compress) and decides only between equal versions.
    """
    columns = [f"t.{quoted(c)}" for c in (*contract.primary_key, "_version")]
    part = f"{_partition(contract, 't')} AS {quoted('_part')}"
    return _joined(contract, source, bound, [*columns, part], contract.primary_key)


def tied_rows(contract: Contract, source: Source, bound: Bound) -> str:
    """SELECT the stored rows whose key and version a change of the batch has, too: the key and the whole order."""
    columns = [f"t.{quoted(c)}" for c in (*contract.primary_key, *ORDER)]
    return _joined(contract, source, bound, columns, (*contract.primary_key, "_version"))


def _joined(contract: Contract, source: Source, bound: Bound, columns: Sequence[str], on: Sequence[str]) -> str:
    wanted = ", ".join(map(quoted, on))
    return (
        f"SELECT {', '.join(columns)}\n"
        f"FROM {_table(source, contract.name)} t\n"
        f"JOIN (SELECT DISTINCT {wanted} FROM {_changes(contract, source)} c WHERE {_in_batch(source)}) s\n"
        f"ON {_same(on)}\n"
        f"WHERE {_within(contract, bound)}"
    )


def merge(
    contract: Contract,
    source: Source,
    bound: Bound | None,
    *,
    ties: bool = True,
    into: Collection[int | None] | None = None,
) -> str:
    """MERGE the winner of each key of the batch into the stored rows.

    `bound` holds every stored row of the batch's keys; None when there is none. Without `ties` no change has the
    version of its stored row, so that the rest of the order need not be read. `into` restricts the winners to those
    that belong into these partitions, so that several statements can share a batch.
    """
    shape = schemas.compacted(contract)
    changed = (c.name for c in shape.columns if c.name not in contract.primary_key)
    set_ = [f"{quoted(name)} = {_new_value(name, source)}" for name in changed]
    names = ", ".join(quoted(c.name) for c in shape.columns)
    values = ", ".join(_new_value(c.name, source) for c in shape.columns)
    bounded = "false" if bound is None else _within(contract, bound)
    return (
        f"MERGE INTO {_table(source, contract.name)} t\n"
        f"USING ({_winners(contract, source, into)}) s\n"
        f"ON {_same(contract.primary_key)} AND {bounded}\n"
        f"WHEN MATCHED AND ({_newer(ORDER if ties else ORDER[:1])}) THEN UPDATE SET {', '.join(set_)}\n"
        f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
    )


def _winners(contract: Contract, source: Source, into: Collection[int | None] | None) -> str:
    shape = schemas.changes(contract)
    order = ", ".join(f"c.{quoted(c)} DESC" for c in ORDER)
    keys = ", ".join(f"c.{quoted(k)}" for k in contract.primary_key)
    ranked = (
        f"SELECT {shape.select('c')}, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS {quoted('_rank')}\n"
        f"  FROM {_changes(contract, source)} c WHERE {_in_batch(source)}"
    )
    chosen = "" if into is None else f" AND {_in_partitions(contract, 'r', into)}"
    return f"SELECT {shape.select('r')} FROM ({ranked}) r WHERE r.{quoted('_rank')} = 1{chosen}"


def _new_value(name: str, source: Source) -> str:
    if name in _FLAGS:
        return f"s.{quoted('_op')} = {literal(_FLAGS[name])}"
    return str(source.batch) if name == "_batch" else f"s.{quoted(name)}"


def _newer(order: Sequence[str]) -> str:
    """Whether the change is after the stored row in the order; no row of SQL is compared, for its nulls."""
    condition = ""
    for column in reversed(order):
        greater = f"s.{quoted(column)} > t.{quoted(column)}"
        equal = f"s.{quoted(column)} = t.{quoted(column)}"
        condition = f"{greater} OR ({equal} AND ({condition}))" if condition else greater
    return condition


def _same(columns: Sequence[str]) -> str:
    return " AND ".join(f"t.{quoted(c)} = s.{quoted(c)}" for c in columns)


def _within(contract: Contract, bound: Bound) -> str:
    first = f"t.{quoted(contract.primary_key[0])}"
    terms = [f"{first} BETWEEN {_value(bound.low)} AND {_value(bound.high)}"]
    if bound.partitions is not None:
        terms.append(_in_partitions(contract, "t", bound.partitions))
    return " AND ".join(terms)


def _in_batch(source: Source) -> str:
    column = f"c.{quoted('_changed_at')}"
    days = [_from_day_to(column, first, after) for first, after in _runs(source.days)]
    return f"c.{quoted('_batch')} = {source.batch} AND ({' OR '.join(days)})"


def _partition(contract: Contract, alias: str) -> str:
    """A row's partition as Iceberg counts it (months since 1970), 0 in a table without partition."""
    if contract.partition is None:
        return "0"
    column = f"{alias}.{quoted(contract.partition.field)}"
    return f"(year({column}) - 1970) * 12 + month({column}) - 1"


def _in_partitions(contract: Contract, alias: str, partitions: Collection[int | None]) -> str:
    """Ranges of the partition's column, which both engines turn into partitions to read."""
    if contract.partition is None:
        return "true"
    column = f"{alias}.{quoted(contract.partition.field)}"
    terms = [_from_month_to(column, a, b) for a, b in _runs(p for p in partitions if p is not None)]
    if None in partitions:
        terms.append(f"{column} IS NULL")
    return f"({' OR '.join(terms) or 'false'})"


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Consecutive numbers as half-open ranges."""
    start = last = None
    for number in sorted(numbers):
        if start is None or last is None:
            start = last = number
        elif number == last + 1:
            last = number
        else:
            yield start, last + 1
            start = last = number
    if start is not None and last is not None:
        yield start, last + 1


def _day(number: int) -> str:
    return f"timestamp '{_EPOCH + timedelta(days=number)} 00:00:00.000000'"


def _from_day_to(column: str, first: int, after: int) -> str:
    end = "" if after > _LAST_DAY else f" AND {column} < {_day(after)}"
    return f"({column} >= {_day(first)}{end})"


def _from_month_to(column: str, first: int, after: int) -> str:
    end = "" if after >= _BEYOND else f" AND {column} < {_month(after)}"
    return f"({column} >= {_month(first)}{end})"


def _month(number: int) -> str:
    return f"timestamp '{date(1970 + number // 12, number % 12 + 1, 1)} 00:00:00.000000'"


def _value(value: str | int) -> str:
    return str(value) if isinstance(value, int) else literal(value)


def _changes(contract: Contract, source: Source) -> str:
    return _table(source, schemas.changes(contract).name)


def _table(source: Source, name: str) -> str:
    return f"{quoted(source.database)}.{quoted(name)}"
