"""The dbt models as assets: staging, marts and reports, built by one dbt run.

`dagster-dbt` runs dbt in a process of its own (`warehouse.project`). On a laptop it works on a build copy of the DuckDB
file, which replaces the file that readers open by an atomic rename: readers and builds never block each other. Of a
build in which a model failed, readers get all but that model and what reads it (`warehouse.publication`); nothing is
said to be materialized that they do not get. Elsewhere Athena is the warehouse: dbt builds in databases of its own, and
readers get the whole build when all of it has passed its tests, or nothing of it (`warehouse.moving`).
"""

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import data_times, keys
from assets.catalog import published_states, unreadable_to
from assets.consumers import accepted_lags, consumers
from assets.lineage import LINEAGE, MADE_OF, made_of, model_columns
from assets.manifest import Translator, model_keys
from assets.presentation import PREVIEW_ROWS, about_persons, markdown_table
from assets.resources import LakeResource, WarehouseResource
from assets.unchanged import Work, begun, checks_as_before, model_as_before, wanted
from contracts import Contracts
from lakehouse import api
from lakehouse.results import Built
from lakehouse.storage.athena import AthenaSettings
from lakehouse.storage.lake import Lake
from warehouse.library import DAGSTER_DBT_UNIQUE_ID_METADATA_KEY as TEST_ID
from warehouse.library import DbtCliInvocation, dbt_assets
from warehouse.made import kept
from warehouse.manifest import NIGHTLY, Manifest, fqn_selector, is_model, is_personal, is_table, reads_of
from warehouse.marts import marts_of, models_of
from warehouse.news import after, in_order_of
from warehouse.passed import as_setting
from warehouse.project import DbtFiles
from warehouse.publication import failed_nodes, is_complete, put_back, withheld_models

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MESSAGE_LIMIT = 400  # characters of dbt's message that are shown


def streamed(run: DbtCliInvocation, built: Callable[[str], None]) -> list[Any]:
    """All events of a run; `built` is called with the id of each model as it is built."""
    events: list[Any] = []
    for event in run.stream():
        events.append(event)
        if isinstance(event, dg.Output):
            built(str(event.metadata["unique_id"].value))
    return events


def read_ahead(files: DbtFiles, manifest: Manifest, model: str) -> None:
    """Read the lineage of a model's columns while dbt builds others; what fails is reported when all are read."""
    compiled = files.artifacts / "compiled" / model.split(".")[1] / manifest["nodes"][model]["original_file_path"]
    if compiled.exists():
        model_columns(manifest, {model: compiled.read_text("utf-8")}, files.lineage, lambda problem: None)


InPart = Callable[
    [dg.AssetExecutionContext, LakeResource, WarehouseResource, Collection[str]], dg.AssetMaterialization | None
]


@dataclass(frozen=True)
class _Here:
    """Where a build runs, and the checks by the ids of their tests."""

    files: DbtFiles
    manifest: Manifest
    context: dg.AssetExecutionContext
    lake: Lake
    warehouse: WarehouseResource
    checks: Mapping[str, dg.AssetCheckKey]

    @property
    def local(self) -> bool:
        return self.files.target == "local"


@dataclass(frozen=True)
class _Built:
    """What a run of dbt made, by node id: the assets that were selected, the models that readers get, what is shown of
    a node, which columns it is made of, and which tables of the lake it read. `failed` says why, by name; `withheld`
    are the models that stay as they were."""

    models: Mapping[str, dg.AssetKey]
    given: Collection[str] = ()
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lineage: Mapping[str, dg.TableColumnLineage] = field(default_factory=dict)
    reads: Mapping[str, data_times.Reads | None] = field(default_factory=dict)
    events: Sequence[Any] = ()
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    withheld: Collection[str] = ()
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))


