"""Up to when models are true. A model is true for a moment if all that had arrived by then, in the tables that it was
built from, is in it; so a table without news leaves it as true as the table is, without a build.

What a build read is recorded with each model. Here is what that means; nothing here runs dbt or looks at the lake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.catalog import rows_version
from assets.manifest import model_keys
from lakehouse.results import Published
from warehouse.manifest import WATERMARKS_MODEL, Manifest, is_table, reads_of, source_entity

DATA_TIME = "data time"
"""The metadata in which a build says what a model is true for."""
TABLES_READ = "tables read"
"""The metadata in which a build says which rows of which tables a model was built from."""


@dataclass(frozen=True)
class TableRead:
    """The rows of a published table that a model was built from. `rows` is another text whenever the published rows
    are others, None where the model is no longer true than it says itself; `until` is the table's watermark, None where
    it has none."""

    rows: str | None
    until: datetime | None


Reads = Mapping[str, TableRead]
"""What was read of each entity's tables, by its name."""


def present(entities: Iterable[str], states: Iterable[Published]) -> dict[str, TableRead]:
    """What a build that began now would read of all `entities`; `states` are those that are published."""
    known = {state.entity: TableRead(rows_version(state), state.watermark) for state in states}
    return {entity: known.get(entity, TableRead(None, None)) for entity in entities}


def tables_read(
    manifest: Manifest, built: Collection[str], now: Reads, earlier: Mapping[str, Reads]
) -> dict[str, Reads | None]:
    """What every built model read, however indirectly, by its id; None where it is not known.

    `now` is what a build reads of all entities; sources that are no entity do not count. A model that was not built
    now, and is not a view, was built from what its `earlier` build read. Who reads the view of all watermarks states a
    data time: its rows are true for that and no more. What reads nothing else is about the tables themselves: it read
    all that were ever published.
    """
    nodes, sources = manifest["nodes"], manifest["sources"]
    known: dict[str, Reads | None] = {}

    def of(unique_id: str) -> Reads | None:
        if unique_id in sources:
            entity = source_entity(sources[unique_id]["name"])
            return {entity: now[entity]}
        if unique_id not in built and is_table(nodes[unique_id]):
            return earlier.get(unique_id)
        if unique_id not in known:
            known[unique_id] = of_parents(unique_id)
        return known[unique_id]

    def of_parents(unique_id: str) -> Reads | None:
        some = [of(p) for p in parents(unique_id) if reads(p)]
        states_it = any(nodes.get(p, {}).get("name") == WATERMARKS_MODEL for p in parents(unique_id))
        if not some and states_it:
            some = [{entity: read for entity, read in now.items() if read.until}]
        found = _joined(some)
        if found is None or not states_it:
            return found
        return {entity: replace(read, rows=None) for entity, read in found.items()}

    def reads(unique_id: str) -> bool:
        if unique_id in sources:
            return source_entity(sources[unique_id]["name"]) in now
        return nodes[unique_id]["name"] != WATERMARKS_MODEL and any(reads(p) for p in parents(unique_id))

    def parents(model_id: str) -> list[str]:
        return reads_of(manifest, model_id)

    return {model_id: of(model_id) for model_id in built}


def _joined(several: Iterable[Reads | None]) -> Reads | None:
    """What was read in several ways: of each table the older rows; None where one way is not known."""
    found: dict[str, TableRead] = {}
    for reads in several:
        if reads is None:
            return None
        for entity, read in reads.items():
            found[entity] = _older(read, found.get(entity, read))
    return found


def _older(one: TableRead, other: TableRead) -> TableRead:
    """Of the same rows, either: they are as true as the later watermark says."""
    early, late = sorted((one, other), key=lambda read: read.until or datetime.min.replace(tzinfo=UTC))
    return late if early.rows is not None and early.rows == late.rows else early


def data_time(reads: Reads | None, now: Reads) -> datetime | None:
    """What a model that read this is true for: the smallest watermark of the tables that it read. Of a table whose rows
    are still the same, the watermark that it has `now` counts. None where one is not known, and where none was read."""
    moments = [read.until for read in renewed(reads or {}, now).values()]
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(moments) else None


def renewed(reads: Reads, now: Reads) -> Reads:
    """What a model that is left as it was has read: of tables with the same rows all that arrived until `now`. With the
    watermark of its build, it would look as old as that as soon as a table gets other rows."""
    return {
        entity: now[entity] if read.rows is not None and entity in now and now[entity].rows == read.rows else read
        for entity, read in reads.items()
    }


def unread_since(reads: Reads | None, now: Reads) -> datetime | None:
    """Since when a model that read this lacks something that is published: the oldest watermark that it read of a table
    whose rows are others `now`. The oldest change that it lacks arrived after that. None where it lacks nothing."""
    moments = [
        read.until
        for entity, read in (reads or {}).items()
        if read.until is not None and entity in now and now[entity].rows != read.rows
    ]
    return min(moments, default=None)


def as_metadata(reads: Reads) -> dg.JsonMetadataValue:
    """What was read, as a build records it."""
    return dg.MetadataValue.json(
        {
            entity: {"rows": read.rows, "until": read.until.isoformat() if read.until else None}
            for entity, read in sorted(reads.items())
        }
    )


def recorded_reads(instance: dg.DagsterInstance, models: Iterable[dg.AssetKey]) -> dict[dg.AssetKey, Reads]:
    """What the latest builds of these models read, of those that recorded it."""
    found = {}
    for record in instance.get_asset_records(list(models)):
        event = record.asset_entry.last_materialization
        read = reads_in(event.asset_materialization.metadata) if event and event.asset_materialization else None
        if read is not None:
            found[record.asset_entry.asset_key] = read
    return found


def reads_in(metadata: Mapping[str, Any]) -> Reads | None:
    """What a build read, as it recorded it; None if it did not."""
    value = metadata.get(TABLES_READ)
    return _reads(value.data) if isinstance(value, dg.JsonMetadataValue) else None


def _reads(document: Any) -> Reads:
    return {
        entity: TableRead(read["rows"], datetime.fromisoformat(read["until"]) if read["until"] else None)
        for entity, read in document.items()
    }


def present_data_times(
    instance: dg.DagsterInstance, models: Iterable[dg.AssetKey], now: Reads
) -> dict[dg.AssetKey, datetime]:
    """What these models are true for now, of those that were built and are true for any time."""
    times = {key: data_time(reads, now) for key, reads in recorded_reads(instance, models).items()}
    return {key: moment for key, moment in times.items() if moment is not None}


def recorded_data_time(instance: dg.DagsterInstance, key: dg.AssetKey) -> datetime | None:
    """The data time that the asset's latest materialization recorded."""
    value = _recorded(instance.get_latest_materialization_event(key), DATA_TIME)
    return datetime.fromtimestamp(value.value, UTC) if isinstance(value, dg.TimestampMetadataValue) else None


def _recorded(event: dg.EventLogEntry | None, name: str) -> Any:
    return event.asset_materialization.metadata.get(name) if event and event.asset_materialization else None


def timeless(manifest: Manifest) -> set[dg.AssetKey]:
    """The models that read no table, however indirectly, and so are true for any time."""
    parents = {i: reads_of(manifest, i) for i in model_keys(manifest)}
    dated = {i for i, read in parents.items() if any(p in manifest["sources"] for p in read)}
    while more := {i for i, read in parents.items() if i not in dated and not dated.isdisjoint(read)}:
        dated |= more
    return {key for i, key in model_keys(manifest).items() if i not in dated}
