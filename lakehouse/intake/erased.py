"""Persons who were erased: known by a keyed hash alone, so that what still arrives of them comes to nothing.

A table names its list in its metadata, so that whoever reads the table's state knows whom it must not have again. Rows
of an erased person are left out while they are read, or lose what is personal, as their contract says.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from contracts.types import StringType
from lakehouse.storage.failures import of_the_lake
from lakehouse.storage.iceberg_io import files_of
from lakehouse.storage.sql import literal, quoted
from lakehouse.table.relations import CHECKED, text_columns

if TYPE_CHECKING:
    from contracts import Contract
    from lakehouse.intake.landing import LandedObject
    from lakehouse.storage.duck import Duck
    from lakehouse.storage.lake import Lake

ERASED = "gavel.erased"
"""The table property that names the list of erased persons that the table is without."""
LATE = "erasures/late/"
"""Where it is noted which landed objects brought an erased person again."""
ALWAYS_NULL = ("_by", "_extra")
"""System columns that may say something of a person, and nobody needs."""


def token(secret: bytes, identity: str) -> str:
    """What is kept of an identity: its HMAC-SHA256 (hex)."""
    return hmac.digest(secret, identity.encode(), "sha256").hex()


def pseudonym(of: str) -> str:
    """What stands for a person with that token in rows that are kept."""
    return f"erased-{of[:24]}"


@dataclass(frozen=True)
class ErasedList:
    """Erased persons by token, each with the request that erased it; `key` is where the list is kept."""

    key: str
    requests: Mapping[str, str]

    @classmethod
    def load(cls, lake: Lake, key: str) -> ErasedList:
        """The list under a key; empty for an empty key."""
        if not key:
            return cls("", {})
        content = files_of(lake).read(lake.store.uri(key))
        with of_the_lake(key):
            return cls(key, dict(orjson.loads(content)["tokens"]))

    def with_person(self, lake: Lake, person: str, request: str) -> ErasedList:
        """The list with one more token, written under a key of its own."""
        requests = {**self.requests, person: request}
        content = orjson.dumps({"tokens": requests}, option=orjson.OPT_SORT_KEYS)
        key = f"erasures/lists/{token(b'list', content.decode())[:32]}.json"
        files_of(lake).write(lake.store.uri(key), content)
        return ErasedList(key, requests)


def leave_out(duck: Duck, lake: Lake, contract: Contract, erased: str, objects: Sequence[LandedObject]) -> int:
    """Let the rows of erased persons in `checked` come to nothing; `erased` is the table's list. Notes the landed
    objects that have to be rewritten. Returns how many rows were left out or lost what was personal."""
    if not erased or contract.erasure is None:
        return 0
    known = ErasedList.load(lake, erased).requests
    secret = lake.erasure_secret
    found = 0
    touched: dict[int, int] = {}
    for person in contract.erasure.persons:
        value = text_of(contract, person)
        named = duck.rows(f"SELECT DISTINCT {value} FROM {CHECKED} WHERE {value} IS NOT NULL")
        hits = {name: pseudonym(t) for (name,) in named if (t := token(secret, name)) in known}
        if not hits:
            continue
        hit = is_one_of(value, hits)
        for number, rows in duck.rows(f"SELECT _no, count(*) FROM {CHECKED} WHERE {hit} GROUP BY _no"):
            touched[number] = touched.get(number, 0) + rows
            found += rows
        if contract.erasure.rows == "delete":
            duck.run(f"DELETE FROM {CHECKED} WHERE {hit}")
        else:
            duck.run(f"UPDATE {CHECKED} SET {', '.join(_without_personal(contract, person, hits))} WHERE {hit}")
    for number, rows in touched.items():
        _note(lake, contract, objects[number], rows)
    return found


def about_erased(lake: Lake, contract: Contract, erased: str) -> str | None:
    """A condition, over the columns of the entity's tables, for rows that are about somebody whom a table's list
    (`erased`) has; None where there are none."""
    known = ErasedList.load(lake, erased).requests if contract.erasure is not None else {}
    if not known or contract.erasure is None:
        return None
    names = [pseudonym(person) for person in known]
    return "(" + " OR ".join(is_one_of(f"{quoted(p)}::VARCHAR", names) for p in contract.erasure.persons) + ")"


def is_one_of(value: str, names: Iterable[str]) -> str:
    """A condition that holds for a value among the names, and is false for null."""
    return f"coalesce({value} IN ({', '.join(literal(n) for n in names)}), false)"


def text_of(contract: Contract, field: str) -> str:
    """A field of a row in `checked` as text, whatever form it was written in."""
    number = text_columns(contract).index(field) + 1
    return f"(CASE WHEN _text IS NULL THEN {quoted(field)}::VARCHAR ELSE _text[{number}] END)"


def treated(contract: Contract, person: str, names: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """The columns of a row about a person that get another value: SQL, or None for null. `names` are pseudonyms by
    identity; a personal field that must not be null gets the pseudonym, too."""
    chosen = " ".join(f"WHEN {literal(name)} THEN {literal(instead)}" for name, instead in names.items())
    instead = f"CASE {quoted(person)} {chosen} END"
    for field in contract.fields:
        match contract.treatment(field.name, person):
            case "pseudonym":
                yield field.name, instead
            case "null":
                yield field.name, None
    yield from ((name, None) for name in ALWAYS_NULL)


def _without_personal(contract: Contract, person: str, names: Mapping[str, str]) -> Iterator[str]:
    columns = (*text_columns(contract), "_problem")
    values = dict(treated(contract, person, names))
    texts = []
    for number, column in enumerate(columns, start=1):
        if column not in values:
            texts.append(f"_text[{number}]")
            continue
        value = values[column]
        texts.append("NULL" if value is None else value.replace(quoted(person), text_of(contract, person)))
    yield f"_text = CASE WHEN _text IS NULL THEN NULL ELSE [{', '.join(texts)}] END"
    for name, value in values.items():
        if value is None:
            yield f"{quoted(name)} = NULL"
        elif isinstance(contract.field(name).type, StringType):
            yield f"{quoted(name)} = {value.replace(quoted(person), text_of(contract, person))}"


def _note(lake: Lake, contract: Contract, landed: LandedObject, rows: int) -> None:
    """Keep in mind that a landed object holds rows of an erased person, and is to be rewritten."""
    name = token(b"late", landed.key)[:24]
    note = {"entity": contract.name, "key": landed.key, "etag": landed.etag, "rows": rows}
    lake.store.write(f"{LATE}{contract.name}/{name}.json", orjson.dumps(note))