def warehouse_assets(
    files: DbtFiles, manifest: Manifest, contracts: Contracts, in_part: InPart | None = None
) -> dg.AssetsDefinition:
    """All models as assets of one op. A run with the tag `ONLY_NEWS` leaves out what has no news, and says so of each.

    Of a build that fails in part, what reads the models is skipped by Dagster; `in_part` is called with the names of
    those that stay as they were, once all else is published."""
    files = files.loaded(manifest)

    @dbt_assets(
        name="warehouse",
        manifest=manifest,
        project=files.dagster_project,
        dagster_dbt_translator=Translator(),
        pool=keys.WAREHOUSE_POOL,
    )
    def warehouse(context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource) -> Iterator[Any]:
        here = _Here(files, manifest, context, lake.lake, warehouse, checks)
        models = {i: key for i, key in model_keys(manifest).items() if key in context.selected_asset_keys}
        unreadable: set[str] = set()
        states = published_states(here.lake, contracts, _noting(unreadable, unreadable_to(context.log.warning)))
        now = data_times.present(contracts, states)
        record = kept(files, warehouse.database, here.lake, manifest)
        present = begun(files, manifest, record, states, {*contracts} - {s.entity for s in states} - unreadable)
        work = Work(models) if _is_first(here, models) else wanted(manifest, checks, models, context, present)
        built = _Built(work.models)
        if not work.is_nothing:
            personal = {name for contract in contracts.values() for name in about_persons(contract)}
            built = _run(here, work, now, personal)
            record.write(after(manifest, present, built.given, built.results, context.run.run_id, record.places()))
        given = {i: built.results.get(i, {}) for i in built.given}
        recorded = build_rows(context.instance, manifest, given, built.reads, now)
        api.record_build(here.lake, recorded, built.begun, context.run.run_id)
        yield from _models(manifest, models, work, built, now)
        yield from checks_as_before(work.unchanged)
        for event in built.events:
            yield from _check(event, built)
        if built.failed:
            names = sorted(manifest["nodes"][i]["name"] for i in built.withheld) if here.local else None
            yield from _failed_in_part(
                built.failed, names, lambda: in_part and in_part(context, lake, warehouse, names or [])
            )

    checks = {str((spec.metadata or {})[TEST_ID]): spec.key for spec in warehouse.check_specs}
    return warehouse


def _noting(noted: set[str], tell: Callable[[str, Exception], None]) -> Callable[[str, Exception], None]:
    def unreadable(entity: str, error: Exception) -> None:
        noted.add(entity)
        tell(entity, error)

    return unreadable


def _run(here: _Here, work: Work, now: data_times.Reads, personal: Collection[str]) -> _Built:
    """Let dbt do the work apart, and publish what passed."""
    files, manifest, database, run_id = here.files, here.manifest, here.warehouse.database, here.context.run.run_id
    with build_apart(files, here.lake, database, manifest, run_id) as publish:
        files.results.unlink(missing_ok=True)
        run = _started(here, work)
        events = streamed(run, lambda model: read_ahead(files, manifest, model))
        results = read_results(files.results)
        failed = failures(results)
        if not run.is_successful() and not failed:
            raise run.get_error() or RuntimeError("dbt ended without success and without a reason")
        withheld = withheld_models(manifest, results) if here.local or not failed else {*work.models}
        given = [i for i in work.models if i not in withheld]
        reads = data_times.tables_read(manifest, given, now, _earlier(here.context, manifest, given))
        details: dict[str, dict[str, Any]] = {i: scanned(result) for i, result in results.items()}
        tests = [manifest["nodes"][i] for i, result in results.items() if i.startswith("test.") and result["failures"]]
        rows = wrong_rows(files.build if here.local else None, tests, personal)
        if here.local:
            put_back(files.build, database, manifest, withheld)
            details = inspect(files.build, [manifest["nodes"][i] for i in given], personal)
        begun_at = datetime.now(UTC) - timedelta(seconds=sum(map(_seconds, results.values())))
        publish(given)
    compiled = {i: str(results[i]["compiled_code"]) for i in work.models if results.get(i, {}).get("compiled_code")}
    lineage = model_columns(manifest, compiled, files.lineage, here.context.log.warning)
    return _Built(work.models, given, details | rows, lineage, reads, events, results, failed, withheld, begun_at)


