"""What the assets are in OpenLineage's terms: jobs and datasets with their facets.

Names follow https://openlineage.io/docs/spec/naming: landed objects are of their bucket, tables of Athena (or of a
DuckDB file on a laptop), the page is a file. An asset may be two datasets: an entity's table and its history.

These are plain documents, made without a package: the tests check every event by the standard's JSON schemas. Which
events there are is decided in `orchestration.lineage.events`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import dagster as dg

from assets import keys
from assets.lineage import LINEAGE
from assets.manifest import model_keys
from assets.reports import PAGE
from contracts import Contract, Contracts
from contracts.change import CHANGE_COLUMNS
from contracts.dbt.sources import changes_name
from contracts.logs import LOGS, Log
from contracts.system_columns import COMPACTED, HISTORY
from contracts.types import Field, type_name
from lakehouse.storage.lake import Lake
from warehouse.manifest import Manifest, reads_of
from warehouse.marts import PUBLISHED, WORK

Document = dict[str, Any]
"""A JSON object of the standard."""

PRODUCER = f"urn:gavel:lineage:{version('gavel')}"
_SCHEMAS = "https://openlineage.io/spec"
_FACETS = {
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet",
    "documentation": "1-1-0/DocumentationDatasetFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "jobDocumentation": "1-1-0/DocumentationJobFacet",
    "jobOwnership": "1-0-1/OwnershipJobFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "nominalTime": "1-0-1/NominalTimeRunFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "ownership": "1-0-1/OwnershipDatasetFacet",
    "parent": "1-2-0/ParentRunFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
}
"""The facets in use, with the version of each one's schema. Jobs and datasets have facets of the same name."""

_IN_URIS = ":/?#[]@!$&'()*+,;=-._~%"

EVENT_SCHEMA = f"{_SCHEMAS}/2-0-2/OpenLineage.json#/$defs/RunEvent"


def facet(name: str, /, **content: Any) -> Document:
    """A facet of the standard, with the address of its schema."""
    path = _FACETS[name]
    of = path.rpartition("/")[2]
    return {"_producer": PRODUCER, "_schemaURL": f"{_SCHEMAS}/facets/{path}.json#/$defs/{of}", **content}


@dataclass(frozen=True)
class Column:
    """A column of a dataset, as its schema facet says it."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True)
class Dataset:
    """What the standard knows a dataset by, and what is said of it: where it lies, columns, owner, description."""

    namespace: str
    name: str
    uri: str = ""
    columns: tuple[Column, ...] = ()
    owner: str = ""
    description: str = ""

    @property
    def id(self) -> Document:
        """Namespace and name."""
        return {"namespace": self.namespace, "name": self.name}

    @property
    def facets(self) -> Document:
        """The facets of a dataset, whoever reads or writes it."""
        uri = self.uri or self.namespace
        place = {"uri": quote(uri, _IN_URIS)} if "://" in uri else {}
        found = {"dataSource": facet("dataSource", name=self.namespace, **place)}
        if self.columns:
            found["schema"] = facet("schema", fields=[_field(column) for column in self.columns])
        if self.description:
            found["documentation"] = facet("documentation", description=self.description)
        if self.owner:
            found["ownership"] = facet("ownership", owners=[{"name": self.owner}])
        return found


def _field(column: Column) -> Document:
    known = {"name": column.name, "type": column.type, "description": column.description}
    return {name: value for name, value in known.items() if value}


@dataclass(frozen=True)
class Job:
    """An asset as a job: what it reads and writes, whose it is, and what computes it."""

    name: str
    reads: tuple[Dataset, ...] = ()
    writes: tuple[Dataset, ...] = ()
    owner: str = ""
    description: str = ""
    kinds: frozenset[str] = frozenset()

    def facets(self) -> Document:
        """The facets of the job."""
        found = {"jobType": facet("jobType", processingType="BATCH", integration="DAGSTER", jobType="ASSET")}
        if self.description:
            found["documentation"] = facet("jobDocumentation", description=self.description)
        if self.owner:
            found["ownership"] = facet("jobOwnership", owners=[{"name": self.owner}])
        return found


@dataclass(frozen=True)
class Jobs:
    """All assets of a code location as jobs in one namespace, and which datasets each of them is."""

    namespace: str
    by_key: Mapping[dg.AssetKey, Job] = field(default_factory=dict)
    datasets: Mapping[dg.AssetKey, tuple[Dataset, ...]] = field(default_factory=dict)

    def of(self, key: dg.AssetKey) -> Job:
        """The job of an asset; one that the code location does not have any more keeps its name."""
        return self.by_key.get(key) or Job(_dotted(key), writes=(Dataset(self.namespace, _dotted(key)),))


def _dotted(key: dg.AssetKey) -> str:
    return ".".join(key.path)


@dataclass(frozen=True)
class Places:
    """Where an environment keeps its tables. `warehouse` is the DuckDB file of a laptop's marts, None on Athena."""

    lake: Lake
    warehouse: str | None = None
    page: str = ""

    def table(self, database: str, table: str) -> tuple[str, str]:
        """Namespace and name of a Glue table as Athena reads it."""
        return f"awsathena://athena.{self.lake.region}.amazonaws.com", f"AwsDataCatalog.{database}.{table}"

    def bucket(self) -> str:
        """The namespace of the bucket's objects."""
        return f"s3://{self.lake.bucket}"


