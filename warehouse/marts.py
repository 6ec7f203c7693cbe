"""The two entries of a mart on Athena: one in a work database, which dbt builds, and one that readers see.

Here belongs how the entries are named, and how the text of a view is made to read the other databases. Moving them is
in `moving`, what is written down of it in `journal`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lakehouse.storage.entries import Entry, TableInput
from warehouse.manifest import WATERMARKS_MODEL, Manifest, is_model

WORK = "gavel_work_"
PUBLISHED = "gavel_"
PINNED = "pinned_watermarks"
"""The view of batches and watermarks that a build makes before its first model (`dbt_project/macros/data_time.sql`)."""
BUILD = "gavel.build"
"""Parameter of a published entry: the build that moved it last."""
_VIEW = re.compile(r"\A/\* Presto View: (?P<encoded>[A-Za-z0-9+/=]+) \*/\Z")


@dataclass(frozen=True, order=True)
class Mart:
    """A table or view that dbt builds; `database` is the one that readers see."""

    database: str
    name: str

    @property
    def work(self) -> str:
        """The database that dbt builds it in."""
        return WORK + self.database.removeprefix(PUBLISHED)


def models_of(manifest: Manifest) -> list[str]:
    """The ids of all models that become a table or view."""
    return [unique_id for unique_id in manifest["nodes"] if is_model(manifest, unique_id)]


def marts_of(manifest: Manifest, models: Iterable[str]) -> list[Mart]:
    """The marts of these models (ids) in order, and what a build of the project pins for them.

    Raises `ValueError` for a model of a schema that is no work database.
    """
    found = {_mart(manifest["nodes"][unique_id]) for unique_id in models}
    pins = [n for n in manifest["nodes"].values() if n["name"] == WATERMARKS_MODEL]
    return sorted(found | {Mart(_mart(node).database, PINNED) for node in pins if found})


def _mart(node: Mapping[str, str]) -> Mart:
    schema = node["schema"]
    if not schema.startswith(WORK):
        raise ValueError(f"{node['name']}: expected a schema that begins with {WORK}, found {schema}; prepare again")
    return Mart(PUBLISHED + schema.removeprefix(WORK), node["alias"])


def as_published(work: Entry, marts: Collection[Mart], build: str) -> TableInput:
    """What readers get of a work entry: the same state, and views that read what is published.

    Raises `ValueError` for an entry that is neither an Iceberg table nor a view.
    """
    table = _reading(work, {mart.work: mart.database for mart in marts})
    return {**table, "Parameters": {**work.parameters, BUILD: build}}


def as_work(published: Entry, marts: Collection[Mart]) -> TableInput:
    """The work entry that stands where a published one does."""
    return _reading(published, {mart.database: mart.work for mart in marts})


def same_state(one: TableInput, other: TableInput) -> bool:
    """Whether two entries are the same table at the same metadata file, or views of the same text."""
    return _state(one) == _state(other)


def _state(table: TableInput) -> tuple[str | None, str | None]:
    return (table.get("Parameters") or {}).get("metadata_location"), table.get("ViewOriginalText")


def _reading(entry: Entry, databases: Mapping[str, str]) -> TableInput:
    text = entry.table.get("ViewOriginalText")
    if not text:
        assert entry.metadata_location  # raises for what is no table of Iceberg
        return entry.table
    match = _VIEW.match(text)
    if match is None:
        raise ValueError(f"{entry.database}.{entry.name}: expected a view of Athena or an Iceberg table, found neither")
    view = json.loads(base64.b64decode(match["encoded"]))
    # A whole name before a dot is a database, whether it is quoted or not.
    names = "|".join(map(re.escape, databases))
    view["originalSql"] = re.sub(
        rf'(?<!\w)({names})(?="?\s*\.)', lambda found: databases[found[1]], view["originalSql"]
    )
    if view.get("schema") in databases:
        view["schema"] = databases[view["schema"]]
    encoded = base64.b64encode(json.dumps(view).encode()).decode()
    return {**entry.table, "ViewOriginalText": f"/* Presto View: {encoded} */"}
