"""Athena's own DDL in Trino's words: what dbt-athena says that Trino does not understand.

Only the statements that dbt-athena makes for views and Iceberg tables are known; README.md lists them. Others are
passed on as they are, so that Trino refuses what this module does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_LEADING = re.compile(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)+", re.S)
_CTAS = re.compile(r"\Acreate\s+table\s+(?P<name>\S+)\s+with\s*\((?P<rest>.*)\Z", re.I | re.S)
_PROPERTY = re.compile(r"\s*(\w+)\s*=\s*('(?:[^']|'')*'|ARRAY\s*\[[^\]]*\]|[\w.]+)\s*(,|\))", re.I | re.S)
_KEPT = frozenset({"location", "partitioning", "format"})
"""Properties that Athena and Trino call the same."""
_UNKNOWN_TO_TRINO = re.compile(r"table_type|is_external|write_compression|vacuum_\w+|optimize_\w+")
_TYPES = {"string": "varchar", "int": "integer", "timestamp": "timestamp(6)", "binary": "varbinary", "float": "real"}
_NAME = r'(?P<name>(?:[`"]?[\w$]+[`"]?\.)*[`"]?[\w$]+[`"]?)'


class Unsupported(Exception):
    """A statement that Athena refuses, in its words."""


@dataclass(frozen=True)
class CreatedAs:
    """A CREATE TABLE AS: its query, whose columns Athena looks at, and the whole of it for Trino."""

    query: str
    statement: str


def plain(sql: str) -> str:
    """The statement without the comments before it and the semicolon behind it."""
    return _LEADING.sub("", sql).rstrip().rstrip(";").rstrip()


def keyword(sql: str) -> str:
    """Its first word, in capitals."""
    return plain(sql).lstrip("( \n").split(None, 1)[0].upper()


def is_ddl(sql: str) -> bool:
    """Whether Athena answers with text and not with rows."""
    return keyword(sql) in ("CREATE", "ALTER", "DROP", "MSCK")


def created_as(sql: str) -> CreatedAs | None:
    """The statement as a CREATE TABLE AS of an Iceberg table, or None where it is none.

    Raises `Unsupported` for another type of table, and for a property that nothing here knows.
    """
    match = _CTAS.match(plain(sql))
    if match is None:
        return None
    properties, query = _properties(match["rest"])
    if properties.get("table_type", "").strip("'").lower() != "iceberg":
        raise Unsupported(f"expected an Iceberg table, found {properties.get('table_type', 'none')}")
    for name in properties:
        if name not in _KEPT and not _UNKNOWN_TO_TRINO.fullmatch(name):
            raise Unsupported(f"INVALID_TABLE_PROPERTY: {name}")
    kept = ", ".join(f"{name} = {value}" for name, value in properties.items() if name in _KEPT)
    return CreatedAs(query, f"CREATE TABLE {match['name']} WITH ({kept}) AS {query}")


def _properties(text: str) -> tuple[dict[str, str], str]:
    found, position = {}, 0
    while match := _PROPERTY.match(text, position):
        found[match[1].lower()] = match[2]
        position = match.end()
        if match[3] == ")":
            query = re.sub(r"\A\s*as\s", "", text[position:], flags=re.I)
            return found, query.strip()
    raise Unsupported(f"mismatched input in the table's properties: {text[position : position + 60]}")


def translated(sql: str) -> list[str]:
    """What Trino is to run instead, in order."""
    sql = plain(sql)
    for pattern, translate in _FORMS:
        if match := re.fullmatch(pattern, sql, re.I | re.S):
            return list(translate(match))
    return [sql]


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in re.sub(r'[`"]', "", name).split("."))


def _trino_type(hive: str) -> str:
    return _TYPES.get(hive.strip().lower(), hive.strip())


def _create_schema(match: re.Match[str]) -> Iterator[str]:
    yield f"CREATE SCHEMA IF NOT EXISTS {_quoted(match['name'])}"


def _rename(match: re.Match[str]) -> Iterator[str]:
    yield f"ALTER TABLE {_quoted(match['name'])} RENAME TO {_quoted(match['to'])}"


def _add_columns(match: re.Match[str]) -> Iterator[str]:
    for column in re.split(r",(?![^(<]*[)>])", match["columns"]):
        name, kind = column.strip().split(None, 1)
        yield f"ALTER TABLE {_quoted(match['name'])} ADD COLUMN {_quoted(name)} {_trino_type(kind)}"


def _drop(match: re.Match[str]) -> Iterator[str]:
    yield f"DROP {match['what']} IF EXISTS {_quoted(match['name'])}"


def _optimize(match: re.Match[str]) -> Iterator[str]:
    yield f"ALTER TABLE {_quoted(match['name'])} EXECUTE optimize"


def _vacuum(match: re.Match[str]) -> Iterator[str]:
    yield f"ALTER TABLE {_quoted(match['name'])} EXECUTE expire_snapshots(retention_threshold => '7d')"
    yield f"ALTER TABLE {_quoted(match['name'])} EXECUTE remove_orphan_files(retention_threshold => '7d')"


_Translation = Callable[[re.Match[str]], Iterator[str]]
_FORMS: tuple[tuple[str, _Translation], ...] = (
    (rf"create\s+schema\s+if\s+not\s+exists\s+{_NAME}", _create_schema),
    (rf"alter\s+table\s+{_NAME}\s+rename\s+to\s+(?P<to>\S+)", _rename),
    (rf"alter\s+table\s+{_NAME}\s+add\s+columns\s*\((?P<columns>.*)\)", _add_columns),
    (rf"drop\s+(?P<what>table|view)\s+if\s+exists\s+{_NAME}", _drop),
    (rf"optimize\s+{_NAME}\s+rewrite\s+data\s+using\s+bin_pack", _optimize),
    (rf"vacuum\s+{_NAME}", _vacuum),
)
