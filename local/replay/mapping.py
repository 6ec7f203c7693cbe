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
from local.replay.cells import KINDS, CellError, Settings, SettingsError, nearest, read_cell, settings_of
from local.replay.lines import Format

SHIPPED = Path(__file__).parent / "mappings"
FILE = "file.yaml"


class MappingError(ValueError):
    """A mapping cannot be used; the message holds every problem with its file and line."""


@dataclass(frozen=True)
class Option:
    """A value that is given on the command line, and in queries is `$name`."""

    name: str
    kind: str
    settings: Settings
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
    """Collects what is wrong, so that all of it is told at once."""

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
    said = _members(_node(folder / FILE, problems), FILE, ("description", *_FILE_KEYS, "options"), problems)
    form = _format(said, problems)
    options = _options(said.get("options"), problems)
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
    if unknown := [n for n in given if n not in mapping.options]:
        raise MappingError(
            f"{mapping.name}/{FILE}: there is no option {unknown[0]!r}{nearest(unknown[0], mapping.options)}"
        )
    read = {}
    for name, option in mapping.options.items():
        text = given.get(name, option.default)
        if text is None:
            flag = f"--{name.replace('_', '-')}"
            raise MappingError(
                f"{mapping.name}/{FILE}: option {name} is needed: give {flag} VALUE "
                f"({option.description or option.kind})"
            )
        try:
            read[name] = read_cell(option.kind, text, option.settings)
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


# file.yaml, of which every value is a text, whatever YAML makes of NO, ~ and 2025-01-01

_FILE_KEYS = ("delimiter", "quote", "encoding", "skip_lines", "missing", "trim")
_OPTION_KEYS = ("type", "default", "description", "decimal_mark", "format", "timezone", "ambiguous", "yes", "no")
_LISTS = ("format", "yes", "no")


def _node(path: Path, problems: Problems) -> yaml.Node | None:
    if not path.exists():
        return None
    try:
        return yaml.compose(_text(path, problems), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = mark.line + 1 if mark else 1
        hint = "Put a value in quotes if it holds ': ' or ' #' or begins with a sign"
        problems.add(path.name, line, f"{what or error}. {hint}")
        problems.stop()


def _members(
    node: yaml.Node | None, where: str, allowed: Sequence[str] | None, problems: Problems
) -> dict[str, yaml.Node]:
    """The members of a YAML object by name; names that are not allowed, or given twice, are problems."""
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
        return {}
    if not isinstance(node, yaml.MappingNode):
        problems.add(FILE, _line(node), f"{where}: expected names with values, found none")
        return {}
    members: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in members:
            problems.add(FILE, _line(key), f"{name} is given twice")
        if allowed is not None and name not in allowed:
            problems.add(FILE, _line(key), f"{where}: there is no key {name!r}{nearest(name, allowed)}")
        members[name] = value
    return members


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _one(node: yaml.Node | None, where: str, otherwise: str, problems: Problems) -> str:
    if node is None:
        return otherwise
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    problems.add(FILE, _line(node), f"{where}: expected one value, found several")
    return otherwise


def _several(node: yaml.Node | None, where: str, problems: Problems) -> list[str]:
    members = node.value if isinstance(node, yaml.SequenceNode) else [] if node is None else [node]
    return [_one(member, where, "", problems) for member in members]


def _format(said: Mapping[str, yaml.Node], problems: Problems) -> Format:
    texts = {
        name: _one(said.get(name), name, otherwise, problems)
        for name, otherwise in (
            ("delimiter", ","), ("quote", '"'), ("encoding", "utf-8"), ("skip_lines", "0"), ("trim", "true")
        )
    }  # fmt: skip
    texts["delimiter"] = {"\\t": "\t", "tab": "\t"}.get(texts["delimiter"], texts["delimiter"])
    usable = {
        "delimiter": (_is_character(texts["delimiter"]), "one character (or tab)"),
        "quote": (_is_character(texts["quote"]) and texts["quote"] != texts["delimiter"], "one other character"),
        "encoding": (_is_encoding(texts["encoding"]), "an encoding such as utf-8 or latin-1"),
        "skip_lines": (texts["skip_lines"].isdecimal(), "a whole number"),
        "trim": (texts["trim"] in ("true", "false"), "true or false"),
    }
    bad = [name for name, (fits, _) in usable.items() if not fits]
    for name in bad:
        at = said.get(name) or said["delimiter"]  # which can be the usual quote
        problems.add(FILE, _line(at), f"{name}: expected {usable[name][1]}, found {texts[name]!r}")
    missing = frozenset((*_several(said.get("missing"), "missing", problems), ""))
    if bad:
        return Format(missing=missing)
    return Format(
        texts["delimiter"],
        texts["quote"],
        texts["encoding"],
        int(texts["skip_lines"]),
        missing,
        texts["trim"] == "true",
    )


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


def _options(node: yaml.Node | None, problems: Problems) -> dict[str, Option]:
    options = {}
    for name, member in _members(node, "options", None, problems).items():
        where = f"option {name}"
        if not name.isidentifier() or not name.islower() or not name.isascii():
            problems.add(FILE, _line(member), f"{where}: expected a name of small letters, digits and _")
            continue
        short = isinstance(member, yaml.ScalarNode)
        said = {"type": member} if short else _members(member, where, _OPTION_KEYS, problems)
        options[name] = _option(name, said, member, problems)
    return options


def _option(name: str, said: Mapping[str, yaml.Node], at: yaml.Node, problems: Problems) -> Option:
    where = f"option {name}"
    kind = _one(said.get("type"), where, "text", problems)
    if kind not in KINDS:
        problems.add(FILE, _line(said["type"]), f"{where}: there is no type {kind!r}{nearest(kind, KINDS)}")
        kind = "text"
    settings = Settings()
    try:
        single = {n: _one(said[n], where, "", problems) for n in _OPTION_KEYS[3:] if n in said and n not in _LISTS}
        several = {n: _several(said[n], where, problems) for n in _LISTS if n in said}
        settings = settings_of(kind, {**single, **several})
    except SettingsError as error:
        problems.add(FILE, _line(at), f"{where}: {error}")
    default = _one(said["default"], where, "", problems) if "default" in said else None
    if default is not None:
        try:
            read_cell(kind, default, settings)
        except CellError as error:
            problems.add(FILE, _line(said["default"]), f"{where}: default: {error}")
    return Option(name, kind, settings, default, _one(said.get("description"), where, "", problems))