def _started(here: _Here, work: Work) -> DbtCliInvocation:
    """dbt at work on what Dagster selected, or on the part of it that has news."""
    if work.tests is None:
        names = [here.manifest["nodes"][i]["name"] for i in {*work.models, *_tested(here, work.models)}]
        return here.files.cli(build_arguments(names, first=_is_first(here, work.models)), here.context)
    nodes = fqn_selector(here.manifest, [*work.models, *work.tests])
    chosen = ["--select", nodes, "--indirect-selection", "empty"]
    arguments = [*build_arguments([], first=False), *chosen]
    run = here.files.cli(arguments, raise_on_error=False, settings=as_setting(work.passed))
    # Its events are those of this step, its selection is not.
    run.context, run.manifest, run.dagster_dbt_translator = here.context, here.manifest, Translator()
    return run


def _tested(here: _Here, models: Mapping[str, dg.AssetKey]) -> set[str]:
    return models_tested(here.manifest, here.checks, models.values(), here.context.selected_asset_check_keys)


def _is_first(here: _Here, models: Mapping[str, dg.AssetKey]) -> bool:
    """Whether the warehouse lacks something that these models or their tests read: then that is built with them."""
    return here.local and not is_complete(here.warehouse.database, here.manifest, models, _tested(here, models))


def _models(
    manifest: Manifest, models: Mapping[str, dg.AssetKey], work: Work, built: _Built, now: data_times.Reads
) -> Iterator[dg.MaterializeResult[Any]]:
    """What Dagster gets of the selected models that readers have, each after those that it reads, as Dagster demands:
    one that is left may read one that is built, if it was built itself since that had its news. Of one that reads what
    readers do not have from this build, nothing is said."""
    outputs = {str(e.metadata["unique_id"].value): e.metadata for e in built.events if isinstance(e, dg.Output)}
    left = {i: work.unchanged.models[key] for i, key in models.items() if key in work.unchanged.models}
    for i in in_order_of(manifest, models, left.keys() | (outputs.keys() & built.given)):
        yield model_as_before(models[i], left[i], now) if i in left else _model(i, outputs[i], built, now)


def _model(model_id: str, said: Mapping[str, Any], built: _Built, now: data_times.Reads) -> dg.MaterializeResult[Any]:
    """A model that was built as Dagster gets it, given what dbt said of it."""
    metadata = {**said, **built.details.get(model_id, {})}
    if columns := built.lineage.get(model_id):
        metadata |= {LINEAGE: columns, MADE_OF: made_of(columns)}
    if read := built.reads[model_id]:
        metadata[data_times.TABLES_READ] = data_times.as_metadata(read)
    if moment := data_times.data_time(built.reads[model_id], now):
        metadata[data_times.DATA_TIME] = dg.MetadataValue.timestamp(moment)
    return dg.MaterializeResult(asset_key=built.models[model_id], metadata=metadata)


def _check(event: Any, built: _Built) -> Iterator[dg.AssetCheckResult]:
    """The outcome of a test as Dagster gets it; none of another event of dbt."""
    if isinstance(event, dg.AssetCheckResult):
        found = built.details.get(str(event.metadata["unique_id"].value), {})
        yield event._replace(metadata={**event.metadata, **found})


