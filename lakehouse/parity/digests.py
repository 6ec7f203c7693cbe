"""What a key and its state are compared by: short numbers, as SQL over typed rows.

Whatever says the same has the same number: members of a map come in any order. A key is known by 128 bits of MD5 and
a state by 64 bits of DuckDB's hash, so that of ten million keys two are taken for one about once in 10**24 comparisons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.types import FieldType, ListType, MapType, NestedType, StructType
from lakehouse.intake.rules import key_values
from lakehouse.storage.sql import quoted

if TYPE_CHECKING:
    from contracts import Contract

REMOVED, EXPIRED, LIVE = 1, 2, 3
"""States of a key that say nothing of its fields; a live one has a number from `LIVE` on."""
BUCKET_BITS = 12
_SPAN = "18446744073709551616::HUGEINT"
_MOST = "18446744073709551615::UBIGINT"


def key(contract: Contract, alias: str = "") -> str:
    """SQL for the number of a row's key (UHUGEINT)."""
    columns = [f"{alias}{quoted(name)}::VARCHAR" for name in contract.primary_key]
    # With its length before each part, no two keys are written alike.
    text = columns[0] if len(columns) == 1 else " || ".join(f"strlen({c}) || ':' || {c}" for c in columns)
    return f"md5_number({text})"


def tried_key(contract: Contract, table: str) -> str:
    """SQL for the number of the key that the text of a row says; null if it says none."""
    texts = ", ".join(f"{table}.{quoted(n)} AS {quoted(n)}" for n in contract.primary_key)
    values = ", ".join(f"{value} AS {quoted(n)}" for n, value in key_values(contract).items())
    return f"(SELECT {key(contract)} FROM (SELECT {values} FROM (SELECT {texts})))"


def bucket(number: str = "k") -> str:
    """SQL for the bucket of a key's number."""
    return f"(hash({number}) >> {64 - BUCKET_BITS})::USMALLINT"


def content(contract: Contract, alias: str = "") -> str:
    """SQL for the number of what the fields and unknown attributes of a row say (UBIGINT, from `LIVE` on)."""
    values = [canonical(f"{alias}{quoted(f.name)}", f.type) for f in contract.fields]
    return f"greatest({LIVE}::UBIGINT, hash({', '.join(values)}, {alias}_extra))"


def of_change(contract: Contract, alias: str = "") -> str:
    """SQL for the number of the state that a change leaves its key in (UBIGINT)."""
    return (
        f"CASE {alias}_op WHEN 'remove' THEN {REMOVED}::UBIGINT WHEN 'expire' THEN {EXPIRED}::UBIGINT "
        f"ELSE {content(contract, alias)} END"
    )


def of_row(contract: Contract) -> str:
    """SQL for the number of the state that a compacted row says its key is in (UBIGINT)."""
    return (
        f"CASE WHEN _deleted THEN {REMOVED}::UBIGINT WHEN _expired THEN {EXPIRED}::UBIGINT ELSE {content(contract)} END"
    )


def canonical(value: str, type_: FieldType, depth: int = 0) -> str:
    """SQL for a value whose maps have their members in the order of their keys, at any depth."""
    item = f"m{depth}"
    match type_:
        case MapType(value=inner):
            entries = f"list_sort(map_entries({value}))"
            if not _has_map(inner):
                return entries
            deeper = canonical(f"{item}.value", inner, depth + 1)
            return f"list_transform({entries}, lambda {item}: {{'key': {item}.key, 'value': {deeper}}})"
        case ListType(element=element) if _has_map(element):
            return f"list_transform({value}, lambda {item}: {canonical(item, element, depth + 1)})"
        case StructType(fields) if _has_map(type_):
            members = (f"{quoted(f.name)} := {canonical(f'{value}.{quoted(f.name)}', f.type, depth)}" for f in fields)
            return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(members)}) END"
        case _:
            return value


def _has_map(type_: FieldType) -> bool:
    match type_:
        case MapType():
            return True
        case ListType(element=element):
            return _has_map(element)
        case StructType(fields):
            return any(_has_map(f.type) for f in fields if isinstance(f.type, NestedType))
        case _:
            return False


def newest(contract: Contract, rows: str, where: str = "true") -> str:
    """A query for the newest state of each key among changes: k, v (its version), st, and whether changes of that
    version say different things (`tied`): then the rest of the order decides.

    All that is kept of a key while it is grouped are three numbers of a fixed size, which the engine can spill.
    """
    numbered = (
        f"SELECT {key(contract)} AS k, _version AS v, {of_change(contract)} AS st FROM ({rows}) AS c WHERE {where}"
    )
    return (
        f"SELECT k, v, (o - v::HUGEINT * {_SPAN})::UBIGINT AS st, "
        f"(o - v::HUGEINT * {_SPAN})::UBIGINT <> {_MOST} - (i - v::HUGEINT * {_SPAN})::UBIGINT AS tied FROM "
        f"(SELECT k, max(v) AS v, max(v::HUGEINT * {_SPAN} + st) AS o, max(v::HUGEINT * {_SPAN} + ({_MOST} - st)) AS i "
        f"FROM ({numbered}) GROUP BY k)"
    )


def buckets(rows: str) -> str:
    """A query for what the rows (k, st) of each bucket say together: their number, the sum and the xor of their
    hashes, which no order of the rows changes."""
    return (
        f"SELECT {bucket()} AS bucket, count(*) AS n, sum(h::HUGEINT) AS total, bit_xor(h) AS mixed "
        f"FROM (SELECT k, hash(k, st) AS h FROM ({rows})) GROUP BY bucket"
    )


def differing(one: str, other: str) -> str:
    """A query for the buckets in which two sides (k, st) do not say the same."""
    return (
        f"SELECT bucket FROM ({buckets(one)}) AS a FULL JOIN ({buckets(other)}) AS b USING (bucket) "
        "WHERE (a.n, a.total, a.mixed) IS DISTINCT FROM (b.n, b.total, b.mixed)"
    )
