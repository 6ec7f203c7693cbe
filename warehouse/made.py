"""Where the record of builds is kept, what a relation that readers have is known by, and which versions a build reads.

Locally the record stands beside the warehouse's file and is about exactly that file: whatever else writes into it, or
puts another in its place, makes all of it unknown. On Athena it is an object of the bucket, and a mart is known by the
metadata file or the text of its published entry. A record that is lost costs one build of everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from lakehouse.results import Published
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing
from warehouse.journal import FOLDER
from warehouse.manifest import WATERMARKS_MODEL, Manifest, source_entity
from warehouse.marts import marts_of, models_of
from warehouse.news import Made, Outcome, Record
from warehouse.passed import reached
from warehouse.project import DbtFiles

KEY = f"{FOLDER}/made.json"
"""The record of an environment on Athena."""
_WATERMARKS = "watermarks.json"  # of a slice
_BATCH = "_batch"
_AT_ONCE = 8
_PROGRAMS = ("gavel", "dbt-core", "dbt-duckdb", "dbt-athena-community", "duckdb")
_WORK_FOLDERS = ("target", "logs")


class Kept(Protocol):
    """Where the record of one warehouse is."""

    def places(self) -> dict[str, str]:
        """What the relations that readers have are known by, by the model's id."""

    def read(self) -> Record:
        """The record as it was left; an empty one where there is none that can be read."""

    def write(self, record: Record) -> None:
        """Put a record in the place of the one that is there."""


@dataclass(frozen=True)
class KeptLocally:
    """Beside the file of a laptop's warehouse; all models in it are known by what the file is."""

    database: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """The file of the record."""
        return self.database.with_suffix(".made.json")

    def places(self) -> dict[str, str]:
        """The same for every model; none where there is no file, or changes beside it that are not in it yet."""
        known = known_by(self.database)
        return dict.fromkeys(models_of(self.manifest), known) if known else {}

    def read(self) -> Record:
        """The record as it was left."""
        return _parsed(self.path.read_bytes()) if self.path.exists() else Record()

    def write(self, record: Record) -> None:
        """Put it in place whole. All that it says is about the file as it is now: builds go on from a copy of it."""
        known = known_by(self.database)
        record = replace(record, models={i: replace(made, place=known) for i, made in record.models.items()})
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_bytes(_text(record))
        new.replace(self.path)


@dataclass(frozen=True)
class KeptInLake:
    """In the bucket, about the published entries of the marts."""

    lake: Lake
    manifest: Manifest

    def places(self) -> dict[str, str]:
        """The metadata file of a table, a digest of a view's text; none for what is not there."""

        def place(unique_id: str) -> tuple[str, str]:
            (mart,) = (m for m in marts_of(self.manifest, [unique_id]) if m.name == self._alias(unique_id))
            entry = self.lake.entries.get(mart.database, mart.name)
            if entry is None:
                return unique_id, ""
            text = entry.table.get("ViewOriginalText")
            return unique_id, _digest([text.encode()]) if text else entry.parameters.get("metadata_location", "")

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return {i: known for i, known in pool.map(place, models_of(self.manifest)) if known}

    def _alias(self, unique_id: str) -> str:
        return str(self.manifest["nodes"][unique_id]["alias"])

    def read(self) -> Record:
        """The record as it was left."""
        try:
            return _parsed(self.lake.store.read(KEY))
        except ObjectMissing:
            return Record()

    def write(self, record: Record) -> None:
        """Put it in place whole."""
        self.lake.store.write(KEY, _text(record))


def kept(files: DbtFiles, database: Path, lake: Lake, manifest: Manifest) -> Kept:
    """Where the record of this target's warehouse is."""
    return KeptLocally(database, manifest) if files.target == "local" else KeptInLake(lake, manifest)


def known_by(database: Path) -> str:
    """What a file is known by: its number and size, and the times at which it was written and anything of it changed,
    which nobody sets by hand. Empty where it is not there, or where a log of DuckDB is beside it."""
    if not database.exists() or database.with_name(f"{database.name}.wal").exists():
        return ""
    found = database.stat()
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def carry(kept: Kept, models: Collection[str], change: Callable[[], None]) -> None:
    """Keep what the record says of these models (ids) over a `change` that leaves their rows as they are."""
    record = kept.read().about(kept.places())
    change()
    places = kept.places()
    moved = {i: replace(m, place=places[i]) for i, m in record.models.items() if i in models and i in places}
    kept.write(replace(record, models={**record.models, **moved}))


