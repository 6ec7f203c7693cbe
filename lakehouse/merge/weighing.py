"""What rows weigh in memory: files and their row groups are cut by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.types import FieldType, ListType, MapType, NestedType, StringType, StructType
from lakehouse.storage.duck import VALUE_BYTES
from lakehouse.storage.sql import literal, quoted, total

if TYPE_CHECKING:
    from lakehouse.storage.duck import Duck
    from lakehouse.table.schemas import TableShape

_WEIGHED, _MOST_SHARE = 5, 50  # percent of the rows that are weighed; from the latter on, all are
_FEW = 10_000  # rows that are weighed at least


def row_weight(duck: Duck, shape: TableShape, table: str) -> float:
    """Bytes that a row of a table weighs in memory on average: of every row where there are few, else of some blocks of
    rows, all over the table. Heavy rows that are missed make a row group larger."""
    weighed = [c for c in shape.columns if isinstance(c.type, NestedType | StringType)]
    weights = total([_weight(quoted(c.name), c.type, 0) for c in weighed])
    share = max(_WEIGHED, _FEW * 100 // max(duck.count(f"SELECT count(*) FROM {table}"), 1))
    some = f"USING SAMPLE {share} PERCENT (system, 1)" if share < _MOST_SHARE else ""
    weigh = f"SELECT avg({weights}) FROM {table}"
    found = duck.row(f"{weigh} {some}")[0] if some else None
    scalars = VALUE_BYTES * (len(shape.columns) - len(weighed))
    return float((duck.row(weigh)[0] if found is None else found) or 0) + scalars


def _weight(value: str, type_: FieldType, depth: int) -> str:
    """SQL for the bytes of a value: those of its letters, and `VALUE_BYTES` for itself and each value in it. Written
    out as text, lists of records took ten times as long to weigh."""
    member = f"_member{depth}"
    match type_:
        case StringType():
            return f"{VALUE_BYTES} + coalesce(strlen({value}), 0)"
        case ListType(element=element):
            return _all(value, member, _weight(member, element, depth + 1))
        case MapType(value=inner):
            both = (_weight(f"{member}.key", StringType(), depth), _weight(f"{member}.value", inner, depth + 1))
            return _all(f"map_entries({value})", member, " + ".join(both))
        case StructType(fields=fields):
            return total([_weight(f"struct_extract({value}, {literal(f.name)})", f.type, depth) for f in fields])
        case _:
            return str(VALUE_BYTES)


def _all(values: str, member: str, weight: str) -> str:
    return f"{VALUE_BYTES} + coalesce(list_sum(list_transform({values}, lambda {member}: {weight})), 0)"
