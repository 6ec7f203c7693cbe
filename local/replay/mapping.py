"""Mapping folders: `file.yaml`, which says how the file is written, and one query for each entity.

Finding a folder, reading what it holds, and saying with file and line what is wrong with it. What the queries mean is
the engine's business.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import yaml

from contracts import Contracts
from local.replay.cells import KINDS, CellError, Settings, nearest, read_cell
from local.replay.lines import Format

SHIPPED = Path(__file__).parent / "mappings"
FILE = "file.yaml"
UTC = Settings(timezone="UTC")
"""How options are read: as cells, with times in UTC if they have no offset."""


class MappingError(ValueError):
    """A mapping cannot be used; the message holds every problem with its file and line."""


@dataclass(frozen=True)
class Option:
    """A value that is given on the command line, and in queries is `$name`."""

    name: str
    kind: str
    default: str | None
    description: str


@dataclass(frozen=True)
class Query:
    """One SQL file: the items of an entity, as it stands in `file`."""

    entity: str
    file: str
    sql: str


@dataclass(frozen=True)
class Folder:
    """A mapping folder as read. Queries come in order of their files' names."""

    name: str
    format: Format
    options: Mapping[str, Option]
    queries: tuple[Query, ...]


class Problems:
    """Collects what is wrong, so that all of it is reported at once."""

    def __init__(self, mapping: str) -> None:
        self.mapping = mapping
        self._found: list[tuple[str, int, str]] = []

    def add(self, file: str, line: int, message: str) -> None:
        self._found.append((file, line, message))

    def stop_if_any(self) -> None:
        if self._found:
            self.stop()

    def stop(self) -> NoReturn:
        lines = [f"{self.mapping}/{file}, line {line}: {message}" for file, line, message in sorted(self._found)]
        raise MappingError("\n".join(dict.fromkeys(lines)))


def find_mapping(name: str) -> Path:
    """The mapping folder of that path, or the one of that name that the project ships (`ebay_auctions`)."""
    path = Path(name)
    if path.is_dir():
        return path
    if path.name == name and (SHIPPED / name).is_dir():
        return SHIPPED / name
    have = ", ".join(sorted(p.name for p in SHIPPED.iterdir() if p.is_dir()))
    found = "is a file" if path.is_file() else "no such mapping"
    raise MappingError(
        f"{name}: {found}. A mapping is a folder with a query ENTITY.sql for each entity (docs/replay.md). "
        f"Give its path, or the name of one that comes with Gavel: {have}"
    )


def load_mapping(folder: Path, contracts: Contracts) -> Folder:
    """Read a mapping folder. Raises `MappingError` with every problem found, `OSError` if a file cannot be read."""
    problems = Problems(folder.resolve().name)
    form, options = _Form(folder / FILE, problems).read()
    entities = [name for name, contract in contracts.items() if contract.origin == "stream"]
    queries = []
    for path in sorted(folder.glob("*.sql")):
        entity = path.name.partition(".")[0]
        if entity not in entities:
            problems.add(path.name, 1, f"there is no entity {entity!r} behind the API{nearest(entity, entities)}")
        queries.append(Query(entity, path.name, _text(path, problems)))
    if not queries:
        problems.add("", 1, "expected a file ENTITY.sql for each entity to make, found none")
    problems.stop_if_any()
    return Folder(folder.resolve().name, form, options, tuple(queries))


def read_options(mapping: Folder, given: Mapping[str, str]) -> dict[str, str | None]:
    """The options' values as texts that DuckDB casts to their kinds; raises `MappingError` for what is unknown or
    cannot be read."""
    where = f"{mapping.name}/{FILE}"
    if unknown := [n for n in given if n not in mapping.options]:
        raise MappingError(f"{where}: there is no option {unknown[0]!r}{nearest(unknown[0], mapping.options)}")
    read = {}
    for name, option in mapping.options.items():
        text = given.get(name, option.default)
        if text is None:
            what = f"--{name.replace('_', '-')} VALUE ({option.description or option.kind})"
            raise MappingError(f"{where}: option {name} is needed: give {what}")
        try:
            read[name] = read_cell(option.kind, text, UTC)
        except CellError as error:
            raise MappingError(f"option {name}: {error}") from None
    return read


def _text(path: Path, problems: Problems) -> str:
    try:
        return path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.add(path.name, line, f"must be UTF-8 text: {error.reason}")
        return ""


