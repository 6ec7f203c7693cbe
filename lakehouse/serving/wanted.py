"""Which published tables the website's PostgreSQL follows, under which names and with which columns.

That is configuration of an environment, read from a YAML file; the address of the server is a secret and comes beside
it. Nothing here imports anything heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from contracts.types import is_personal

if TYPE_CHECKING:
    from contracts import Contract, Contracts
    from contracts.types import Field as ContractField

SYNC_TABLE = "gavel_sync"
"""Beside the served tables: one row for each, with the state of the lake that it shows."""
LONGEST_NAME = 63
"""Bytes; PostgreSQL cuts longer names."""
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=rf"^{_NAME.pattern}$")]


class ServingError(ValueError):
    """What is to be served cannot be; the message says what was expected and found."""


class Wish(BaseModel):
    """How one entity is served: under which name, without which fields, with which of its personal ones, and whether
    items that expired stay."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: Name | None = None
    without: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    expired: bool = False


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_name: Name = Field("gavel", alias="schema")
    tables: dict[str, Wish]

    @field_validator("tables", mode="before")
    @classmethod
    def _plain(cls, tables: object) -> object:
        """An entity with nothing behind it is served as it is."""
        return {e: {} if w is None else w for e, w in tables.items()} if isinstance(tables, dict) else tables


@dataclass(frozen=True)
class Target:
    """One served table: its place, and the fields of the entity that it has, keys among them."""

    contract: Contract
    schema: str
    table: str
    fields: tuple[ContractField, ...]
    expired: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in order."""
        return tuple(f.name for f in self.fields)

    @property
    def keys(self) -> tuple[ContractField, ...]:
        """The key columns in order."""
        return tuple(self.contract.field(k) for k in self.contract.primary_key)


@dataclass(frozen=True)
class Serving:
    """What is served, and the address of the server (a URL or what libpq calls a connection string), a secret."""

    schema: str
    wishes: Mapping[str, Wish]
    url: str = field(repr=False)

    @classmethod
    def load(cls, path: Path, url: str) -> Serving:
        """What a file describes; raises `ServingError`, which never shows the address."""
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(url)
        except Exception:  # noqa: BLE001 - whatever it says may show the address
            raise ServingError(
                "the address of the server: expected a PostgreSQL URL or connection string, found another form, which "
                "is not shown because it is a secret; set it again"
            ) from None
        try:
            document = _Document.model_validate(yaml.safe_load(path.read_text("utf-8")))
        except (OSError, yaml.YAMLError) as error:
            raise ServingError(f"{path}: expected a YAML file of what is served, found {error}") from error
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
            raise ServingError(f"{path}: {found}") from error
        return cls(document.schema_name, document.tables, url)

    def targets(self, contracts: Contracts) -> tuple[Target, ...]:
        """Every served table, by name of the entity; raises `ServingError` for what the contracts do not allow."""
        if unknown := sorted(set(self.wishes) - set(contracts)):
            raise ServingError(f"expected entities ({', '.join(contracts)}), found {', '.join(unknown)}")
        targets = tuple(self.target(contracts[entity]) for entity in sorted(self.wishes))
        names = [t.table for t in targets]
        if doubled := sorted({n for n in names if names.count(n) > 1 or n == SYNC_TABLE}):
            raise ServingError(f"expected a table of its own for each entity, found {', '.join(doubled)} taken already")
        return targets

    def target(self, contract: Contract) -> Target:
        """The served table of one entity; raises `ServingError`."""
        wish = self.wishes[contract.name]
        if unknown := sorted({*wish.without, *wish.personal} - set(contract.field_names)):
            raise ServingError(f"{contract.name}: expected fields of the contract, found {', '.join(unknown)}")
        fields = tuple(
            f for f in contract.fields if f.name not in wish.without and (not is_personal(f) or f.name in wish.personal)
        )
        served = {f.name for f in fields}
        if missing := [k for k in contract.primary_key if k not in served]:
            raise ServingError(
                f"{contract.name}: expected the whole key in the served table, found {', '.join(missing)} left out; "
                "a personal key must be named under `personal`"
            )
        if long := [n for n in served if len(n.encode()) > LONGEST_NAME]:
            raise ServingError(
                f"{contract.name}: expected names of at most {LONGEST_NAME} bytes, found {', '.join(long)}; leave it "
                "out with `without`"
            )
        return Target(contract, self.schema, wish.table or contract.name, fields, wish.expired)
