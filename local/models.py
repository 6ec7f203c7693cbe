"""The dbt models built on a slice: dbt in a process of its own, as a person who develops them runs it.

How the pipeline builds them belongs to `assets.dbt`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from contracts.dbt import PROJECT

DBT = Path(sys.executable).with_name("dbt")  # the one that belongs to the running Python


def run_models(
    folder: Path, warehouse: Path, artifacts: Path, variables: Mapping[str, str], project: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """Build all models, without tests, from the slice in `folder`; what dbt leaves beside the warehouse goes to
    `artifacts`. `variables` are what else dbt finds in its environment. Its exit code says whether it succeeded.
    """
    settings = {
        "GAVEL_DBT_TARGET": "local",
        "GAVEL_SLICE": str(folder),
        "GAVEL_LAKE_ROOT": "",
        "GAVEL_WAREHOUSE": str(warehouse),
        "GAVEL_KEEP_OPEN": "True",
    }
    folders = ("--project-dir", project, "--profiles-dir", project, "--target-path", artifacts, "--log-path", artifacts)
    return subprocess.run(
        [DBT, "--quiet", "run", *folders],
        env={**variables, **settings},
        cwd=project.parent,
        capture_output=True,
        text=True,
        check=False,
    )