def project_digest(files: DbtFiles, now: datetime) -> str:
    """Another text whenever something else than rows may give a model other rows: a file of the project or of the
    contracts, what dbt finds in its environment, a program of the build, and the year, which the calendar ends by."""
    contracts = Path(files.environment.get("GAVEL_CONTRACTS") or "")
    settings = {**files.variables, "target": files.target, "year": now.astimezone(UTC).year}
    parts = [json.dumps(settings, sort_keys=True).encode(), *(f"{p} {_version(p)}".encode() for p in _PROGRAMS)]
    for folder in (files.project, contracts):
        for path in sorted(_files(folder)):
            parts += [str(path.relative_to(folder)).encode(), path.read_bytes()]
    return _digest(parts)


def _files(folder: Path) -> Iterator[Path]:
    if folder.name and folder.is_dir():
        for path in folder.rglob("*"):
            if path.is_file() and path.relative_to(folder).parts[0] not in _WORK_FOLDERS:
                yield path


def _version(program: str) -> str:
    try:
        return version(program)
    except PackageNotFoundError:
        return "none"


def versions_of_lake(
    manifest: Manifest, states: Iterable[Published], unpublished: Collection[str]
) -> dict[str, str | None]:
    """The version of each source, by id. Of entities that are `unpublished` it is that of an empty table; that of a
    log, which grows at any time, is not known, nor that of a table that cannot be read."""
    known = {**dict.fromkeys(unpublished, "never published"), **{state.entity: _rows(state) for state in states}}
    moments = {state.entity: f"{state.batch} {state.watermark}" for state in states}
    found: dict[str, str | None] = {
        i: known.get(source_entity(source["name"])) for i, source in manifest["sources"].items()
    }
    return found | _watermarks(manifest, moments)


def lineages(manifest: Manifest, states: Iterable[Published]) -> dict[str, frozenset[int]]:
    """The snapshots that each source was made of, by id; of entities that are published."""
    known = {state.entity: state.lineage for state in states}
    entities = {i: source_entity(source["name"]) for i, source in manifest["sources"].items()}
    return {i: known[entity] for i, entity in entities.items() if entity in known}


def _rows(state: Published) -> str:
    """Also another text after maintenance, which leaves the rows as they are: that is once a night."""
    return f"{reached(state.batch, state.changes)}, {state.rows} rows, snapshot {state.snapshot_id}"


def versions_of_slice(manifest: Manifest, folder: Path) -> dict[str, str | None]:
    """The same for a slice, whose tables and logs are files."""
    found: dict[str, str | None] = {}
    for unique_id, source in manifest["sources"].items():
        files = [folder / f"{source['name']}.{kind}" for kind in ("parquet", "json")]
        found[unique_id] = ", ".join(_file(file) for file in files if file.exists()) or "no file"
    return found | _watermarks(manifest, json.loads((folder / _WATERMARKS).read_text("utf-8")))


def _file(file: Path) -> str:
    """What a file of a slice is known by and, where it has commits, how far they got."""
    found = file.stat()
    known = f"{found.st_size}:{found.st_mtime_ns}"
    if file.suffix != ".parquet":
        return known
    from pyarrow.parquet import read_metadata

    footer = read_metadata(file)
    groups = [footer.row_group(number).to_dict() for number in range(footer.num_row_groups)]
    columns = [column for group in groups for column in group["columns"] if column["path_in_schema"] == _BATCH]
    batches = [column["statistics"]["max"] for column in columns if column["statistics"]]
    return f"{reached(max(batches), footer.num_rows)}, {known}" if batches else known


def _watermarks(manifest: Manifest, moments: Mapping[str, str]) -> dict[str, str | None]:
    shown = [i for i, node in manifest["nodes"].items() if node["name"] == WATERMARKS_MODEL]
    return dict.fromkeys(shown, _digest([json.dumps(dict(moments), sort_keys=True).encode()]))


def _digest(parts: Collection[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _text(record: Record) -> bytes:
    return json.dumps(asdict(record), sort_keys=True).encode()


def _parsed(text: bytes) -> Record:
    """What was written down; nothing where that is of another version of this program, or damaged."""
    try:
        document = json.loads(text)
        models = {i: Made(**_entry(made)) for i, made in dict(document["models"]).items()}
        return Record(models, {i: Outcome(**_entry(tested)) for i, tested in dict(document["tests"]).items()})
    except (ValueError, TypeError, KeyError, RecursionError):
        return Record()


def _entry(document: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, "reads": {i: str(version) for i, version in dict(document["reads"]).items()}}