def jobs_of(graph: Any, contracts: Contracts, manifest: Manifest, places: Places, namespace: str) -> Jobs:
    """The assets of a graph as jobs. Of dbt's models, the manifest says exactly which tables they read; of all others,
    the graph says which assets."""
    datasets: dict[dg.AssetKey, tuple[Dataset, ...]] = {}
    for contract in contracts.values():
        datasets |= _of_entity(contract, places)
    datasets |= {keys.catalog(log.name): (_log(log, places),) for log in LOGS}
    datasets[PAGE] = (Dataset("file", places.page, f"file://{places.page}"),)
    models, sources = model_keys(manifest), manifest["sources"]
    relations = {i: _of_model(node, places) for i, node in manifest["nodes"].items() if i in models}
    relations |= {i: _of_source(source, datasets) for i, source in sources.items()}
    datasets |= {key: (relations[i],) for i, key in models.items()}
    reads = {key: tuple(relations[r] for r in reads_of(manifest, i) if r in relations) for i, key in models.items()}
    found = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        own = datasets.setdefault(key, (Dataset(namespace, _dotted(key)),))
        parents = [d for parent in sorted(node.parent_keys) for d in datasets.get(parent, ())]
        found[key] = Job(
            _dotted(key),
            reads[key] if key in reads else tuple(parents),
            own,
            ", ".join(node.owners),
            node.description or "",
            frozenset(node.kinds),
        )
    return Jobs(namespace, found, datasets)


def _of_entity(contract: Contract, places: Places) -> dict[dg.AssetKey, tuple[Dataset, ...]]:
    lake = places.lake
    prefix = lake.landing_prefix(contract)
    landed = (*(Column(f.name, "string", f.description) for f in contract.fields),)
    landed += tuple(Column(name, "string") for name in CHANGE_COLUMNS if contract.origin == "stream")
    tables = {contract.name: _columns((*contract.fields, *COMPACTED))}
    tables |= {changes_name(contract): _columns((*contract.fields, *HISTORY))}

    def both(database: str, what: str) -> tuple[Dataset, ...]:
        return tuple(
            Dataset(
                *places.table(database, name),
                f"{places.bucket()}/warehouse/{name}",
                columns,
                contract.owner,
                f"{what} {contract.description}",
            )
            for name, columns in tables.items()
        )

    arrived = Dataset(
        places.bucket(), prefix.rstrip("/"), f"{places.bucket()}/{prefix}", landed, contract.owner, contract.description
    )
    published = both(lake.published_database, "Published.")
    return {
        keys.landing(contract.name): (arrived,),
        keys.compacted(contract.name): both(lake.work_database, "Audited, not yet published."),
        keys.catalog(contract.name): published,
        keys.maintenance(contract.name): published,
    }


def _columns(fields: Iterable[Field]) -> tuple[Column, ...]:
    return tuple(Column(f.name, type_name(f.type), f.description) for f in fields)


def _log(log: Log, places: Places) -> Dataset:
    name = places.table(places.lake.published_database, log.name)
    return Dataset(*name, f"{places.bucket()}/{log.name}/", _columns(log.columns), log.owner, log.description)


def _of_model(node: Mapping[str, Any], places: Places) -> Dataset:
    """A model's relation: of the DuckDB file, or of Athena's catalog."""
    schema, table = node.get("schema") or node["config"].get("schema", ""), node.get("alias") or node["name"]
    if places.warehouse is not None:
        place = (f"duckdb://{places.warehouse}", f"{schema}.{table}")
    else:
        place = places.table(schema.replace(WORK, PUBLISHED, 1), table)  # the one that readers have
    meta = node.get("config", {}).get("meta") or {}
    columns = tuple(_model_column(column) for column in node.get("columns", {}).values())
    return Dataset(*place, "", columns, str(meta.get("owner") or "analytics"), node.get("description") or "")


