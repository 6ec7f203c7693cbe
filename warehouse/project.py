"""The dbt project of one target on disk: where dbt works, how it is started, and the manifest that is prepared.

The manifest is prepared by an explicit step (`prepare`), never while definitions are loaded.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import dagster as dg
from packaging.version import Version

from contracts.dbt import PROJECT
from contracts.loader import ENTITIES
from warehouse.library import DbtCliInvocation, DbtCliResource, DbtProject
from warehouse.manifest import Manifest
from warehouse.passed import as_setting
from warehouse.reproducible import copy_name, settle

DBT = Path(sys.executable).with_name("dbt")  # the one that belongs to the running Python
PREPARE = "run `python -m orchestration.prepare` and reload the code location"
COPIES = 3
"""Copies of the project that are kept: the newest, and those that runs which are under way may have loaded."""
_COPY = "GAVEL_COPY"
_CONTRACTS = "contracts"  # in a copy, beside the project's own folders


class NotPrepared(RuntimeError):
    """The dbt manifest that the assets are made of is missing; the message says how to make it."""


@dataclass(frozen=True)
class DbtFiles:
    """Where dbt works for one target, and what its profile reads from the environment.

    `prepare` parses a copy of the project and of the contracts, and what Dagster loads is made of that copy. So a build
    is of what was loaded, whatever becomes of the project meanwhile; `loaded` says where it is. Without a `copy`, dbt
    works on the project itself.
    """

    target: str
    home: Path
    variables: Mapping[str, str]
    copy: Path | None = None

    def loaded(self, manifest: Manifest) -> DbtFiles:
        """The same over the copy that a manifest was made of. Raises `NotPrepared` if it is not there any more."""
        copy = self._copy_of(manifest)
        if copy is not None and not copy.exists():
            raise NotPrepared(f"{copy}: expected the project that was parsed, found no such folder; {PREPARE}")
        return replace(self, copy=copy)

    def is_there(self, manifest: Manifest) -> bool:
        """Whether the copy that a manifest was made of is there."""
        copy = self._copy_of(manifest)
        return copy is None or copy.exists()

    def _copy_of(self, manifest: Manifest) -> Path | None:
        name = manifest["metadata"].get("env", {}).get(_COPY)
        return None if name is None else self.copies / str(name)

    @property
    def folder(self) -> Path:
        """What processes that start read at any time: nothing in it is ever half written."""
        return self.home / "dbt" / self.target

    @property
    def copies(self) -> Path:
        """The copies of the project, each with dbt's artifacts of it."""
        return self.folder / "copies"

    @property
    def project(self) -> Path:
        """The project that dbt works on."""
        return self.copy or PROJECT

    @property
    def artifacts(self) -> Path:
        """dbt's own folder: partial parse, run results, and a manifest that every build writes again, in place."""
        return (self.copy or self.folder) / "target"

    @property
    def manifest(self) -> Path:
        """What `prepare` leaves."""
        return self.folder / "manifest.json"

    @property
    def results(self) -> Path:
        """What a build leaves: the outcome of every node."""
        return self.artifacts / "run_results.json"

    @property
    def lineage(self) -> Path:
        """What was read from the models' SQL."""
        return self.folder / "lineage.json"

    @property
    def build(self) -> Path:
        """The DuckDB file that a build works on; builds hold the warehouse's pool, so there is one. It is named as the
        published file, because views in it carry that name."""
        return self.home / "build" / "warehouse.duckdb"

    @property
    def dagster_project(self) -> DbtProject:
        """The project for this target, as `dagster-dbt` knows it."""
        return DbtProject(self.project, target_path=self.artifacts, profiles_dir=self.project, target=self.target)

    @property
    def slice(self) -> Path | None:
        """The folder of a slice that dbt reads in place of the lake, if it inherits one."""
        folder = {**os.environ, **self.variables}.get("GAVEL_SLICE")
        return Path(folder) if folder else None

    @property
    def environment(self) -> dict[str, str]:
        """What dbt finds in its environment, beside credentials."""
        copied = {"GAVEL_CONTRACTS": str(self.copy / _CONTRACTS)} if self.copy else {}
        return {
            **self.variables,
            **copied,
            "GAVEL_DBT_TARGET": self.target,
            "GAVEL_WAREHOUSE": str(self.build),
            "GAVEL_KEEP_OPEN": "True",
            **as_setting({}),  # tests look at everything, unless a build says how far they have passed
            "DBT_LOG_LEVEL_FILE": "info",  # each statement with its events, as dbt's default, is megabytes a build
            # dbt writes such variables into the manifest.
            **({f"DBT_ENV_CUSTOM_ENV_{_COPY}": self.copy.name} if self.copy else {}),
        }

    def cli(
        self,
        arguments: Sequence[str],
        context: dg.AssetExecutionContext | None = None,
        *,
        raise_on_error: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> DbtCliInvocation:
        """Start dbt for this target, in the environment given here and with `settings` of this start. With a `context`
        or without `raise_on_error`, the invocation says what dbt did not achieve, and nothing is raised."""
        strict = raise_on_error and context is None
        dbt = InstalledDbt(
            project_dir=str(self.project), profiles_dir=str(self.project), target=self.target, dbt_executable=str(DBT)
        )
        with _environment({**self.environment, **(settings or {})}):  # dbt inherits it; `cli` takes no other
            return dbt.cli(arguments, context=context, target_path=self.artifacts, raise_on_error=strict)


class InstalledDbt(DbtCliResource):
    """dbt as it is installed beside Dagster, without what the library does before each start and nothing here uses.

    Both overridden members are private to `dagster-dbt`: should they be renamed, builds only become slower again.
    """

    @property
    def _cli_version(self) -> Version:
        """From the package; the library runs `dbt --version`, which takes 2 s and asks the package index for news."""
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:  # type: ignore[override]
        """None: an adapter in this process, 1.5 s to make, only serves `fetch_row_counts` and the like."""


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def prepare(files: DbtFiles, moment: int | None = None) -> Path:
    """Parse a copy of the project for its target and leave the manifest; returns its path. With a `moment`, in seconds
    since 1970, the same project leaves the same files.

    A build may run meanwhile, and runs that start read the manifest: it takes its place whole, and the copies that they
    may work on stay. Raises `DagsterDbtCliRuntimeError` with what dbt said.
    """
    copied = replace(files, copy=files.copies / (uuid.uuid4().hex[:12] if moment is None else copy_name(moment)))
    contracts = Path(files.variables.get("GAVEL_CONTRACTS") or ENTITIES)
    try:
        shutil.copytree(PROJECT, copied.project, ignore=shutil.ignore_patterns("target", "logs"))
        (shutil.copytree if contracts.is_dir() else shutil.copy)(contracts, copied.project / _CONTRACTS)
        copied.cli(["--quiet", "parse"]).wait()
    except BaseException:  # an interrupt, too: half a copy would take the place of one that is kept
        shutil.rmtree(copied.project, ignore_errors=True)
        raise
    parsed = files.folder / f"manifest.{copied.project.name}"
    shutil.copy(copied.artifacts / "manifest.json", parsed)  # builds write dbt's own again, in place
    if moment is not None:
        settle(parsed, copied.artifacts, moment)
    parsed.replace(files.manifest)
    for old in sorted(files.copies.iterdir(), key=lambda copy: copy.stat().st_mtime)[:-COPIES]:
        shutil.rmtree(old)
    return files.manifest


def is_prepared(files: DbtFiles) -> bool:
    """Whether the manifest is there and newer than everything it is made of."""
    if not files.manifest.exists() or not files.is_there(prepared_manifest(files)):
        return False
    made = files.manifest.stat().st_mtime
    folders = (PROJECT / name for name in ("models", "macros", "tests"))
    sources = [*PROJECT.glob("*.yml"), *(path for folder in folders for path in folder.rglob("*"))]
    return all(path.stat().st_mtime < made for path in sources)


def prepared_manifest(files: DbtFiles) -> Manifest:
    """The manifest that `prepare` left; raises `NotPrepared` if there is none."""
    if not files.manifest.exists():
        raise NotPrepared(f"{files.manifest}: expected the manifest of the dbt project, found no such file; {PREPARE}")
    manifest: Manifest = json.loads(files.manifest.read_bytes())
    return manifest
