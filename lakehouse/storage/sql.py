"""Names and texts as SQL writes them: nothing else may put a value into a statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def total(terms: Sequence[str]) -> str:
    """The sum of SQL terms, 0 of none, added in pairs: the engine's parser takes expressions of a depth of 1,000, which
    a chain of as many terms has."""
    if len(terms) < 2:
        return terms[0] if terms else "0"
    middle = len(terms) // 2
    return f"({total(terms[:middle])} + {total(terms[middle:])})"


def file_list(addresses: Iterable[str]) -> str:
    """Addresses as the list that read_parquet takes."""
    return f"[{', '.join(map(literal, addresses))}]"
