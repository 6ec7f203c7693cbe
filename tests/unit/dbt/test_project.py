"""The dbt project as text: generated files are current, every target parses offline."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from contracts import load_contracts
from contracts.dbt import PROJECT, generate, write
from contracts.loader import ENTITIES
from contracts.logs import LOGS, Log
from contracts.types import TimestampType
from lakehouse.table.schemas import changes, compacted


def test_generated_files_are_current() -> None:
    """Sources and staging models are what the contracts say; `python -m contracts.dbt` writes them."""
    expected = generate(load_contracts())
    found = {name: (PROJECT / name).read_text("utf-8") for name in expected if (PROJECT / name).exists()}
    assert found == expected
    staging = {p.relative_to(PROJECT).as_posix() for p in (PROJECT / "models/staging").rglob("*") if p.is_file()}
    assert staging <= set(expected), "nothing in models/staging is written by hand"


def test_sources_have_the_columns_of_the_published_tables() -> None:
    """What dbt believes to be in the lake is what the engine writes there."""
    contracts = load_contracts()
    document = yaml.safe_load(generate(contracts)["models/staging/_sources.yml"])
    described = {t["name"]: {c["name"] for c in t["columns"]} for t in document["sources"][0]["tables"]}
    shapes = [shape for contract in contracts.values() for shape in (compacted(contract), changes(contract))]
    assert described == {
        **{shape.name: set(shape.names) for shape in shapes},
        **{log.name: {*(column.name for column in log.columns), log.day} for log in LOGS},
    }


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_moments_of_a_log_have_the_precision_that_tables_take(log: Log) -> None:
    """Athena reads them to the millisecond, and refuses to make an Iceberg table of what it read."""
    text = generate(load_contracts())[f"models/staging/stg_{log.name}.sql"]
    moments = [column.name for column in log.columns if isinstance(column.type, TimestampType)]
    assert moments
    assert [name for name in moments if f"cast({name} as timestamp(6)) as {name}" not in text] == []


def test_a_new_entity_is_one_file(tmp_path: Path) -> None:
    """A fourteenth contract brings its sources and its staging model; one that is gone takes its model along."""
    folder, project = tmp_path / "entities", tmp_path / "project"
    shutil.copytree(ENTITIES, folder)
    text = (folder / "shipping_addresses.yaml").read_text("utf-8").replace("shipping_addresses", "warehouses")
    text = text.replace("value: address\n", "value: warehouse\n")
    (folder / "warehouses.yaml").write_text(text, "utf-8")
    changed = {path.name for path in write(load_contracts(folder), project)}
    views = ("stg_warehouses", "stg_warehouses__changes", "personal/personal_warehouses")
    beside = {Path(f"{view}.{ending}").name for view in views for ending in ("sql", "yml")}
    assert {"_sources.yml", "dim_warehouse.yml", *beside} <= changed
    assert "source('catalog', 'warehouses')" in (project / "models/staging/stg_warehouses.sql").read_text("utf-8")
    assert "dim_warehouse_attributes()" in (project / "macros/dimension_attributes.sql").read_text("utf-8")
    assert write(load_contracts(folder), project) == (), "written once, it is current"
    (folder / "warehouses.yaml").unlink()
    write(load_contracts(folder), project)
    assert [path for path in project.rglob("*") if "warehouse" in path.name] == []


def test_what_reads_a_source_is_staging_or_compares_with_it() -> None:
    """A text that only increments have is in no manifest, so the files themselves are read."""
    files = [path for folder in ("models", "macros") for path in (PROJECT / folder).rglob("*.sql")]
    reads = {path.relative_to(PROJECT).as_posix() for path in files if "source(" in path.read_text("utf-8")}
    assert {path for path in reads if not path.startswith("models/staging/")} == {"macros/reconciliation.sql"}


@pytest.mark.parametrize("target", ["local", "dev", "test", "prod"])
def test_every_target_parses_offline(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No target needs AWS, a network or a variable to be parsed."""
    from dbt.cli.main import dbtRunner

    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "GAVEL_BUCKET", "GAVEL_ENV", "GAVEL_SLICE", "GAVEL_WAREHOUSE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(PROJECT)
    folders = ("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT))
    artifacts = ("--target-path", str(tmp_path), "--log-path", str(tmp_path))
    outcome = dbtRunner().invoke(["--quiet", "--warn-error", "parse", "--target", target, *folders, *artifacts])
    assert outcome.success, outcome.exception
    beyond = [n for n in outcome.result.nodes.values() if n.resource_type == "model" and n.fqn[1] != "staging"]
    assert len(beyond) > 20
    assert [n.name for n in beyond if any(i.startswith("source.") for i in n.depends_on.nodes)] == []
    (source,) = {s.schema for s in outcome.result.sources.values()}
    assert source == ("catalog" if target == "local" else f"gavel_{target}")
