"""`python -m contracts check [--against REVISION]`: are the contracts usable, and may they follow earlier ones?"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from contracts.compatibility import check_all_compatible
from contracts.loader import ENTITIES, load_contracts
from contracts.model import ContractError


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when all is well, 1 with the reason on standard error when a contract is refused."""
    parser = argparse.ArgumentParser(prog="python -m contracts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="load all contracts and compare them with earlier ones")
    check.add_argument("--folder", type=Path, default=ENTITIES, help="folder of contracts (default: the product's)")
    check.add_argument(
        "--against", metavar="REVISION", help="git revision whose contracts these must be able to follow"
    )
    options = parser.parse_args(arguments)
    try:
        contracts = load_contracts(options.folder)
        if options.against:
            with tempfile.TemporaryDirectory() as folder:
                extract_revision(options.against, options.folder, Path(folder))
                check_all_compatible(load_contracts(Path(folder)), contracts)
    except ContractError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{len(contracts)} contracts are usable: {', '.join(contracts)}\n")
    return 0


def extract_revision(revision: str, folder: Path, target: Path) -> None:
    """Write the contract files of a git revision into `target`; raises `ContractError` when git has none there."""
    try:
        prefix = _git(folder, "rev-parse", "--show-prefix").strip()
        names = _git(folder, "ls-tree", "--full-tree", "--name-only", f"{revision}:{prefix}").splitlines()
        for name in names:
            if name.endswith(".yaml"):
                (target / name).write_text(_git(folder, "show", f"{revision}:./{name}"), encoding="utf-8")
    except subprocess.CalledProcessError as error:
        raise ContractError(f"cannot read the contracts of revision {revision!r}: {error.stderr.strip()}") from error


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return run.stdout


if __name__ == "__main__":
    sys.exit(main())
