"""The dbt models as assets: staging, marts and reports, built by one dbt run.

dbt runs in a process of its own with the environment given here. On a laptop it works on a build copy of the DuckDB
file, which replaces the file that readers open by an atomic rename once the build is whole: readers and builds never
block each other, and a failed build leaves readers what they had. Elsewhere Athena is the warehouse, without a file.
The manifest is prepared by an explicit step (`prepare`), never while definitions are loaded.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets import keys
from assets.manifest import Manifest, Model, data_times, model_specs, read_manifest, test_specs
from assets.presentation import PREVIEW_ROWS, markdown_table
from assets.resources import LakeResource, WarehouseResource
from contracts import Contracts
from lakehouse.state import published

PROJECT = Path(__file__).resolve().parent.parent / "dbt_project"
DATA_TIME = "data time"
FAILED = ("error", "fail", "runtime error")
MESSAGE_LIMIT = 400  # characters of dbt's message that are shown
OUTPUT_TAIL = 20  # lines of dbt's output that an error quotes


class NotPrepared(RuntimeError):
    """The dbt manifest that the assets are made of is missing; the message says how to make it."""


@dataclass(frozen=True)
class DbtFiles:
    """Where dbt keeps its artifacts for one target (a folder of its own, or partial parsing is lost), and what its
    profile reads from the environment."""

    target: str
    home: Path
    variables: Mapping[str, str]

    @property
    def artifacts(self) -> Path:
        """The folder of manifest, partial parse and run results."""
        return self.home / "dbt" / self.target

    @property
    def manifest(self) -> Path:
        """What `prepare` leaves."""
        return self.artifacts / "manifest.json"

    @property
    def results(self) -> Path:
        """What a build leaves: the outcome of every node."""
        return self.artifacts / "run_results.json"

    @property
    def build(self) -> Path:
        """The DuckDB file that a build works on; builds hold the warehouse's pool, so there is one. It is named as the
        published file, because views in it carry that name."""
        return self.home / "build" / "warehouse.duckdb"

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment of the dbt process: credentials as inherited, and the settings given here."""
        return {
            **inherited,
            **self.variables,
            "GAVEL_DBT_TARGET": self.target,
            "GAVEL_WAREHOUSE": str(self.build),
            "GAVEL_KEEP_OPEN": "True",
            "PYTHONUNBUFFERED": "1",
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line of dbt for this target, with the dbt that belongs to the running Python."""
        return [
            str(Path(sys.executable).with_name("dbt")),
            *arguments,
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target", self.target),
            *("--target-path", str(self.artifacts), "--log-path", str(self.artifacts)),
        ]


class DbtError(RuntimeError):
    """dbt ended without the results it should have left; the message quotes the end of its output."""


def prepare(files: DbtFiles) -> Path:
    """Parse the project for its target and leave the manifest; returns its path. Raises `DbtError`."""
    files.artifacts.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        files.command("--quiet", "parse"),
        env=files.environment(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DbtError(f"dbt parse --target {files.target} failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return files.manifest


def is_prepared(files: DbtFiles) -> bool:
    """Whether the manifest is there and newer than everything it is made of."""
    if not files.manifest.exists():
        return False
    made = files.manifest.stat().st_mtime
    folders = (PROJECT / name for name in ("models", "macros", "tests"))
    sources = [*PROJECT.glob("*.yml"), *(path for folder in folders for path in folder.rglob("*"))]
    return all(path.stat().st_mtime < made for path in sources)


def prepared_manifest(files: DbtFiles) -> Manifest:
    """The manifest that `prepare` left; raises `NotPrepared` if there is none."""
    if not files.manifest.exists():
        raise NotPrepared(
            f"{files.manifest}: expected the manifest of the dbt project, found no such file; "
            "make it with `python -m orchestration.prepare`"
        )
    return read_manifest(files.manifest)


def warehouse_assets(files: DbtFiles, manifest: Manifest, contracts: Contracts) -> dg.AssetsDefinition:
    """All models as assets of one op."""
    local = files.target == "local"

    @dg.multi_asset(
        name="warehouse",
        specs=model_specs(manifest, "duckdb" if local else "athena"),
        check_specs=test_specs(manifest),
        can_subset=True,
        pool=keys.WAREHOUSE_POOL,
    )
    def warehouse(context: dg.AssetExecutionContext, lake: LakeResource, warehouse: WarehouseResource) -> Iterator[Any]:
        models = {m.unique_id: m for key, m in manifest.by_key().items() if key in context.selected_asset_keys}
        database = warehouse.database if local else None
        selection = selection_arguments(
            models.values(), whole=len(models) == len(manifest.models), first=local and not warehouse.database.exists()
        )
        watermarks = {
            name: state.watermark if (state := published(lake.lake, contract)) else None
            for name, contract in contracts.items()
        }
        personal = {field for contract in contracts.values() for field in contract.personal}
        with build_copy(database, files.build) as publish:
            outcome = build(files, selection, context.log.info)
            times = data_times(manifest, models, watermarks, _earlier(context, manifest))
            details = inspect(files.build, list(models.values()), personal) if local and outcome.passed else {}
            if outcome.passed:
                publish()
        for test_id, test in manifest.tests.items():
            if test_id in outcome.nodes and _check_key(manifest, test_id) in context.selected_asset_check_keys:
                yield outcome.check_result(test.name, manifest.models[test.model].key, test_id)
        if not outcome.passed:
            raise dg.Failure(f"The warehouse stays as it was: {outcome.problems}", metadata=outcome.metadata)
        for model_id, model in models.items():
            if model_id in outcome.nodes:
                metadata = {**outcome.nodes[model_id].metadata, **details.get(model_id, {})}
                if times[model_id]:
                    metadata[DATA_TIME] = dg.MetadataValue.timestamp(times[model_id])
                yield dg.MaterializeResult(asset_key=model.key, metadata=metadata)

    return warehouse


def _check_key(manifest: Manifest, test_id: str) -> dg.AssetCheckKey:
    test = manifest.tests[test_id]
    return dg.AssetCheckKey(manifest.models[test.model].key, test.name)


def _earlier(context: dg.AssetExecutionContext, manifest: Manifest) -> dict[str, datetime | None]:
    """The data times that earlier builds recorded, by model id."""
    if len(context.selected_asset_keys) == len(manifest.models):
        return {}
    return {i: recorded_data_time(context.instance, m.key) for i, m in manifest.models.items() if m.is_table}


def recorded_data_time(instance: dg.DagsterInstance, key: dg.AssetKey) -> datetime | None:
    """The data time that the asset's latest materialization recorded."""
    event = instance.get_latest_materialization_event(key)
    value = event.asset_materialization.metadata.get(DATA_TIME) if event and event.asset_materialization else None
    return datetime.fromtimestamp(value.value, UTC) if isinstance(value, dg.TimestampMetadataValue) else None


def selection_arguments(models: Collection[Model], *, whole: bool, first: bool) -> list[str]:
    """The options that make dbt build these models. In a warehouse that does not exist yet, what they read is built,
    too; tests that read models which may not be there are left out."""
    if whole:
        return []
    prefix = "+" if first else ""
    return ["--indirect-selection", "buildable", "--select", *sorted(f"{prefix}{m.name}" for m in models)]


@dataclass(frozen=True)
class Node:
    """The outcome of one dbt node."""

    unique_id: str
    status: str
    message: str
    seconds: float
    failures: int | None
    adapter: Mapping[str, Any]

    @property
    def failed(self) -> bool:
        return self.status in FAILED

    @property
    def metadata(self) -> dict[str, Any]:
        """The outcome as the UI shows it."""
        metadata: dict[str, Any] = {"seconds": dg.MetadataValue.float(round(self.seconds, 3))}
        scanned = self.adapter.get("data_scanned_in_bytes")
        if isinstance(scanned, int):
            metadata["bytes scanned"] = scanned
        return metadata


@dataclass(frozen=True)
class Outcome:
    """The outcome of a build, by dbt's unique ids."""

    nodes: Mapping[str, Node]

    @property
    def passed(self) -> bool:
        """Whether no node failed."""
        return not any(node.failed for node in self.nodes.values())

    @property
    def problems(self) -> str:
        """What failed, for a person."""
        return "; ".join(f"{n.unique_id.split('.')[2]}: {n.message}" for n in self.nodes.values() if n.failed)

    @property
    def metadata(self) -> dict[str, Any]:
        """The failed nodes as metadata."""
        return {n.unique_id.split(".")[2]: n.message for n in self.nodes.values() if n.failed}

    def check_result(self, name: str, key: dg.AssetKey, test_id: str) -> dg.AssetCheckResult:
        """A test's outcome as the asset check it stands for."""
        node = self.nodes[test_id]
        warned = node.status == "warn"
        return dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=node.status in ("pass", "success"),
            severity=dg.AssetCheckSeverity.WARN if warned else dg.AssetCheckSeverity.ERROR,
            description=node.message or f"{node.status}: no row breaks the rule.",
            metadata={"failing rows": node.failures or 0, "seconds": dg.MetadataValue.float(round(node.seconds, 3))},
        )