class _Form:
    """`file.yaml`, in which every value is a text, whatever YAML makes of NO, ~ and 2025-01-01."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.problems = problems
        self.root: yaml.Node | None = None
        try:
            self.root = yaml.compose(_text(path, problems), Loader=yaml.BaseLoader) if path.exists() else None
        except yaml.YAMLError as error:
            mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
            hint = "Put a value in quotes if it holds ': ' or ' #' or begins with a sign"
            problems.add(FILE, mark.line + 1 if mark else 1, f"{what or error}. {hint}")
            problems.stop()

    def read(self) -> tuple[Format, dict[str, Option]]:
        keys = ("description", "delimiter", "quote", "encoding", "skip_lines", "missing", "trim", "options")
        said = self.members(self.root, keys)
        options = self.members(said.get("options"))
        return self.format(said), {name: self.option(name, node) for name, node in options.items()}

    def bad(self, node: yaml.Node | None, message: str) -> None:
        self.problems.add(FILE, node.start_mark.line + 1 if node else 1, message)

    def members(self, node: yaml.Node | None, allowed: Sequence[str] | None = None) -> dict[str, yaml.Node]:
        """The members of an object by name; names that are not allowed, or given twice, are problems."""
        members: dict[str, yaml.Node] = {}
        if node is None or node.value == "":
            return members
        if not isinstance(node, yaml.MappingNode):
            self.bad(node, "expected names with values, found none")
            return members
        for key, value in node.value:
            name = str(key.value)
            if name in members:
                self.bad(key, f"{name} is given twice")
            if allowed is not None and name not in allowed:
                self.bad(key, f"there is no key {name!r}{nearest(name, allowed)}")
            members[name] = value
        return members

    def one(self, node: yaml.Node | None, otherwise: str = "") -> str:
        if node is not None and not isinstance(node, yaml.ScalarNode):
            self.bad(node, "expected one value, found several")
            return otherwise
        return otherwise if node is None else str(node.value)

    def format(self, said: Mapping[str, yaml.Node]) -> Format:
        delimiter = self.one(said.get("delimiter"), ",")
        delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
        quote, encoding = self.one(said.get("quote"), '"'), self.one(said.get("encoding"), "utf-8")
        skip_lines, trim = self.one(said.get("skip_lines"), "0"), self.one(said.get("trim"), "true")
        for name, value, fits, expected in (
            ("delimiter", delimiter, _is_character(delimiter), "one character (or tab)"),
            ("quote", quote, _is_character(quote) and quote != delimiter, "one other character than the delimiter"),
            ("encoding", encoding, _is_encoding(encoding), "an encoding such as utf-8 or latin-1"),
            ("skip_lines", skip_lines, skip_lines.isdecimal(), "a whole number"),
            ("trim", trim, trim in ("true", "false"), "true or false"),
        ):
            if not fits:
                self.bad(said.get(name), f"{name}: expected {expected}, found {value!r}")
        node = said.get("missing")
        several = node.value if isinstance(node, yaml.SequenceNode) else [] if node is None else [node]
        missing = frozenset({"", *map(self.one, several)})
        skipped = int(skip_lines) if skip_lines.isdecimal() else 0
        return Format(delimiter, quote, encoding, skipped, missing, trim == "true")

    def option(self, name: str, node: yaml.Node) -> Option:
        short = isinstance(node, yaml.ScalarNode)
        said = {"type": node} if short else self.members(node, ("type", "default", "description"))
        if not name.isidentifier() or not name.islower() or not name.isascii():
            self.bad(node, f"option {name}: expected a name of small letters, digits and _")
        kind = self.one(said.get("type"), "text")
        if kind not in KINDS:
            self.bad(said["type"], f"option {name}: there is no type {kind!r}{nearest(kind, KINDS)}")
            kind = "text"
        default = self.one(said["default"]) if "default" in said else None
        try:
            read_cell(kind, default or "", UTC)
        except CellError as error:
            self.bad(said["default"], f"option {name}: default: {error}")
        return Option(name, kind, default, self.one(said.get("description")))


def _is_character(text: str) -> bool:
    return len(text) == 1 and text not in "\r\n"


def _is_encoding(name: str) -> bool:
    """Whether text can be encoded so that lines end as they do in ASCII (or in UTF-16 and UTF-32)."""
    try:
        if codecs.lookup(name).name.startswith(("utf-16", "utf-32")):
            return True
        return b"a,\r\n".decode(name) == "a,\r\n"
    except (LookupError, ValueError):
        return False
