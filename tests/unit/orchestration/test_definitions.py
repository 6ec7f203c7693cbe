"""The code location: what is in it follows from the contracts, and loading it is cheap and touches nothing."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import keys
from assets.parity import COMPARE, COMPARE_SAMPLES, PARITY, SAMPLE
from contracts import load_contracts
from contracts.loader import ENTITIES
from orchestration.definitions import build
from orchestration.settings import REPOSITORY, Settings
from warehouse.project import NotPrepared

HEAVY = (
    *("boto3", "botocore", "duckdb", "pyiceberg", "pyarrow", "pandas", "plotly", "numpy"),
    *("dbt", "agate", "networkx", "jinja2", "jsonschema", "sqlalchemy", "alembic", "structlog", "rich"),
    *("sqlglot", "cryptography"),
)
"""What loading does not need. dbt-core alone takes a second, and sqlglot 30 MB (`warehouse.library`)."""


def graph(settings: Settings) -> Any:
    return build(settings).get_repository_def().asset_graph


def names(asset_graph: Any) -> set[str]:
    return {key.to_user_string() for key in asset_graph.get_all_asset_keys()}


def test_every_entity_has_its_assets_and_no_list_names_them_twice(settings: Settings) -> None:
    layers = ("landing", "compacted", "catalog", "maintenance")
    assert {f"{layer}/{entity}" for layer in layers for entity in load_contracts()} <= names(graph(settings))


def test_an_entity_that_is_one_new_contract_appears_in_graph_jobs_and_schedules(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "entities"
    folder.mkdir()
    for contract in ENTITIES.glob("*.yaml"):
        (folder / contract.name).write_text(contract.read_text())
    text = (ENTITIES / "countries.yaml").read_text().replace("countries", "carriers").replace("country}", "carrier}")
    (folder / "carriers.yaml").write_text(
        text.replace("countries", "carriers").replace("value: country}", "value: carrier}")
    )
    definitions = build(replace(settings, contracts_folder=folder))
    assert {"landing/carriers", "compacted/carriers", "catalog/carriers", "maintenance/carriers"} <= names(
        definitions.get_repository_def().asset_graph
    )
    nightly = definitions.get_repository_def().get_schedule_def("nightly_maintenance")
    with dg.build_schedule_context() as context:
        tick = nightly.evaluate_tick(context)
    assert tick.run_requests
    assert "compacted__carriers" in tick.run_requests[0].run_config["ops"]


def test_data_flows_from_landing_to_the_page(settings: Settings) -> None:
    asset_graph = graph(settings)
    downstream = dg.AssetSelection.assets(keys.landing("orders")).downstream().resolve(asset_graph)
    assert {k.to_user_string() for k in downstream} >= {
        "compacted/orders",
        "catalog/orders",
        "staging/stg_orders",
        "marts/fct_orders",
        "reports/top",
        "reports/page",
    }


def test_tables_on_athena_are_maintained_each_night_and_never_beside_a_build(
    settings: Settings, document: dict[str, Any]
) -> None:
    """After the full check, in the same pool as builds. A laptop has nothing to maintain."""
    assert "maintenance/marts" not in names(graph(settings))
    for node in document["nodes"].values():
        if node["name"] == "fct_orders":
            node["config"]["materialized"] = "incremental"
    manifest = settings.home / "dbt" / "prod" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps(document))
    definitions = build(replace(settings, environment="prod", endpoint_url=None, bucket="b"))
    asset_graph = definitions.get_repository_def().asset_graph
    care = asset_graph.get(dg.AssetKey(["maintenance", "marts"]))
    assert {k.to_user_string() for k in care.parent_keys} == {"marts/fct_orders"}
    assert care.pools == {keys.WAREHOUSE_POOL}
    assert care.key in definitions.resolve_job_def("full_check").asset_layer.selected_asset_keys
    figures = dg.AssetKey(["reports", "page"])
    assert figures in definitions.resolve_job_def("reports").asset_layer.selected_asset_keys, "figures are everywhere"


def test_everything_says_what_it_is_and_whose(settings: Settings) -> None:
    asset_graph = graph(settings)
    for key in asset_graph.get_all_asset_keys():
        node = asset_graph.get(key)
        assert node.group_name not in (None, "default"), key
        assert node.owners, key
        assert node.kinds, key
    for entity in load_contracts():
        for key in (keys.landing(entity), keys.compacted(entity), keys.catalog(entity)):
            assert asset_graph.get(key).description
            schema = asset_graph.get(key).metadata["dagster/column_schema"]
            assert [c.name for c in schema.columns] == list(load_contracts()[entity].field_names)
            assert all(c.description for c in schema.columns)


def test_whatever_writes_an_entity_holds_its_pool(settings: Settings) -> None:
    definitions = build(settings)
    asset_graph = definitions.get_repository_def().asset_graph
    for key in (keys.compacted("orders"), keys.catalog("orders"), keys.maintenance("orders")):
        assert asset_graph.get(key).pools == {"entity_orders"}


def test_what_is_published_is_compared_by_jobs_of_its_own(settings: Settings) -> None:
    """Dagster puts all checks of an asset into the jobs that make it, and each sweep compared every table."""
    steps = {job.name: {node.name for node in job.nodes} for job in build(settings).get_repository_def().get_all_jobs()}
    for name, step in ((PARITY, COMPARE), (SAMPLE, COMPARE_SAMPLES)):
        assert [job for job, names in steps.items() if step in names and not job.startswith("__")] == [name]


def test_the_current_hour_is_a_landing_partition(settings: Settings) -> None:
    from datetime import UTC, datetime

    from assets.landing import ARRIVAL_HOURS, arrival_partition

    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    partition = arrival_partition(now)
    assert partition is not None
    assert ARRIVAL_HOURS.has_partition_key(partition)


def test_all_jobs_sensors_and_schedules_resolve_and_run_from_the_start(settings: Settings) -> None:
    repository = build(settings).get_repository_def()
    assert {s.name for s in repository.sensor_defs} == {
        "landed_objects",
        "dropped_files",
        "published_tables",
        "alerts",
        "pipeline_metrics",
        "erasures",
        "gaps",
        "questions",
        "repetitions",
    } | ({"lineage"} & {s.name for s in repository.sensor_defs})
    assert {s.name for s in repository.schedule_defs} == {
        "hourly_sweep",
        "hourly_parity_sample",
        "hourly_reports",
        "nightly_maintenance",
        "nightly_parity",
        "nightly_drift",
        "nightly_full_check",
        "monthly_retention",
    }
    assert all(s.default_status is dg.DefaultSensorStatus.RUNNING for s in repository.sensor_defs if s.name in RUNNING)
    assert all(s.default_status is dg.DefaultScheduleStatus.RUNNING for s in repository.schedule_defs)
    assert {"compaction", "marts", "reports", "nightly", "full_check", "refresh"} <= {
        j.name for j in repository.get_all_jobs()
    }


RUNNING = {
    "landed_objects",
    "dropped_files",
    "published_tables",
    "alerts",
    "pipeline_metrics",
    "erasures",
    "questions",
    "repetitions",
}


def test_a_missing_manifest_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(NotPrepared, match=r"python -m orchestration\.prepare"):
        build(Settings(home=tmp_path))


LOADING = """
import os, sys

