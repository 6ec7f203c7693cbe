"""The table of what grows on a laptop, as `docs/operations.md` states it, and what of a folder it does not name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
HEAD = "| on a laptop | grows by | bounded by | test |"


@dataclass(frozen=True)
class Row:
    """A row: patterns of places below `.gavel`, how they grow, what bounds them, and the test of that."""

    places: tuple[str, ...]
    growth: str
    bound: str
    test: str


def rows() -> list[Row]:
    """The rows of the table."""
    lines = OPERATIONS.read_text().splitlines()
    start = lines.index(HEAD) + 2
    found = []
    for line in lines[start : lines.index("", start)]:
        places, growth, bound, test = re.split(r"\s*\|\s*", line.strip())[1:5]
        found.append(Row(tuple(re.findall(r"`\.gavel/([^`]+)`", places)), growth, bound, test.strip("`")))
    return found


def unnamed(home: Path) -> list[str]:
    """What is in a folder of a stack and in no row; of Dagster's own folder, each part has a row."""
    entries = [entry.name for entry in home.iterdir() if entry.name != "dagster"]
    entries += [f"dagster/{entry.name}" for entry in (home / "dagster").glob("*")]
    patterns = [pattern for row in rows() for pattern in row.places]
    return [entry for entry in entries if not any(Path(entry).match(pattern) for pattern in patterns)]
