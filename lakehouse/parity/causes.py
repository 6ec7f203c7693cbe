"""Which cause is likely for a difference, and the words for it: from the traces, one key at a time.

The rules go from what proves most to what proves least. A change that is nowhere between table and lake was either
never handed on (the stream, the relay, Firehose), or made by somebody who writes around the API: then the item's own
version, which only the API moves, is no newer than what the lake has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakehouse.parity import digests, naming
from lakehouse.parity.comparison import LOST
from lakehouse.parity.findings import NAMED, SOURCE, Cause, Difference, DifferenceClass
from lakehouse.parity.relations import (
    BREAKING,
    CORRECTABLE,
    DOUBLED,
    KEPT,
    NAMES,
    OF_HISTORY,
    OF_TABLE,
    SEEN,
    SET_ASIDE,
    WINNERS,
    items,
)
from lakehouse.storage.lake import CHANGES

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.parity.traces import Traces
    from lakehouse.storage.duck import Duck

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one differing key of the history.

    `broken` is the reason why the exported item breaks its contract, `aside` and `kept` name an object in which a row
    or record of the key was set aside. `later` is the newest landed change before the moment that the history does not
    have, with the object that it came in. `altered` says that the history's own newest change landed with other values.
    `newer` says that the API wrote the item after the lake's newest change, `ended` that its time to live was over.
    """

    kind: str
    newer: bool = False
    broken: str | None = None
    aside: str | None = None
    kept: str | None = None
    later: str | None = None
    altered: bool = False
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Concluded:
    """The likely cause, from what, and whether a correction can be made."""

    cause: Cause
    evidence: str
    repairable: bool = True


def conclude(facts: Facts, seen: Traces) -> Concluded:
    """The likely cause of a difference between the history and the export."""
    if seen.pointers:
        return Concluded("catalog pointer", seen.pointers[0])
    if facts.broken is not None:
        where = f"; set aside from {facts.aside}" if facts.aside else ""
        return Concluded("broken contract", f"the item breaks its contract: {facts.broken}{where}", False)
    if facts.aside is not None:
        return Concluded("landing object", f"a change of the key was set aside from {facts.aside}; requeue it", False)
    if facts.later is not None:
        return _of_landed(facts.later, seen)
    if facts.kept is not None:
        return Concluded("stream or relay", f"a change of the key is kept in {facts.kept}; redrive it")
    if facts.altered:
        return Concluded("lake merge", "the newest change of the key landed with other values than the history has")
    if seen.gone:
        return Concluded("landing object", f"{_several(seen.gone)} gone from landing, and the history has no row of it")
    if seen.unreadable:
        return Concluded("landing object", f"{_several(list(seen.unreadable))} cannot be read", False)
    return _of_nothing(facts)


def _of_landed(key: str, seen: Traces) -> Concluded:
    status = seen.status.get(key, "merged")
    if status == "merged":
        return Concluded("lake merge", f"{key} is merged by the ledger and has a newer change than the history")
    return Concluded("landing object", f"{key} has a newer change: {status}", not status.startswith(("held", "quar")))


def _of_nothing(facts: Facts) -> Concluded:
    """No trace of the change anywhere."""
    nowhere = "nothing of it landed, was set aside or kept"
    if facts.kind == "extra" and not facts.newer:
        if facts.ended:
            return Concluded("stream or relay", f"its time to live was over, and {nowhere} that says so")
        return Concluded("write around the API", f"the API only marks items deleted; this one is gone, and {nowhere}")
    if facts.newer:
        return Concluded("stream or relay", f"the API wrote a newer version, and {nowhere}")
    return Concluded("write around the API", f"the item's version is no newer than the lake's, and {nowhere}")


def _several(keys: list[str]) -> str:
    return f"{keys[0]} and {len(keys) - 1} more are" if len(keys) > 1 else f"{keys[0]} is"


def differences_of_history(
    duck: Duck, contract: Contract, seen: Traces, at: int
) -> tuple[Counter[tuple[str, str, str]], list[Difference]]:
    """All differences between history and export: numbers by (table, kind, cause), and the first of them by name.
    `at` is the moment in seconds. Leaves in `CORRECTABLE` (k, kind) those that may be corrected."""
    query = (
        f"SELECT d.k::VARCHAR, coalesce(n.name, 'a key that cannot be read'), d.kind, "
        "coalesce(i._text._by IS NOT NULL AND coalesce(d.e_v > d.v, true), false), b.why, "
        f"(SELECT any_value(object) FROM {SET_ASIDE} WHERE k = d.k), "
        f"(SELECT any_value(object) FROM {KEPT} WHERE k = d.k), l.object, "
        f"own.st IS NOT NULL AND own.st <> {digests.of_change(contract, 'w.')}, coalesce(w._ttl <= {at}, false) "
        f"FROM {OF_HISTORY} AS d LEFT JOIN {NAMES} AS n ON n.k = d.k LEFT JOIN {BREAKING} AS b ON b.k = d.k "
        f"LEFT JOIN {WINNERS} AS w ON w._k = d.k "
        f"LEFT JOIN {items(contract.name)} AS i ON i._k = d.k "
        f"LEFT JOIN (SELECT a.k, arg_max(a.object, struct_pack(v := a._version, s := a._seq)) AS object "
        f"FROM {SEEN} AS a LEFT JOIN {WINNERS} AS x ON x._k = a.k WHERE a._version < {at * 1_000_000} "
        "AND (x._k IS NULL OR (a._version, a._seq, a._event_id) > (x._version, x._seq, x._event_id)) GROUP BY a.k) "
        "AS l ON l.k = d.k "
        f"LEFT JOIN (SELECT k, _event_id, max(st) AS st FROM {SEEN} GROUP BY k, _event_id) AS own "
        "ON own.k = w._k AND own._event_id = w._event_id ORDER BY n.name, d.k"
    )
    table = contract.name + CHANGES
    counts: Counter[tuple[str, str, str]] = Counter()
    named: list[Difference] = []
    duck.run(f"CREATE OR REPLACE TEMP TABLE {CORRECTABLE} (k UHUGEINT, kind VARCHAR)")
    for some in _each(duck, query):
        correctable = []
        for number, name, kind, *known in some:
            found = conclude(Facts(kind, *known), seen)
            counts[table, kind, found.cause] += 1
            if found.repairable and number is not None:
                correctable.append(f"({number}, '{kind}')")
            if len(named) < NAMED:
                named.append(
                    Difference(contract.name, table, name, kind, found.cause, found.evidence, found.repairable)
                )
        if correctable:
            duck.run(f"INSERT INTO {CORRECTABLE} VALUES {', '.join(correctable)}")
    return counts, named


