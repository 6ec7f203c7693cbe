"""Import the bundle into a new Superset over a small warehouse, and compare what its charts give with the panels.

    python -m tests.superset build/superset-venv

Works below `build/superset`. It ends with 1 where a chart gives other numbers than its panel, or an import fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

from local.home import REPOSITORY
from reporting.bi.superset import Source, bundle
from reporting.bi.visuals import visuals
from reporting.definitions import load
from tests.support.bi import fill, said
from warehouse.readers import readers

FOLDER = REPOSITORY / "build" / "superset"
INSIDE = Path(__file__).with_name("inside.py")


def prepare() -> dict[str, object]:
    """Make a warehouse, the bundle and Superset's configuration; returns what each chart shall give, by its title."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    warehouse = FOLDER / "warehouse.duckdb"
    (reader,) = readers("quicksight")
    drawn, _ = visuals(load(), reader.data_sets)
    with duckdb.connect(str(warehouse)) as database:
        database.execute("create schema reports; set search_path = 'reports'")
        fill(database, "reports")
        expected = {v.title: [said(database, v), [m.title for m in v.measures], v.dimension_title] for v in drawn}
    (FOLDER / "bundle.zip").write_bytes(bundle(Source("local", f"duckdb:///{warehouse}", "duckdb")))
    (FOLDER / "superset_config.py").write_text(
        f"SECRET_KEY = 'only for this trial'\nSQLALCHEMY_DATABASE_URI = 'sqlite:///{FOLDER}/superset.db'\n"
        "PREVENT_UNSAFE_DB_CONNECTIONS = False\n"
    )
    (FOLDER / "expected.json").write_text(json.dumps(expected))
    return dict(expected)


def main(venv: Path) -> int:
    """The exit code."""
    expected = prepare()
    environment = {**os.environ, "SUPERSET_CONFIG_PATH": str(FOLDER / "superset_config.py")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(venv.absolute() / "bin" / "python"), str(INSIDE), str(FOLDER)], cwd=FOLDER, env=environment, check=False
    )
    if done.returncode == 0:
        print(f"{len(expected)} charts give in Superset what their panels say")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