def _failed_in_part(
    failed: Mapping[str, str], kept: Collection[str] | None, follow: Callable[[], dg.AssetMaterialization | None]
) -> Iterator[dg.AssetMaterialization]:
    """What `follow` makes of what was published all the same (nothing, if `kept` is None); then raises
    `dagster.Failure` with what failed."""
    problems = "; ".join(f"{name}: {message}" for name, message in failed.items())
    published = f"As they were stay: {', '.join(kept or ()) or 'no model'}. All else is published."
    message = f"{problems}. {published if kept is not None else 'Nothing is published: all marts stay as they were.'}"
    try:
        # Yielded: what a step only logs is lost when it fails.
        if made := follow():
            yield made
    except Exception as error:  # noqa: BLE001 - the build has failed anyway, and says this, too
        message += f" What reads it could not follow: {type(error).__name__}: {error}"
    raise dg.Failure(message, metadata=dict(failed))


def _earlier(
    context: dg.AssetExecutionContext, manifest: Manifest, built: Collection[str]
) -> dict[str, data_times.Reads]:
    """What earlier builds read for the tables that are not built now, by model id."""
    tables = {i: key for i, key in model_keys(manifest).items() if i not in built and is_table(manifest["nodes"][i])}
    recorded = data_times.recorded_reads(context.instance, tables.values())
    return {i: recorded[key] for i, key in tables.items() if key in recorded}


def models_tested(
    manifest: Manifest,
    checks: Mapping[str, dg.AssetCheckKey],
    assets: Collection[dg.AssetKey],
    requested: Collection[dg.AssetCheckKey],
) -> set[str]:
    """The ids of the models that tests read which run because their check is `requested`, and not because their models
    are built: the checks of other assets, and all of them where a check of one of the `assets` is left out."""
    some_left_out = any(key.asset_key in assets and key not in requested for key in checks.values())
    named = [i for i, key in checks.items() if key in requested and (some_left_out or key.asset_key not in assets)]
    return {read for test in named for read in reads_of(manifest, test) if is_model(manifest, read)}


def build_arguments(models: Collection[str], *, first: bool) -> list[str]:
    """The arguments of a build; `dagster-dbt` adds the models and tests that were selected. In a warehouse that does
    not have it yet, what the `models` read is built, too, and they."""
    with_upstream = ["--select", " ".join(sorted(f"+{name}" for name in models))] if first else []
    return ["build", "--exclude-resource-type", "unit_test", "--exclude", f"tag:{NIGHTLY}", *with_upstream]


def read_results(path: Path) -> dict[str, Mapping[str, Any]]:
    """The outcome of every node by dbt's unique id; empty if dbt ended before it built anything."""
    document = json.loads(path.read_bytes()) if path.exists() else {"results": []}
    return {result["unique_id"]: result for result in document["results"]}


