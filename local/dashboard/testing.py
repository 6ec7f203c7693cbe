"""Runs the tests of the dashboard's own logic: `python -m local.dashboard.testing`, with Vitest's arguments."""

from __future__ import annotations

import subprocess
import sys

from local.dashboard import build


def main(arguments: list[str]) -> int:
    """Build, because the tests use the types of the API, then run Vitest; returns its exit code."""
    from contracts import load_contracts

    build.build(load_contracts(), print)
    node, _ = build.node(print)
    program = build.SOURCE / "node_modules" / "vitest" / "vitest.mjs"
    return subprocess.run([str(node), str(program), "run", *arguments], cwd=build.SOURCE, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
