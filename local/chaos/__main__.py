"""`make chaos`: python -m local.chaos --seed 7 --minutes 10

The stack runs from a copy of the project below `build/chaos/SEED/`, because a contract is changed on the way. The plan
is printed first and written there; a failing seed is played again by the same command. Exit code 1 if anything is lost,
doubled or wrong, if a planned fault did not happen, or if anything failed that no injected fault explains.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.chaos.plan import make_plan, write_plan
from local.chaos.run import Result, Run
from local.home import REPOSITORY, Home

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".gavel", "build", "target", "logs", ".*_cache", ".hypothesis", "*.pyc"
)
_INSIDE = "GAVEL_CHAOS_INSIDE"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="what the plan follows from; without it, a new one")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "chaos", help="for all that it writes")
    parser.add_argument("--plan", action="store_true", help="only print the plan")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    folder: Path = options.folder.absolute() / str(seed)
    plan = make_plan(seed, options.minutes)
    if _INSIDE in os.environ:
        return judged(Run(Home(folder / "home"), plan, seed, folder, _say), folder, table)
    print(f"chaos: seed {seed}, {options.minutes:g} minutes, {len(plan)} faults; the same seed plans the same")
    for fault in plan:
        print(fault)
    if options.plan:
        return 0
    shutil.rmtree(folder, ignore_errors=True)
    write_plan(plan, folder / "plan.json", seed, options.minutes)
    copy = folder / "project"
    shutil.copytree(REPOSITORY, copy, ignore=LEFT_OUT)
    environment = {**os.environ, _INSIDE: "1", "PYTHONPATH": str(copy), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "local.chaos", "--seed", str(seed), "--minutes", str(options.minutes)]
    sys.stdout.flush()
    return subprocess.run([*command, "--folder", str(folder.parent)], cwd=copy, env=environment, check=False).returncode


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def judged(run: Run, folder: Path, lines: Callable[[Any], list[str]]) -> int:
    """Do the run; print and keep what it came to. `lines` are what people read of its result."""
    begun = time.monotonic()
    result = run.do()
    content = {**vars(result), "wrong": result.wrong, "seconds": round(time.monotonic() - begun), "seed": run.seed}
    (folder / "report.json").write_text(json.dumps(content, indent=2, default=str) + "\n")
    print()
    for line in lines(result):
        print(line)
    for text in result.wrong:
        print(f"WRONG {text}")
    print(f"\nseed {run.seed}: {'FAILED' if result.wrong else 'passed'}; {folder / 'report.json'} has all of it")
    return 1 if result.wrong else 0


def table(result: Result) -> list[str]:
    """What was injected by kind, and what it came to, as lines of text."""
    lines = [f"{'fault':32}{'planned':>9}{'fired':>9}"]
    names = sorted({*result.planned, *result.fired})
    lines += [f"{name:32}{result.planned[name]:9d}{result.fired[name]:9d}" for name in names]
    requested = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.requests.items()))
    found = [sum(d.startswith(kind) for d in result.differences) for kind in ("lost", "doubled", "wrong")]
    return [
        *lines,
        "",
        f"{result.changes} changes requested: {requested}",
        *([f"not done on this machine: {', '.join(result.left_out)}"] if result.left_out else []),
        f"parts started: {', '.join(f'{name} {count}' for name, count in sorted(result.starts.items()))}",
        f"{len(result.explained)} runs and ticks failed by an injected fault, {len(result.unexplained)} by none",
        f"at rest after {result.settled_seconds:.0f} s",
        f"{found[0]} lost, {found[1]} doubled, {found[2]} wrong",
    ]


if __name__ == "__main__":
    sys.exit(main())
