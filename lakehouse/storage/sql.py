"""Names and texts as SQL writes them: nothing else may put a value into a statement."""

from __future__ import annotations

from collections.abc import Iterable


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def file_list(addresses: Iterable[str]) -> str:
    """Addresses as the list that read_parquet takes."""
    return f"[{', '.join(map(literal, addresses))}]"
