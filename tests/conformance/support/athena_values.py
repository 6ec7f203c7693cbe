"""Values as Athena writes them: the text of a result's cell, its CSV file, and the names of its types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_ARGUMENTS = re.compile(r"\((\d+)(?:,\s*(\d+))?\)")


def text(value: Any) -> str | None:
    """A value of Trino's JSON as Athena shows it: `[a, b]` for lists and rows, `{k=v}` for maps."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case list():
            return "[" + ", ".join("null" if v is None else str(text(v)) for v in value) + "]"
        case dict():
            return "{" + ", ".join(f"{k}={'null' if v is None else text(v)}" for k, v in value.items()) + "}"
        case _:
            return str(value)


def csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A result file: a header, every value quoted, a null as nothing at all."""
    lines = [",".join(_cell(name) for name in columns)]
    lines += [",".join(_cell(text(value)) for value in row) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def _cell(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'


def column_info(name: str, trino_type: str) -> dict[str, Any]:
    """A column in ResultSetMetadata."""
    kind = _ARGUMENTS.sub("", trino_type) if trino_type.startswith("time") else trino_type.partition("(")[0]
    numbers = _ARGUMENTS.search(trino_type) if kind == "decimal" else None
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": name,
        "Label": name,
        "Type": kind,
        "Precision": int(numbers[1]) if numbers else (2147483647 if kind == "varchar" else 19),
        "Scale": int(numbers[2] or 0) if numbers else 0,
        "Nullable": "UNKNOWN",
        "CaseSensitive": kind == "varchar",
    }