def failures(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The nodes that failed, by name, with dbt's message."""
    return {
        unique_id.split(".")[2]: str(result.get("message") or result["status"])[:MESSAGE_LIMIT]
        for unique_id in failed_nodes(results)
        for result in (results[unique_id],)
    }


def build_rows(
    instance: dg.DagsterInstance,
    manifest: Manifest,
    results: Mapping[str, Mapping[str, Any]],
    reads: Mapping[str, data_times.Reads | None],
    now: data_times.Reads,
) -> list[Built]:
    """What the publication log says of a build, given dbt's `results` of the models that readers have from it: those,
    and what else consumers read, each with its data time."""
    keys_of = model_keys(manifest)
    read = accepted_lags(consumers(manifest).values(), manifest)
    others = data_times.present_data_times(instance, read.keys() - {keys_of[i] for i in results}, now)
    rows = [_built_row(i, manifest, result, data_times.data_time(reads[i], now)) for i, result in results.items()]
    names = {key: manifest["nodes"][i]["name"] for i, key in keys_of.items()}
    return rows + [Built(names[key], False, moment) for key, moment in sorted(others.items())]


def _built_row(unique_id: str, manifest: Manifest, result: Mapping[str, Any], moment: datetime | None) -> Built:
    bytes_scanned = scanned(result).get("bytes scanned")
    usd = 0.0 if bytes_scanned is None else AthenaSettings().usd(bytes_scanned)
    name, queries = manifest["nodes"][unique_id]["name"], 0 if bytes_scanned is None else 1
    return Built(name, True, moment, _seconds(result), queries, bytes_scanned or 0, usd)


def _seconds(result: Mapping[str, Any]) -> float:
    return float(result.get("execution_time") or 0.0)


def scanned(result: Mapping[str, Any]) -> dict[str, int]:
    """What a query of Athena is billed for, as metadata."""
    count = (result.get("adapter_response") or {}).get("data_scanned_in_bytes")
    return {"bytes scanned": count} if isinstance(count, int) else {}


@contextmanager
def build_apart(
    files: DbtFiles, lake: Lake, database: Path, manifest: Manifest, run_id: str
) -> Iterator[Callable[[Collection[str]], None]]:
    """Work where readers do not look; the function that it gives publishes these models (ids).

    Locally that is a copy of the `database`, which is published whole. On Athena a build goes on from what is published
    (`warehouse.moving.reset`), and all the models are published at once.
    """
    if files.target == "local":
        with build_copy(database, files.build) as publish:
            yield lambda given: publish()
        return
    from warehouse import moving

    marts = marts_of(manifest, models_of(manifest))
    moving.reset(lake, marts)

    def publish_all(given: Collection[str]) -> None:
        if given:
            moving.publish(lake, marts, marts_of(manifest, given), run_id)

    yield publish_all


@contextmanager
def build_copy(database: Path | None, build: Path) -> Iterator[Callable[[], None]]:
    """Work on a copy of the published file; the function that it gives publishes the copy by rename.

    What is not published is thrown away by the next build. With None (no file is involved) nothing happens.
    """
    if database is None:
        yield lambda: None
        return
    log = build.with_name(f"{build.name}.wal")
    build.parent.mkdir(parents=True, exist_ok=True)
    for leftover in (build, log):
        leftover.unlink(missing_ok=True)
    if database.exists():
        shutil.copyfile(database, build)

    def publish() -> None:
        if log.exists():
            _checkpoint(build)  # what is only in the log would not be renamed with the file
        build.replace(database)

    yield publish


def _checkpoint(database: Path) -> None:
    import duckdb

    with duckdb.connect(str(database)) as connection:
        connection.execute("checkpoint")


def inspect(
    database: Path, models: Sequence[Mapping[str, Any]], personal: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Row counts and masked previews of the tables among the models of a manifest, by model id."""
    import duckdb

    details: dict[str, dict[str, Any]] = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for model in models:
            if not is_table(model):
                continue
            counted = connection.execute(f"select count(*) from {model['relation_name']}").fetchone()
            masked = {*personal, *(c["name"] for c in model["columns"].values() if is_personal(c))}
            details[model["unique_id"]] = {
                "dagster/row_count": counted[0] if counted else 0,
                "preview": _first_rows(connection, model["relation_name"], masked),
            }
    return details


def wrong_rows(
    database: Path | None, tests: Sequence[Mapping[str, Any]], personal: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Where the rows are that tests of a manifest found wrong, by test id, and with a `database` the first of them."""
    import duckdb

    stored = [test for test in tests if test.get("relation_name")]
    details: dict[str, dict[str, Any]] = {test["unique_id"]: {"rows in": test["relation_name"]} for test in stored}
    if database is None or not stored:
        return details
    with duckdb.connect(str(database), read_only=True) as connection:
        for test in stored:
            details[test["unique_id"]] |= {
                "rows in": f"{test['relation_name']} of {database}",
                "rows": _first_rows(connection, test["relation_name"], {*personal}),
            }
    return details


def _first_rows(connection: "DuckDBPyConnection", relation: str, masked: Collection[str]) -> dg.MarkdownMetadataValue:
    cursor = connection.execute(f"select * from {relation} limit {PREVIEW_ROWS}")
    columns = [c[0] for c in cursor.description or ()]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return dg.MetadataValue.md(markdown_table(columns, rows, masked))
