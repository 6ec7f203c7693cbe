"""Builds the marts by an increment, without news and by a full refresh, and the reports on them; dbt has a process of
its own each time. Then Dagster builds and tests them as every night, and as in an hour without news."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import duckdb
import yaml

from benchmarks.marts.data import build
from contracts.dbt import PROJECT
from lakehouse.storage.sql import literal

ROOT = Path(__file__).parents[2]
DATA = ROOT / "build" / "bench-marts"
RESULTS = ROOT / "benchmarks" / "results" / "marts.json"
MARTS = "+path:models/marts"
REPORTS = "+path:models/reports --exclude +path:models/marts"
AS_IN_A_BUILD = {"GAVEL_KEEP_OPEN": "True", "DBT_LOG_LEVEL_FILE": "info"}
"""What `DbtFiles` sets for every build, whatever it reads."""
GOAL = 0.15
"""An increment over 1% of the rows costs at most so much of a full refresh."""


@dataclass(frozen=True)
class Dbt:
    """dbt with a profile that is the project's own, but for a limit on DuckDB's memory."""

    folder: Path
    memory_limit: str

    def run(self, slice_: Path, warehouse: Path, *arguments: str, select: str = MARTS) -> dict[str, Any]:
        """Build models from a folder of tables; wall and processor seconds, peak memory, seconds of each table.

        Raises CalledProcessError when a model fails; what dbt said is then on standard output.
        """
        profile = yaml.safe_load((PROJECT / "profiles.yml").read_text("utf-8"))
        profile["gavel"]["outputs"]["local"]["settings"] = {"memory_limit": self.memory_limit}
        (self.folder / "profiles.yml").write_text(yaml.safe_dump(profile), "utf-8")
        settings = {**AS_IN_A_BUILD, "GAVEL_SLICE": str(slice_), "GAVEL_WAREHOUSE": str(warehouse)}
        # As `prepare` does before builds: dbt parses everything again when a setting of the profile is another.
        subprocess.run(self._command("parse"), cwd=PROJECT, env={**os.environ, **settings}, check=True)
        command = self._command("run", "--select", *select.split(), *arguments)
        return {
            **_measured(command, PROJECT, settings),
            "models": self._seconds_by_model(),
        }

    def _command(self, *arguments: str) -> list[str]:
        return [
            *(str(Path(sys.executable).with_name("dbt")), "--quiet", *arguments),
            *("--project-dir", str(PROJECT), "--profiles-dir", str(self.folder), "--target", "local"),
            *("--target-path", str(self.folder / "target"), "--log-path", str(self.folder / "logs")),
        ]

    def _seconds_by_model(self) -> dict[str, float]:
        results = json.loads((self.folder / "target" / "run_results.json").read_text("utf-8"))["results"]
        models = [r for r in results if r["unique_id"].startswith("model.")]
        seconds = {r["unique_id"].rpartition(".")[2]: round(r["execution_time"], 2) for r in models}
        return {name: took for name, took in seconds.items() if not name.startswith(("stg_", "personal_"))}


def compare(left: Path, right: Path) -> dict[str, dict[str, Any]]:
    """For each mart its number of rows and whether both files hold the same ones, in whatever order."""
    with duckdb.connect() as connection:
        for alias, path in (("one", left), ("other", right)):
            connection.execute(f"attach {literal(str(path))} as {alias} (read_only)")
        tables = connection.execute(
            "select table_name from duckdb_tables() where database_name = 'other' and schema_name = 'marts' order by 1"
        ).fetchall()
        return {name: _compared(connection, name) for (name,) in tables}


def _compared(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, Any]:
    sums = "count(*), sum(hash(t)), bit_xor(hash(t))"
    one, other = (
        connection.execute(f"select {sums} from {database}.marts.{table} as t").fetchone()
        for database in ("one", "other")
    )
    assert one is not None
    return {"rows": one[0], "same": one == other}


def measure(folder: Path, orders: int, memory_limit: str) -> dict[str, Any]:
    """Build before the changes, then measure: the increment, a build without news, and a full refresh beside it."""
    _say(f"the tables of {orders:,} orders, before and after changes of 1%")
    lake = build(folder, orders, memory_limit)
    dbt = Dbt(folder, memory_limit)
    increment, full = (_fresh(folder / name) / "warehouse.duckdb" for name in ("increment", "full"))
    _said("build before the changes", dbt.run(lake.before, increment))
    runs = {"increment": _said("increment", dbt.run(lake.after, increment))}
    runs["no news"] = _said("no news", dbt.run(lake.after, increment))
    runs |= hours(folder, lake.after, increment)
    runs["full refresh"] = _said("full refresh", dbt.run(lake.after, full, "--full-refresh"))
    runs["reports"] = _said("reports", dbt.run(lake.after, full, select=REPORTS))
    tables = compare(increment, full)
    shares = {
        f"share of {what}": round(runs["increment"][what] / runs["full refresh"][what], 3)
        for what in ("seconds", "processor seconds")
    }
    return {"orders": orders, "memory limit": memory_limit, "goal": GOAL, **shares, "runs": runs, "tables": tables}


def hours(folder: Path, slice_: Path, warehouse: Path) -> dict[str, dict[str, Any]]:
    """Builds by Dagster, with tests, of a warehouse that has all there is: of everything, then of what has news."""
    home = _fresh(folder / "hour")
    shutil.copyfile(warehouse, home / "warehouse.duckdb")
    _say("by Dagster, with tests")
    everything, quiet = "everything, tested", "no news, tested"
    return {name: _said(name, _hour(home, slice_, name == everything)) for name in (everything, quiet)}


def _hour(home: Path, slice_: Path, everything: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.marts.hour", str(home), *(["--everything"] if everything else [])]
    output = home / "output.txt"
    with output.open("w") as file:
        measured = _measured(command, ROOT, {"GAVEL_SLICE": str(slice_)}, file)
    return {**measured, **json.loads(output.read_text("utf-8").splitlines()[-1])}


def _measured(
    command: Sequence[str], folder: Path, settings: Mapping[str, str], output: TextIO | None = None
) -> dict[str, Any]:
    """What a process took: seconds of the clock and of the processor, and MB at its peak. Raises
    `CalledProcessError` if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **settings}, stdout=output)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "processor seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak MB": round(used.ru_maxrss / 1024),
    }


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _said(name: str, run: dict[str, Any]) -> dict[str, Any]:
    _say(f"  {name}: {run['seconds']} s ({run['processor seconds']} s of processor), peak {run['peak MB']:,} MB")
    return run


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Measure, write the results and say whether the goal is met and the rows are the same."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marts", description=__doc__)
    parser.add_argument("--orders", type=int, default=5_000_000)
    parser.add_argument("--data", type=Path, default=DATA, help="where data is kept (default: build/bench-marts)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--memory-limit", default="6GB", help="of DuckDB; what does not fit goes to disk")
    given = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    found: Mapping[str, Any] = measure(given.data, given.orders, given.memory_limit)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__}
    given.results.write_text(json.dumps({"machine": {**machine, "load": round(load, 1)}, **found}, indent=2) + "\n")
    different = [name for name, table in found["tables"].items() if not table["same"]]
    _say(f"  rows: {'not the same in ' + ', '.join(different) if different else 'the same in every mart'}")
    _say(f"  share of a full refresh: {found['share of seconds']}, at most {GOAL} is the goal")
    _say(f"written to {given.results}")


if __name__ == "__main__":
    main(sys.argv[1:])
