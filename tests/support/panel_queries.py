"""The queries of the report's panels as plain SQL, so that sqlfluff can lint them (`make lint-sql`).

Each variant of a panel becomes one file with the panel's name. The head stays as empty lines, so that the lines of the
query keep their numbers up to its first Jinja block.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path

from reporting import templates
from reporting.definitions import PANELS, load

VALUES = {"currency": "EUR", "grain": "month", "until": datetime(2026, 1, 1), "ref": templates.Sql}  # noqa: DTZ001 - as queries have times


def queries() -> Iterator[tuple[str, str]]:
    """The name of each query, and its SQL over models by their bare names."""
    page = load()
    for name, definition in [*page.panels.items(), *page.figures.items()]:
        head = definition.path.read_text("utf-8").partition(definition.query)[0].count("\n")
        for number, variant in zip(count(1), definition.spec.variants, strict=False):
            query = templates.query(definition.query).render({**VALUES, **variant})
            yield f"{name}.{number}", "\n" * head + query + "\n"
    reports = [templates.Sql(name) for name in page.spec.currencies]
    yield "currencies", templates.query((PANELS / "currencies.sql").read_text("utf-8")).render(VALUES, reports=reports)


def main(folder: Path) -> None:
    """Write the queries below a folder."""
    for name, query in queries():
        file = folder / f"{name}.sql"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(query.rstrip("\n") + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