def differences_of_table(
    duck: Duck, contract: Contract, seen: Traces
) -> tuple[Counter[tuple[str, str, str]], list[Difference]]:
    """The same for differences between the compacted table and its history."""
    cause: Cause = "catalog pointer" if seen.pointers else "lake merge"
    counts: Counter[tuple[str, str, str]] = Counter()
    named: list[Difference] = []
    query = (
        f"SELECT n.name, d.kind, d.v IS NULL FROM {OF_TABLE} AS d LEFT JOIN {NAMES} AS n ON n.k = d.k "
        "ORDER BY n.name, d.k"
    )
    for some in _each(duck, query):
        for name, kind, unknown in some:
            table = contract.name + CHANGES if kind == LOST else contract.name
            what: Any = "missed" if kind == LOST and unknown else "stale" if kind == LOST else kind
            counts[table, what, cause] += 1
            if len(named) < NAMED:
                evidence = seen.pointers[0] if seen.pointers else _SAID[kind]
                named.append(Difference(contract.name, table, name, what, cause, evidence))
    return counts, named


_SAID = {
    LOST: "the compacted table has a change of the key that the history has not",
    "doubled": "the compacted table has more than one row of the key",
    "missed": "the history has the key, and the compacted table has no row of it",
    "stale": "the history has a newer change of the key than its row",
    "unequal": "the row of the key does not say what its newest change says",
    "wrongly deleted": "the row of the key is a tombstone, and its newest change is no removal",
    "wrongly expired": "the row of the key is marked expired, and its newest change does not say so",
}


def differences_of_source(duck: Duck, contract: Contract) -> tuple[Counter[tuple[str, str, str]], list[Difference]]:
    """The same for keys that two items of the export have, which nothing but a person can put right."""
    kind: DifferenceClass = "doubled by the source"
    cause: Cause = "two items of one key"
    counts: Counter[tuple[str, str, str]] = Counter()
    if found := duck.count(f"SELECT count(*) FROM {DOUBLED}"):
        counts[SOURCE, kind, cause] = found
    query = (
        "SELECT coalesce(n.name, 'a key of items that break the contract'), d.places "
        f"FROM {DOUBLED} AS d LEFT JOIN {NAMES} AS n ON n.k = d.k ORDER BY n.name, d.k LIMIT {NAMED}"
    )
    named = []
    for name, places in duck.rows(query):
        known = [naming.place(contract, pk, sk) for pk, sk in places]
        which = " and ".join(one or "one whose place only the details have" for one in known)
        evidence = f"{len(places)} items have the key: {which}; remove or correct the wrong one in the table"
        named.append(Difference(contract.name, SOURCE, name, kind, cause, evidence, False))
    return counts, named


def name_keys(duck: Duck, contract: Contract, sources: list[str]) -> None:
    """Make `NAMES` from relations with `_k` and the key's columns, and of `DOUBLED`; `naming` must be prepared."""
    named = [
        f"SELECT _k AS k, {naming.shown(contract)} AS name, {naming.said(contract)} AS said FROM {source}"
        for source in sources
    ]
    rows = " UNION ALL ".join([*named, f"SELECT k, name, said FROM {DOUBLED}"])
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {NAMES} AS SELECT k, any_value(name) AS name, any_value(said) AS said "
        f"FROM ({rows}) GROUP BY k"
    )


def _each(duck: Duck, query: str) -> Iterator[list[tuple[Any, ...]]]:
    # A cursor of its own: statements between two fetches would end the result.
    duck.run(f"CREATE OR REPLACE TEMP TABLE _listed AS {query}")
    rows = duck.count("SELECT count(*) FROM _listed")
    for start in range(0, rows, _ROWS_AT_ONCE):
        yield duck.rows(f"SELECT * FROM _listed WHERE rowid >= {start} AND rowid < {start + _ROWS_AT_ONCE}")
