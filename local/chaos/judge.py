"""Compares what there is with what must be: requests with the table, the table with the lake, the lake with the marts.

Plain functions on plain data; `evidence` brings it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from local.chaos.model import Fields, Key, States

Kind = Literal["lost", "doubled", "wrong"]


@dataclass(frozen=True)
class Difference:
    """Something that is not as it must be: where, of what, and what was expected and found."""

    kind: Kind
    where: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} in {self.where}: {self.what}{f' ({self.detail})' if self.detail else ''}"


def requests_and_table(states: States, table: Mapping[Key, Fields]) -> list[Difference]:
    """What was accepted must be in the table, and nothing else."""
    found = []
    for key, possible in sorted(states.items()):
        there = table.get(key)
        if there in possible:
            continue
        kind: Kind = "lost" if there is None else "wrong"
        found.append(Difference(kind, "the table", "/".join(key), _unlike(possible, there)))
    for key in sorted(table.keys() - states.keys()):
        found.append(Difference("wrong", "the table", "/".join(key), "nobody wrote it"))
    return found


def _unlike(possible: Collection[Fields | None], there: Fields | None) -> str:
    """How an item differs from what it resembles most, by names of fields."""
    if there is None:
        return "it is not there"
    known = [state for state in possible if state is not None]
    if not known:
        return "it was deleted"
    unlike = min(({name for name, _ in state ^ there} for state in known), key=len)
    return f"unlike all {len(possible)} states that it may have, the nearest differs in {', '.join(sorted(unlike))}"


def table_and_lake(
    table: Mapping[Key, Fields], rows: Iterable[tuple[Key, Fields]], entities: Collection[str], where: str = "the lake"
) -> list[Difference]:
    """The visible rows of the published tables of `entities` must be the items of the table, each once."""
    found = []
    seen: dict[Key, list[Fields]] = {}
    for key, row in rows:
        seen.setdefault(key, []).append(row)
    wanted = {key: item for key, item in table.items() if key[0] in entities}
    for key in sorted(wanted.keys() | seen.keys()):
        item, versions = wanted.get(key), seen.get(key, [])
        name = "/".join(key)
        if item is None:
            found.append(Difference("wrong", where, name, "the table does not have it"))
        elif not versions:
            found.append(Difference("lost", where, name))
        elif len(versions) > 1:
            found.append(Difference("doubled", where, name, f"{len(versions)} rows"))
        elif versions[0] != item:
            names = ", ".join(sorted({field for field, _ in versions[0] ^ item}))
            found.append(Difference("wrong", where, name, f"it differs from the table in {names}"))
    return found


def stream_and_history(events: Mapping[str, Collection[str]], history: Mapping[str, list[str]]) -> list[Difference]:
    """Each change of the table's stream must be in the history of its entity, once."""
    found = []
    for entity in sorted(events.keys() | history.keys()):
        where = f"{entity}_changes"
        wanted, counted = set(events.get(entity, ())), Counter(history.get(entity, ()))
        found += [Difference("lost", where, event) for event in sorted(wanted - counted.keys())]
        found += [
            Difference("wrong", where, e, "the stream has no such change") for e in sorted(counted.keys() - wanted)
        ]
        found += [Difference("doubled", where, e, f"{n} rows") for e, n in sorted(counted.items()) if n > 1]
    return found


def lake_and_mart(mart: str, wanted: Collection[Any], found: Iterable[Any]) -> list[Difference]:
    """A mart must have each of these once: keys, or keys with values."""
    counted = Counter(found)
    expected = set(wanted)
    return [
        *(Difference("lost", mart, str(one)) for one in sorted(expected - counted.keys(), key=str)),
        *(
            Difference("wrong", mart, str(one), "it is not expected")
            for one in sorted(counted.keys() - expected, key=str)
        ),
        *(Difference("doubled", mart, str(one), f"{n} rows") for one, n in sorted(counted.items(), key=str) if n > 1),
    ]
