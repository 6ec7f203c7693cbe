"""Prints what an environment costs in a month at list prices, as the table of docs/deploy.md.

    python -m benchmarks.estimate prod --load my-load.yaml

Resources are those of the templates as CloudFormation makes them; the load is a file's (`load.yaml` beside this one).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.estimate.sums import FOLDER, Line, Resource, Value, all_prices, estimate, left_out, load_of
from ops.deployment.stacks import STACKS
from tests.support.expanded import expanded, expanded_stack

ENVIRONMENTS = ("dev", "test", "prod")


def resources(environment: str) -> list[tuple[Resource, Value]]:
    """The resources of all stacks of an environment, each with what looks its properties up."""
    found: list[tuple[Resource, Value]] = []
    for stack in STACKS:
        made = expanded(environment) if stack.key == "realtime" else expanded_stack(stack.key, environment)
        mappings = made.get("Mappings", {})

        def value(of: Any, mappings: Mapping[str, Any] = mappings) -> Any:
            if isinstance(of, dict) and "Fn::FindInMap" in of:
                name, first, second = of["Fn::FindInMap"]
                return mappings[name][environment if isinstance(first, dict) else first][second]
            return of["Ref"] if isinstance(of, dict) and "Ref" in of else of

        found += [(resource, value) for resource in made["Resources"].values()]
    return found


def table(load: Path = FOLDER / "load.yaml", environments: Sequence[str] = ENVIRONMENTS) -> str:
    """The table: a row for each line, a column for each environment, US dollars a month."""
    prices = all_prices()
    lines: dict[str, dict[str, Line]] = {}
    totals = dict.fromkeys(environments, 0.0)
    for environment in environments:
        for line in estimate(resources(environment), load_of(environment, load), prices):
            what = line.what.partition(" db.")[0]
            lines.setdefault(what, {})[environment] = line
            totals[environment] += line.usd
    head = ["| US dollars a month | " + " | ".join(environments) + " |", "|---|" + "---|" * len(environments)]
    rows = [f"| {what} | " + " | ".join(_cell(found[e]) for e in environments) + " |" for what, found in lines.items()]
    fixed = {e: sum(found[e].usd for found in lines.values() if found[e].fixed) for e in environments}
    ends = [
        "| **together** | " + " | ".join(f"**{totals[e]:,.2f}**" for e in environments) + " |",
        "| of it without any load | " + " | ".join(f"{fixed[e]:,.2f}" for e in environments) + " |",
    ]
    return "\n".join([*head, *rows, *ends])


def _cell(line: Line) -> str:
    return f"{line.usd:,.2f} ({line.amount.strip()})"


def main(arguments: Sequence[str]) -> None:
    """Print the table, and what is not in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimate", description=__doc__)
    parser.add_argument("environment", nargs="*", help="dev, test, prod; all of them if none is given")
    parser.add_argument("--load", type=Path, default=FOLDER / "load.yaml")
    given = parser.parse_args(arguments)
    names = tuple(given.environment) or ENVIRONMENTS
    if wrong := [name for name in names if name not in ENVIRONMENTS]:
        parser.error(f"expected environments of {', '.join(ENVIRONMENTS)}, found {', '.join(wrong)}")
    try:
        sys.stdout.write(table(given.load, names) + "\n")
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
    sys.stdout.write("\nNot counted:\n" + "".join(f"- {text}\n" for text in left_out(resources(names[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
