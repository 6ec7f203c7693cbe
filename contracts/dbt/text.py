"""How generated text is written: its first line, names and literals of SQL, YAML. Knows no entity and no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADER = "Written by `python -m contracts.dbt` from contracts/entities: change the contract, not this file."


# Words that Athena or DuckDB reserves and that a field may well be called.
RESERVED = frozenset(
    (
        "all and any as asc between by case cast check column constraint create cross current_date default desc "
        "distinct do else end except exists false fetch for foreign from full grant group having in initially inner "
        "intersect into is join lateral left like limit natural not null offset on only or order outer primary qualify "
        "references right select some table then to true union unique using values when where window with"
    ).split()
)


def identifier(name: str) -> str:
    """The name of a column, quoted where an engine reserves it."""
    return f'"{name}"' if name in RESERVED else name


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def yaml_text(document: Mapping[str, Any]) -> str:
    """The text of a generated YAML file."""
    import yaml

    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return f"# {HEADER}\n{text}"