repository, home = sys.argv[1:3]
packages = ("assets", "contracts", "lakehouse", "orchestration", "reporting")
ours = tuple(os.path.join(repository, package) for package in packages)
importing = True


class Watched(type(os.environ)):
    def __getitem__(self, name):
        if importing and sys._getframe(1).f_code.co_filename.startswith(ours):
            raise AssertionError(f"environment read at import: {name}")
        return super().__getitem__(name)


os.environ.__class__ = Watched


def watch(event, arguments):
    if event == "socket.connect":
        raise AssertionError(f"connected while loading: {arguments}")
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].endswith(".pyc"):
        mode, flags = arguments[1], arguments[2]
        if (mode and set(mode) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            if not arguments[0].startswith("/dev/") and ".pyc." not in arguments[0]:
                raise AssertionError(f"written while loading: {arguments[0]}")


sys.addaudithook(watch)
from orchestration.definitions import build
from orchestration.settings import Settings
from pathlib import Path
from typing import Any

importing = False
build(Settings(home=Path(home), endpoint_url="http://127.0.0.1:1")).get_repository_def()
print(",".join(sorted(m for m in sys.modules if m in sys.argv[3].split(","))))
"""


def test_loading_imports_nothing_heavy_and_touches_no_network_file_or_variable(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(REPOSITORY), str(settings.home), ",".join(HEAVY)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == ""
