"""The sides compared: by buckets first, key by key only where buckets differ. What differs is left in two tables.

What differs is in `OF_HISTORY` and `OF_TABLE`. Kinds are those of `findings`, with
`lost` for keys of the compacted table that the history does not know, or not so new.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lakehouse.parity import digests
from lakehouse.parity.digests import EXPIRED, LIVE, REMOVED
from lakehouse.parity.relations import (
    ASIDE,
    AT,
    BREAKING,
    DOUBLED,
    NEWEST,
    OF_HISTORY,
    OF_TABLE,
    ROWS,
    TWICE,
    WINNERS,
    broken,
    exported,
    items,
)
from lakehouse.storage.sql import literal, quoted

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.storage.duck import Duck

LOST = "lost"


def compare_table(duck: Duck, horizon: int) -> int:
    """Make `OF_TABLE`; returns how many keys differ. Removed keys below the tombstone horizon may have no row."""
    purgeable = f"st = {REMOVED} AND v < {horizon}"

    def side(table: str) -> str:
        return f"SELECT k, hash(v, st) AS st FROM {table} WHERE NOT ({purgeable})"

    duck.run(f"CREATE OR REPLACE TEMP TABLE _differing AS {digests.differing(side(ROWS), side(NEWEST))}")
    of_buckets = f"{digests.bucket()} IN (SELECT bucket FROM _differing)"
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {OF_TABLE} AS SELECT k, CASE "
        "WHEN r.n > 1 THEN 'doubled' "
        "WHEN r.n IS NULL THEN 'missed' "
        f"WHEN c.v IS NULL OR r.v > c.v THEN {literal(LOST)} "
        f"WHEN r.st = {REMOVED} AND c.st <> {REMOVED} THEN 'wrongly deleted' "
        f"WHEN r.st = {EXPIRED} AND c.st <> {EXPIRED} THEN 'wrongly expired' "
        "WHEN r.v < c.v THEN 'stale' "
        "ELSE 'unequal' END AS kind, c.v AS v FROM "
        f"(SELECT k, count(*) AS n, max(v) AS v, max(st) AS st FROM {ROWS} WHERE {of_buckets} GROUP BY k) AS r "
        f"FULL JOIN (SELECT * FROM {NEWEST} WHERE {of_buckets}) AS c USING (k) "
        f"WHERE coalesce(r.n, 0) > 1 OR (r.v, r.st) IS DISTINCT FROM (c.v, c.st) "
        f"AND NOT (r.n IS NULL AND c.st = {REMOVED} AND c.v < {horizon})"
    )
    return duck.count(f"SELECT count(*) FROM {OF_TABLE}")


def compare_export(duck: Duck, entity: str, *, whole: bool) -> tuple[int, int]:
    """Make `OF_HISTORY` and `TWICE`; returns how many keys differ, and of how many nothing can be said because the
    export is not proven whole: it has no item of theirs."""
    present, breaking = exported(entity), broken(entity)
    aside = f"k NOT IN (SELECT k FROM {ASIDE})"

    def side(table: str) -> str:
        return f"SELECT k, st FROM {table} WHERE st >= {LIVE} AND {aside}"

    duck.run(f"CREATE OR REPLACE TEMP TABLE _differing AS {digests.differing(side(present), side(AT))}")
    of_buckets = f"{digests.bucket()} IN (SELECT bucket FROM _differing) AND {aside}"
    # Of two items of one key, the lake has one state: their bucket differs, or one of them breaks its contract. One
    # that is marked deleted is none any more.
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {TWICE} AS SELECT k FROM (SELECT k FROM {present} WHERE st >= {LIVE} "
        f"AND {aside} AND ({digests.bucket()} IN (SELECT bucket FROM _differing) OR k IN (SELECT k FROM {breaking})) "
        f"UNION ALL SELECT k FROM {breaking} WHERE k IS NOT NULL AND {aside}) GROUP BY k HAVING count(*) > 1"
    )
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {OF_HISTORY} AS SELECT k, CASE "
        "WHEN h.st IS NULL THEN 'missed' "
        f"WHEN e.st >= {LIVE} AND h.st = {REMOVED} THEN 'wrongly deleted' "
        f"WHEN e.st >= {LIVE} AND h.st = {EXPIRED} THEN 'wrongly expired' "
        f"WHEN e.st >= {LIVE} THEN CASE WHEN e.v > h.v THEN 'stale' ELSE 'unequal' END "
        "ELSE 'extra' END AS kind, h.v AS v, e.v AS e_v FROM "
        f"(SELECT k, max(st) AS st, max(v) AS v FROM {present} WHERE {of_buckets} GROUP BY k) AS e "
        f"FULL JOIN (SELECT * FROM {AT} WHERE {of_buckets}) AS h USING (k) "
        f"WHERE (e.st >= {LIVE} OR h.st >= {LIVE}) AND e.st IS DISTINCT FROM h.st "
        # An item that is marked deleted is a tombstone in the lake, whatever became of it since.
        f"UNION ALL SELECT k, 'wrongly expired', h.v, e.v FROM {present} AS e JOIN {AT} AS h USING (k) "
        f"WHERE e.st = {REMOVED} AND h.st = {EXPIRED} AND {aside}"
    )
    # An item that breaks its contract is in quarantine: what the lake has of it, if anything, is older.
    duck.run(
        f"CREATE OR REPLACE TEMP TABLE {BREAKING} AS SELECT k, any_value(why) AS why FROM {breaking} "
        f"WHERE k IS NULL OR {aside} GROUP BY k"
    )
    duck.run(f"DELETE FROM {OF_HISTORY} WHERE k IN (SELECT k FROM {BREAKING})")
    duck.run(
        f"INSERT INTO {OF_HISTORY} SELECT b.k, CASE WHEN h.k IS NULL THEN 'missed' ELSE 'stale' END, h.v, NULL "
        f"FROM {BREAKING} AS b LEFT JOIN {AT} AS h USING (k)"
    )
    unproven = 0
    if not whole:
        gone = f"kind = 'extra' AND k NOT IN (SELECT k FROM {present})"
        unproven = duck.count(f"SELECT count(*) FROM {OF_HISTORY} WHERE {gone}")
        duck.run(f"DELETE FROM {OF_HISTORY} WHERE {gone}")
    return duck.count(f"SELECT count(*) FROM {OF_HISTORY}"), unproven


def leave_doubled(duck: Duck) -> int:
    """Take from `OF_HISTORY` the keys that the export says two things of: no state of the lake is equal to both.
    Returns how many there were."""
    theirs = f"k IN (SELECT k FROM {DOUBLED})"
    found = duck.count(f"SELECT count(*) FROM {OF_HISTORY} WHERE {theirs}")
    duck.run(f"DELETE FROM {OF_HISTORY} WHERE {theirs}")
    return found


def look_closer(duck: Duck, contract: Contract) -> None:
    """Look at what the unequal keys say: an attribute that has the contract's type on one side only is an unequal type,
    and sets whose members come in another order are equal. Needs the whole rows of both sides."""
    whole = items(contract.name)
    of_type = " OR ".join(
        f"(({_one_is_null(f.name)}) AND json_exists(coalesce(CASE WHEN i.{quoted(f.name)} IS NULL THEN i._extra "
        f"ELSE w._extra END, '{{}}'), {literal(_path(f.name))}))"
        for f in contract.fields
    )
    duck.run(
        f"UPDATE {OF_HISTORY} SET kind = 'unequal type' FROM {whole} AS i JOIN {WINNERS} AS w ON w._k = i._k "
        f"WHERE {OF_HISTORY}.k = i._k AND {OF_HISTORY}.kind IN ('unequal', 'stale') AND ({of_type})"
    )
    values = " AND ".join(
        f"{digests.canonical(f'i.{quoted(f.name)}', f.type)} IS NOT DISTINCT FROM "
        f"{digests.canonical(f'w.{quoted(f.name)}', f.type)}"
        for f in contract.fields
    )
    alike = duck.rows(
        f"SELECT i._k::VARCHAR, i._extra, w._extra FROM {whole} AS i JOIN {WINNERS} AS w ON w._k = i._k "
        f"JOIN {OF_HISTORY} AS d ON d.k = i._k WHERE d.kind IN ('unequal', 'stale') AND {values} "
        "AND i._extra IS NOT NULL AND w._extra IS NOT NULL AND i._extra <> w._extra"
    )
    same = [number for number, one, other in alike if _sorted(one) == _sorted(other)]
    if same:
        listed = ", ".join(f"{number}::UHUGEINT" for number in same)
        duck.run(f"DELETE FROM {OF_HISTORY} WHERE k IN ({listed})")


def _one_is_null(name: str) -> str:
    return f"(i.{quoted(name)} IS NULL) <> (w.{quoted(name)} IS NULL)"


def _path(name: str) -> str:
    return f'$."{name}"'


def _sorted(extra: str) -> Any:
    """Unknown attributes with the members of their sets in order."""

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                kind: sorted(inner) if kind in ("SS", "NS", "BS") and isinstance(inner, list) else read(inner)
                for kind, inner in value.items()
            }
        return [read(inner) for inner in value] if isinstance(value, list) else value

    return read(json.loads(extra))
