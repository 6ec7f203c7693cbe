"""What a data contract says, as plain immutable values; nothing here reads a file.

A contract is the only source of what an entity is. Everything else about entities is derived from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from contracts.types import Field, is_personal

Engine: TypeAlias = Literal["embedded", "athena"]
Treatment: TypeAlias = Literal["null", "pseudonym", "keep"]
TREATMENTS: tuple[Treatment, ...] = ("null", "pseudonym", "keep")
PSEUDONYM_LENGTH = 31
"""Characters of what an erasure writes in place of an identity: `erased-` and 24 hexadecimal digits."""

_PLACEHOLDER = re.compile(r"\{~?([a-z][a-z0-9_]*)\}")

VERSION = "_version"
"""The attribute of each item that says its version; as the sort key of an index, what was written last comes last."""


class ContractError(ValueError):
    """A contract cannot be used; the message says which, where in it, what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class Partition:
    """How the tables of an entity are partitioned: by a transform of an immutable field."""

    field: str
    transform: Literal["month"] = "month"


@dataclass(frozen=True, slots=True)
class Relation:
    """A field that holds the key of another entity."""

    field: str
    entity: str
    target_field: str


@dataclass(frozen=True, slots=True)
class IndexKeys:
    """A sparse index of the operational table: attributes `<prefix>_pk` and `<prefix>_sk` for index `by_<prefix>`.

    With `_version` as `sk`, the item's version is the sort key itself. `{~field}` stands for a field's text folded for
    searching (`contracts.item.folded`).
    """

    name: str
    pk: str
    sk: str

    @property
    def prefix(self) -> str:
        return self.name.removeprefix("by_")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that an item is in the index by, apart from its version."""
        return (f"{self.prefix}_pk",) if self.sk == VERSION else (f"{self.prefix}_pk", f"{self.prefix}_sk")


@dataclass(frozen=True, slots=True)
class Ttl:
    """An operational item leaves the table `days` days after the moment in `after`; its history stays in the lake."""

    after: str
    days: int


@dataclass(frozen=True, slots=True)
class Copies:
    """Fields that a write of this entity copies to an item of another entity, in the same transaction."""

    to: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DynamoKeys:
    """Where an entity's items live in the single table, as templates over its fields."""

    pk: str
    sk: str
    indexes: tuple[IndexKeys, ...] = ()
    ttl: Ttl | None = None
    copies: Copies | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that partition key and sort key are made of, without repetition."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.pk + self.sk)))


def template_fields(template: str) -> tuple[str, ...]:
    """The fields that a key template names, in order."""
    return tuple(_PLACEHOLDER.findall(template))


@dataclass(frozen=True, slots=True)
class Erasure:
    """Whom an entity's rows are about, and what the erasure of a person does with them.

    `persons` are the fields that hold a person's identity. `rows` says whether the person's rows are deleted or kept
    without what is personal. `fields` are treatments other than the usual ones (see `Contract.treatment`), `of` says
    of a personal field which of several `persons` it is about.
    """

    persons: tuple[str, ...]
    rows: Literal["delete", "keep"] = "keep"
    fields: tuple[tuple[str, Treatment], ...] = ()
    of: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """After how many days landed objects go to another storage class of S3, and to which."""

    days: int
    storage_class: str = "GLACIER_IR"


@dataclass(frozen=True)
class Contract:
    """One entity: its fields, keys, rules and promises. `origin` is `stream` (lives in DynamoDB) or `files`.

    `engine` says where its changes are merged: on the machine that runs the pipeline, or on Athena. `dimension` is what
    one row is called in the star schema (`customer` makes `dim_customer`), if the entity is a dimension there.
    `retention_days` is the legal period: what landed is deleted after it, unless there is a `legal_hold`.
    """

    name: str
    version: str
    description: str
    owner: str
    domain: str
    origin: Literal["stream", "files"]
    fields: tuple[Field, ...]
    primary_key: tuple[str, ...]
    partition: Partition | None
    sort: tuple[str, ...]
    ordering: str | None
    keys: DynamoKeys | None
    retention_days: int
    freshness_minutes: int
    relations: tuple[Relation, ...] = ()
    engine: Engine = "embedded"
    dimension: str | None = None
    erasure: Erasure | None = None
    transition: Transition | None = None
    legal_hold: bool = False

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {f.name: f for f in self.fields}

    def field(self, name: str) -> Field:
        """The field of that name; raises `ContractError` that lists the fields there are."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(self._by_name)
            raise ContractError(f"{self.name}: there is no field {name!r}; its fields are {known}") from None

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @cached_property
    def immutable(self) -> frozenset[str]:
        """Fields that no write may change: they say which item it is and in which partition its row lives."""
        partition = (self.partition.field,) if self.partition else ()
        keys = self.keys.fields if self.keys else ()
        return frozenset((*self.primary_key, *partition, *keys))

    @cached_property
    def personal(self) -> tuple[str, ...]:
        """Names of the fields that hold personal data, themselves or in a part of them."""
        return tuple(f.name for f in self.fields if is_personal(f))

    @cached_property
    def key_names_a_person(self) -> bool:
        """Whether the key of a row, or of its item, is made of what names a person."""
        named = {*self.personal, *(self.erasure.persons if self.erasure else ())}
        return not named.isdisjoint({*self.primary_key, *(self.keys.fields if self.keys else ())})

    def treatment(self, field: str, person: str) -> Treatment:
        """What the erasure of the person whom the field `person` names does with another field of a row that is kept:
        identities get a pseudonym, personal fields nothing (one that is required, a pseudonym), others stay."""
        if self.erasure is None or person not in self.erasure.persons:
            return "keep"
        if field in self.erasure.persons:
            return "pseudonym" if field == person else "keep"
        if dict(self.erasure.of).get(field, person) != person:
            return "keep"
        usual: Treatment = "keep"
        if field in self.personal:
            usual = "pseudonym" if self.field(field).required else "null"
        return dict(self.erasure.fields).get(field, usual)

    @property
    def needs_pointer(self) -> bool:
        """Whether the place of an item does not follow from its primary key alone."""
        return self.keys is not None and not set(self.keys.fields) <= set(self.primary_key)


class Contracts(Mapping[str, Contract]):
    """All contracts by entity name, sorted by name."""

    def __init__(self, contracts: Mapping[str, Contract]) -> None:
        self._contracts = {name: contracts[name] for name in sorted(contracts)}

    def __getitem__(self, name: str) -> Contract:
        return self._contracts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._contracts)

    def __len__(self) -> int:
        return len(self._contracts)

    def of_origin(self, origin: Literal["stream", "files"]) -> tuple[Contract, ...]:
        """The contracts of that origin, sorted by name."""
        return tuple(c for c in self._contracts.values() if c.origin == origin)
