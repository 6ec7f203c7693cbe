"""One build as Dagster makes it, in a process of its own: `python -m benchmarks.marts.hour HOME [--everything]`.

`HOME` has the file of the warehouse; the tables come from the slice that the environment names. A Dagster there
remembers what was built, so that a second build finds no news.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path

import dagster as dg
import yaml

from assets.dbt import warehouse_assets
from assets.resources import LakeResource, WarehouseResource
from assets.unchanged import LEFT_AS_IT_WAS, ONLY_NEWS
from contracts import load_contracts
from orchestration.prepare import dbt_files
from orchestration.settings import Settings
from warehouse.project import is_prepared, prepare, prepared_manifest


def _remembering(folder: Path) -> dg.DagsterInstance:
    """A Dagster that keeps its history below a folder, in the way of a laptop."""
    folder.mkdir(parents=True, exist_ok=True)
    history = {
        storage: {"module": "local.dagster.event_log", "class": name, "config": {"base_dir": str(folder / storage)}}
        for storage, name in (("event_log_storage", "LaptopEventLog"), ("run_storage", "LaptopRuns"))
    }
    (folder / "dagster.yaml").write_text(yaml.safe_dump({**history, "telemetry": {"enabled": False}}), "utf-8")
    return dg.DagsterInstance.from_config(str(folder))


def main(arguments: list[str]) -> None:
    """Build staging and marts with their tests; the last line says in JSON how long the step took, and what it left."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marts.hour", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--everything", action="store_true", help="also what has no news, as every night")
    given = parser.parse_args(arguments)
    logging.getLogger("dagster").setLevel(logging.ERROR)
    files = dbt_files(Settings(home=given.home))
    if not is_prepared(files):
        prepare(files)
    assets = warehouse_assets(files, prepared_manifest(files), load_contracts())
    began, used = time.perf_counter(), time.process_time()
    with _remembering(given.home / "dagster") as instance:
        result = dg.materialize(
            [assets],
            instance=instance,
            selection=dg.AssetSelection.groups("staging", "marts"),
            tags={} if given.everything else {ONLY_NEWS: "true"},
            resources={
                "lake": LakeResource(environment="local", bucket="b", local_root=str(given.home / "lake")),
                "warehouse": WarehouseResource(target="local", home=str(given.home)),
            },
        )
    took = {"run seconds": time.perf_counter() - began, "its own processor seconds": time.process_time() - used}
    made = [e.step_materialization_data.materialization for e in result.get_asset_materialization_events()]
    left = [m for m in made if LEFT_AS_IT_WAS in m.metadata]
    ran = [c for c in result.get_asset_check_evaluations() if LEFT_AS_IT_WAS not in c.metadata]
    said = {"models built": len(made) - len(left), "models left": len(left), "tests run": len(ran)}
    sys.stdout.write("\n" + json.dumps({name: round(seconds, 1) for name, seconds in took.items()} | said) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