def parse_outcome(document: Mapping[str, Any]) -> Outcome:
    """The outcome in a `run_results.json` document."""
    return Outcome(
        {
            r["unique_id"]: Node(
                unique_id=r["unique_id"],
                status=str(r["status"]),
                message=str(r.get("message") or "")[:MESSAGE_LIMIT],
                seconds=float(r.get("execution_time") or 0),
                failures=r.get("failures"),
                adapter=r.get("adapter_response") or {},
            )
            for r in document["results"]
        }
    )


def build(files: DbtFiles, selection: Sequence[str], say: Callable[[str], None]) -> Outcome:
    """Run `dbt build` and return what became of every node; `say` gets dbt's lines as they come. Raises `DbtError`."""
    files.results.unlink(missing_ok=True)
    command = files.command("--log-format", "text", "build", "--exclude-resource-type", "unit_test", *selection)
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=files.environment(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None  # it was asked for above
        for line in process.stdout:
            if text := line.strip():
                lines.append(text)
                say(text)
    if not files.results.exists():
        tail = "\n".join(lines[-OUTPUT_TAIL:])
        raise DbtError(f"dbt build ended with exit code {process.returncode} before it built anything:\n{tail}")
    outcome = parse_outcome(json.loads(files.results.read_bytes()))
    if process.returncode != 0 and outcome.passed:
        tail = "\n".join(lines[-OUTPUT_TAIL:])
        raise DbtError(f"dbt build ended with exit code {process.returncode} although no node failed:\n{tail}")
    return outcome


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


def inspect(database: Path, models: Sequence[Model], personal: Collection[str]) -> dict[str, dict[str, Any]]:
    """Row counts and masked previews of the tables among the models, by model id."""
    import duckdb

    details: dict[str, dict[str, Any]] = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for model in models:
            if not model.is_table:
                continue
            counted = connection.execute(f"select count(*) from {model.relation}").fetchone()
            cursor = connection.execute(f"select * from {model.relation} limit {PREVIEW_ROWS}")
            columns = [c[0] for c in cursor.description or ()]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            masked = {*personal, *(c.name for c in model.columns if c.personal)}
            details[model.unique_id] = {
                "dagster/row_count": counted[0] if counted else 0,
                "preview": dg.MetadataValue.md(markdown_table(columns, rows, masked)),
            }
    return details