def _model_column(column: Mapping[str, Any]) -> Column:
    meta = column.get("config", {}).get("meta") or {}
    return Column(
        column["name"], column.get("data_type") or meta.get("type") or "string", column.get("description") or ""
    )


def _of_source(source: Mapping[str, Any], datasets: Mapping[dg.AssetKey, tuple[Dataset, ...]]) -> Dataset:
    """The published table that a source is."""
    name = source["name"]
    for known in datasets.values():
        for dataset in known:
            if dataset.name.rpartition(".")[2] == name and ".gavel_work_" not in dataset.name:
                return dataset
    return Dataset("unknown", name)


def column_lineage(jobs: Jobs, job: Job, place: int, metadata: Mapping[str, Any]) -> Document | None:
    """The facet that says which columns each column of the dataset number `place` is made of, from what the
    materialization recorded; None without.

    An origin is an asset. Where that is a table and its history, those of them that the job reads and that have the
    column are meant; a table comes from the table then, and a history from the history.
    """
    recorded = metadata.get(LINEAGE)
    if not isinstance(recorded, dg.TableColumnLineageMetadataValue):
        return None
    output = job.writes[place]
    own = {column.name for column in output.columns}
    said = recorded.column_lineage.deps_by_column
    fields: Document = {}
    for name, origins in said.items():
        if not own or name in own:
            found = [
                _origin(dataset, origin.column_name)
                for origin in origins
                for dataset in _like(jobs.datasets.get(origin.asset_key, ()), job, place)
                if _has(dataset, origin.column_name) and dataset in (job.reads or (dataset,))
            ]
            fields[name] = {"inputFields": found}
    if place:  # what was recorded is about the table; its history keeps a few columns more, as they came
        for name in sorted(own - said.keys()):
            same = [dataset for dataset in _like(job.reads, job, place) if _has(dataset, name)]
            fields[name] = {"inputFields": [_origin(dataset, name) for dataset in same]}
    return facet("columnLineage", fields=fields)


def _like(datasets: Sequence[Dataset], job: Job, place: int) -> Sequence[Dataset]:
    return datasets[place : place + 1] if len(datasets) == len(job.writes) else datasets


def _has(dataset: Dataset, column: str) -> bool:
    return not dataset.columns or column in {c.name for c in dataset.columns}


def _origin(dataset: Dataset, column: str) -> Document:
    return {**dataset.id, "field": column}


_TABLE = {"rowCount": "dagster/row_count", "size": "bytes", "fileCount": "data files"}
_OBJECTS = {"rowCount": "read", "size": "bytes read", "fileCount": "objects"}
_WINNERS = {"rowCount": "applied"}
_ACCEPTED = {"rowCount": ("applied", "superseded")}
_CHANGES = {"rowCount": "changes"}


def output_statistics(key: dg.AssetKey, place: int, metadata: Mapping[str, Any]) -> Document | None:
    """What a materialization wrote of its dataset number `place`: rows, bytes and files as far as they are known. Of a
    batch these are the winners and the accepted changes; of anything else, what readers see."""
    named: Mapping[str, Any] = _TABLE
    if key.path[0] == keys.COMPACTED:
        named = _ACCEPTED if place else _WINNERS
    elif place:
        named = _CHANGES
    numbers = _numbers(metadata, named)
    return facet("outputStatistics", **numbers) if numbers else None


def input_statistics(key: dg.AssetKey, metadata: Mapping[str, Any]) -> Document | None:
    """What a batch read of what landed; None for all others, who do not say."""
    numbers = _numbers(metadata, _OBJECTS) if key.path[0] == keys.COMPACTED else {}
    return facet("inputStatistics", **numbers) if numbers else None


def _numbers(metadata: Mapping[str, Any], named: Mapping[str, str | Sequence[str]]) -> dict[str, int]:
    found = {}
    for name, parts in named.items():
        values = [metadata.get(part) for part in ([parts] if isinstance(parts, str) else parts)]
        numbers = [value.value for value in values if isinstance(value, dg.IntMetadataValue)]
        if len(numbers) == len(values) and all(number is not None for number in numbers):
            found[name] = sum(number for number in numbers if number is not None)
    return found


def engine(job: Job) -> Document:
    """The facet of what computes an asset."""
    if "duckdb" in job.kinds:
        return facet("processing_engine", name="DuckDB", version=version("duckdb"), openlineageAdapterVersion=_OWN)
    return scheduler()


def scheduler() -> Document:
    """The facet of what runs everything."""
    return facet("processing_engine", name="Dagster", version=version("dagster"), openlineageAdapterVersion=_OWN)


_OWN = version("gavel")
