"""`make models` and `make keep-models`: build what changed on a slice; write the manifest to compare with later."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from contracts import load_contracts
from contracts.dbt import PROJECT
from local.home import REPOSITORY
from tests.models.building import ModelsFail, Project, before, build, parsed, said
from tests.support.simulated import simulated

WORK = REPOSITORY / "build" / "models"


def main(arguments: list[str]) -> int:
    """Exit code 1 where a model or a test of it fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.models")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--state", type=Path, help="folder with the manifest to compare with")
    wanted.add_argument("--against", metavar="REVISION", help="compare with the project at this revision instead")
    wanted.add_argument("--write", action="store_true", help="only write build/models/now/target/manifest.json")
    read = parser.parse_args(arguments)
    try:
        now = Project(PROJECT, WORK / "now")
        if read.write:
            print(parsed(now))
            return 0
        state = read.state or parsed(Project(before(read.against, WORK / "before"), WORK / "then")).parent
        shutil.rmtree(now.work, ignore_errors=True)
        simulated(load_contracts()).write(now.work / "slice")
        why, built = build(now, state)
    except ModelsFail as failed:
        print(failed, file=sys.stderr)
        return 1
    print(f"{why}\n{said(built)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
