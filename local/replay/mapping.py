"""Mapping files: what they may say, loading one, and saying precisely what is wrong with it.

A mapping is understood against the header of the CSV file and the contracts, so that a misspelt column, field, entity
or function is found before anything is read or sent, all at once, each with its line.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from contracts import Contracts
from local.replay.expressions import (
    AGGREGATES,
    FUNCTIONS,
    Expression,
    ExpressionError,
    Value,
    compile_expression,
    compile_template,
    constant_expression,
    nearest,
)
from local.replay.lines import Format
from local.replay.table import CellError, ColumnType, read_cell

SHIPPED = Path(__file__).parent / "mappings"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = {"line", "true", "false", "True", "False", "missing", "null", "and", "or", "not", "in", "if", "else", "is"}
_TYPES = ("text", "integer", "decimal", "money", "boolean", "timestamp", "date", "days", "hours", "minutes", "seconds")


class MappingError(ValueError):
    """A mapping file cannot be used; the message holds every problem with its line."""


@dataclass(frozen=True)
class Option:
    """A value that is given on the command line."""

    name: str
    type: ColumnType
    default: str | None
    description: str


@dataclass(frozen=True)
class FieldRule:
    """How one field of an item comes about: an expression, a constant, or a list or object of rules."""

    line: int
    rule: Expression | Mapping[str, FieldRule] | tuple[FieldRule, ...] | Value


@dataclass(frozen=True)
class ItemRule:
    """How items of one entity come about: one for each row, or one for each group of rows."""

    number: int
    line: int
    entity: str
    group_by: tuple[str, ...] | None
    where: Expression | None
    when: Expression | None
    fields: Mapping[str, FieldRule]

    @property
    def label(self) -> str:
        return f"items {self.number} ({self.entity})"


@dataclass(frozen=True)
class MappingFile:
    """A mapping file that was understood; the order of `values` is the order in which they are computed."""

    path: str
    description: str
    format: Format
    options: Mapping[str, Option]
    columns: Mapping[str, ColumnType]
    values: Mapping[str, Expression]
    items: tuple[ItemRule, ...]
    unused: tuple[str, ...] = field(default=())
    """Columns of the file that nothing in the mapping looks at."""


@dataclass(frozen=True)
class _Node:
    """A part of the YAML file with its line: `value` is a text, number, bool, None, dict of nodes or list of nodes.

    Of a single value, `plain` says that it stands without quotes, and `written` is what stands there.
    """

    line: int
    value: Any
    plain: bool = False
    written: str = ""


class _Problems:
    """Collects what is wrong, so that all of it is told at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[tuple[int, str]] = []

    def add(self, line: int, where: str, message: str) -> None:
        self.found.append((line, f"{self.path}, line {line}: {where}: {message}"))

    def stop(self) -> NoReturn:
        lines = [text for _, text in sorted(self.found, key=lambda f: f[0])]
        raise MappingError("\n".join(dict.fromkeys(lines)))


def find_mapping(name: str) -> Path:
    """The mapping file of that path, or the one of that name that the project ships (`ebay_auctions`)."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{path.stem}.yaml"
    if path.name in (path.stem, shipped.name) and shipped.is_file():
        return shipped
    have = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
    raise MappingError(
        f"{name}: no such mapping file. Give the path of a YAML file, or a name of those shipped: {have}"
    )


def read_format(text: str, path: str) -> Format:
    """How the CSV file is to be read, according to the mapping; needed before its header is known."""
    problems = _Problems(path)
    root = _document(text, problems)
    found = _format(root.value.get("file"), root.value.get("missing"), problems)
    if problems.found:
        problems.stop()
    return found


def load_mapping(text: str, path: str, header: Sequence[str], contracts: Contracts) -> MappingFile:
    """Understand the text of a mapping for a file with this header. Raises `MappingError` with every problem found."""
    problems = _Problems(path)
    root = _document(text, problems)
    parts: dict[str, _Node] = root.value
    form = _format(parts.get("file"), parts.get("missing"), problems)
    options = _options(parts.get("options"), problems)
    columns = _columns(parts.get("columns"), header, form, problems)
    tables = _tables(parts.get("tables"), problems)
    values = _values(parts.get("values"), {*columns, *options}, tables, problems)
    for name in [n for n in options if n in columns or n in values] + [n for n in values if n in columns]:
        problems.add(root.line, name, "is the name of more than one column, value or option; rename one of them")
    names = {*columns, *options, *values}
    items = _items(parts.get("items"), names, {*columns, *values}, tables, contracts, problems)
    if problems.found:
        problems.stop()
    if root.value.get("items") is None or not items:
        problems.add(root.line, "items", "expected a list of items to make, found none")
        problems.stop()
    used = {n for rule in items for n in _names(rule)} | {n for v in values.values() for n in v.names}
    looked_at = {columns[n].header for n in used if n in columns}
    return MappingFile(
        path=path,
        description=str(parts["description"].value) if "description" in parts else "",
        format=form,
        options=options,
        columns=columns,
        values=values,
        items=tuple(items),
        unused=tuple(h for h in header if h not in looked_at),
    )


def read_options(mapping: MappingFile, given: Mapping[str, str]) -> dict[str, Value]:
    """The options' values from their texts, with defaults; raises `MappingError` for what is unknown or unreadable."""
    if unknown := [n for n in given if n not in mapping.options]:
        raise MappingError(f"{mapping.path}: there is no option {unknown[0]!r}{nearest(unknown[0], mapping.options)}")
    read = {}
    for name, option in mapping.options.items():
        text = given.get(name, option.default)
        flag = f"--{name.replace('_', '-')}"
        if text is None:
            raise MappingError(
                f"{mapping.path}: option {name} is needed: give {flag} VALUE ({option.description or option.type.type})"
            )
        try:
            read[name] = read_cell(option.type, text)
        except CellError as error:
            raise MappingError(f"option {name}: {error}") from None
    return read


# The YAML file as nodes with lines


def _document(text: str, problems: _Problems) -> _Node:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        problems.add(
            mark.line + 1 if mark else 1,
            "YAML",
            f"{what or error}. Put a value in quotes if it holds ': ' or ' #' or begins with a sign",
        )
        problems.stop()
    if node is None:
        problems.add(1, "mapping", "the file is empty")
        problems.stop()
    root = _node(node, problems)
    allowed = ("description", "file", "missing", "options", "columns", "tables", "values", "items")
    if not isinstance(root.value, dict):
        problems.add(1, "mapping", f"expected the keys {', '.join(allowed)}; found no keys")
        problems.stop()
    _check_keys(root, allowed, "mapping", problems)
    if problems.found:
        problems.stop()
    return root


def _node(node: yaml.Node, problems: _Problems) -> _Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        members: dict[str, _Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in members:
                problems.add(key.start_mark.line + 1, name, "is given twice")
            members[name] = _node(value, problems)
        return _Node(line, members)
    if isinstance(node, yaml.SequenceNode):
        return _Node(line, [_node(v, problems) for v in node.value])
    plain = getattr(node, "style", None) is None
    return _Node(line, _scalar(node) if plain else str(node.value), plain, str(node.value))


def _scalar(node: yaml.Node) -> Any:
    """Texts, whole numbers, true/false and nothing by YAML's rules; everything else keeps its written form."""
    text = str(node.value)
    if node.tag.endswith(":null"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if node.tag.endswith(":int") and re.fullmatch(r"-?(0|[1-9]\d*)", text):
        return int(text)
    return text


def _check_keys(node: _Node, allowed: Collection[str], where: str, problems: _Problems) -> None:
    for name, member in node.value.items():
        if name not in allowed:
            problems.add(member.line, where, f"there is no key {name!r}{nearest(name, allowed)}")


def _mapping(node: _Node | None, where: str, problems: _Problems) -> dict[str, _Node]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        problems.add(node.line, where, f"expected names with values below it, found {_shown(node)}")
        return {}
    return node.value


def _shown(node: _Node) -> str:
    if isinstance(node.value, dict):
        return "keys"
    return "a list" if isinstance(node.value, list) else "nothing" if node.value is None else repr(node.value)


def _texts(node: _Node, where: str, problems: _Problems) -> tuple[str, ...]:
    elements = node.value if isinstance(node.value, list) else [node]
    texts = []
    for element in elements:
        if isinstance(element.value, list | dict):
            problems.add(element.line, where, f"expected a text, found {_shown(element)}")
        else:
            texts.append(element.written)  # NULL and yes are texts here, whatever YAML makes of them
    return tuple(texts)


# Parts of a mapping


def _format(node: _Node | None, missing: _Node | None, problems: _Problems) -> Format:
    members = _mapping(node, "file", problems)
    allowed = ("delimiter", "encoding", "quote", "skip_lines")
    if node is not None and isinstance(node.value, dict):
        _check_keys(node, allowed, "file", problems)
    delimiter = str(members["delimiter"].value) if "delimiter" in members else ","
    delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
    quote = str(members["quote"].value) if "quote" in members else '"'
    for name, character in (("delimiter", delimiter), ("quote", quote)):
        if len(character) != 1:
            problems.add(members[name].line, f"file.{name}", f"expected one character (or tab), found {character!r}")
    if delimiter == quote or {delimiter, quote} & set("\r\n"):
        problems.add(
            node.line if node else 1, "file", "expected a delimiter and a quote that differ, and that are no line ends"
        )
    encoding = str(members["encoding"].value) if "encoding" in members else "utf-8"
    if not _is_encoding(encoding):
        problems.add(
            members["encoding"].line, "file.encoding", f"there is no encoding {encoding!r}; try utf-8 or latin-1"
        )
    skip = members["skip_lines"].value if "skip_lines" in members else 0
    if not isinstance(skip, int) or isinstance(skip, bool) or skip < 0:
        problems.add(members["skip_lines"].line, "file.skip_lines", f"expected a whole number, found {skip!r}")
        skip = 0
    texts = _texts(missing, "missing", problems) if missing is not None else ()
    return Format(delimiter=delimiter, quote=quote, encoding=encoding, skip_lines=skip, missing=frozenset((*texts, "")))


def _is_encoding(name: str) -> bool:
    """Whether text can be encoded so that lines end as they do in ASCII (or in UTF-16 and UTF-32)."""
    try:
        if codecs.lookup(name).name.startswith(("utf-16", "utf-32")):
            return True
        return b"a,\r\n".decode(name) == "a,\r\n"
    except (LookupError, ValueError):
        return False


def _options(node: _Node | None, problems: _Problems) -> dict[str, Option]:
    options = {}
    for name, member in _mapping(node, "options", problems).items():
        where = f"option {name}"
        if not _usable(name, member.line, where, problems):
            continue
        body = member if isinstance(member.value, dict) else _Node(member.line, {"type": member})
        _check_keys(body, ("type", "default", "description", "timezone", "ambiguous", "format"), where, problems)
        default = body.value.get("default")
        type_ = _column_type(name, body, where, Format(), problems, without=("default", "description"))
        text = None if default is None else str(default.value)
        if text is not None:
            try:
                read_cell(type_, text)
            except CellError as error:
                problems.add(default.line, f"{where}.default", str(error))
        description = body.value.get("description")
        options[name] = Option(name, type_, text, str(description.value) if description else "")
    return options


def _usable(name: str, line: int, where: str, problems: _Problems) -> bool:
    if _NAME.fullmatch(name) and name not in _RESERVED:
        return True
    problems.add(
        line,
        where,
        f"{name!r} cannot be used in expressions; choose a name of letters, digits and _ "
        f"and write the heading as `column:`, for example  sale_price: {{column: {name!r}, type: money}}",
    )
    return False


def _columns(node: _Node | None, header: Sequence[str], form: Format, problems: _Problems) -> dict[str, ColumnType]:
    """Declared columns, and all others of the header (with usable names) as text."""
    columns: dict[str, ColumnType] = {}
    for name, member in _mapping(node, "columns", problems).items():
        where = f"column {name}"
        if not _usable(name, member.line, where, problems):
            continue
        body = member if isinstance(member.value, dict) else _Node(member.line, {"type": member})
        type_ = _column_type(name, body, where, form, problems)
        if type_.header not in header:
            at = body.value["column"].line if "column" in body.value else member.line
            problems.add(at, where, f"the file has no column {type_.header!r}{nearest(type_.header, header)}")
        columns[name] = type_
    for heading in header:
        if heading not in columns and _NAME.fullmatch(heading) and heading not in _RESERVED:
            columns[heading] = ColumnType(heading, "text", missing=form.missing)
    return columns


def _column_type(
    name: str, body: _Node, where: str, form: Format, problems: _Problems, without: Sequence[str] = ()
) -> ColumnType:
    allowed = "column type missing required format timezone ambiguous decimal_mark true false trim".split()
    if not without:
        _check_keys(body, allowed, where, problems)
    parts: dict[str, _Node] = body.value
    kind = str(parts["type"].value) if "type" in parts else "text"
    if kind not in _TYPES:
        problems.add(parts["type"].line, where, f"there is no type {kind!r}{nearest(kind, _TYPES)}")
        kind = "text"
    zone = str(parts["timezone"].value) if "timezone" in parts else None
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            problems.add(
                parts["timezone"].line, where, f"there is no time zone {zone!r}; write UTC or one like Europe/Berlin"
            )
            zone = None
    mark = str(parts["decimal_mark"].value) if "decimal_mark" in parts else "."
    if mark not in (".", ","):
        problems.add(parts["decimal_mark"].line, where, f"expected decimal_mark '.' or ',', found {mark!r}")
        mark = "."
    formats = _formats(parts["format"], kind, where, problems) if "format" in parts else ("iso",)
    ambiguous = str(parts["ambiguous"].value) if "ambiguous" in parts else None
    if ambiguous not in (None, "earlier", "later"):
        problems.add(parts["ambiguous"].line, where, f"expected ambiguous: earlier or later, found {ambiguous!r}")
    flags = {}
    for flag, otherwise in (("required", False), ("trim", True)):
        value = parts[flag].value if flag in parts else otherwise
        if not isinstance(value, bool):
            problems.add(parts[flag].line, where, f"expected {flag}: true or false, found {value!r}")
            value = otherwise
        flags[flag] = value
    missing = frozenset((*_texts(parts["missing"], where, problems), "")) if "missing" in parts else form.missing
    words = _words(parts, where, problems)
    return ColumnType(
        header=str(parts["column"].value) if "column" in parts else name,
        type=kind,
        missing=missing,
        required=flags["required"],
        trim=flags["trim"],
        formats=formats,
        timezone=zone,
        ambiguous=ambiguous,
        decimal_mark=mark,
        true_words=words["true"],
        false_words=words["false"],
    )


def _words(parts: Mapping[str, _Node], where: str, problems: _Problems) -> dict[str, frozenset[str]]:
    """What is read as true and as false; a word that is given for one of them does not stand for the other."""
    given = {
        w: frozenset(t.lower() for t in _texts(parts[w], where, problems)) for w in ("true", "false") if w in parts
    }
    if both := given.get("true", frozenset()) & given.get("false", frozenset()):
        problems.add(parts["false"].line, where, f"{min(both)!r} is given for true and for false")
    return {
        "true": given.get("true", ColumnType.TRUE - given.get("false", frozenset())),
        "false": given.get("false", ColumnType.FALSE - given.get("true", frozenset())),
    }


_DIRECTIVES = frozenset("YymdbBjHIMSfpzaA%")
"""Of a pattern, what reads the same everywhere and gives a moment. `%Z` would be read and forgotten."""


_SAYS = {"b": "m", "B": "m", "y": "Y", "j": "md", "A": "a"}
"""Which part of a moment a directive says, as the directive that usually does."""


def _formats(node: _Node, kind: str, where: str, problems: _Problems) -> tuple[str, ...]:
    """The patterns of a column, one or a list. A pattern that cannot say which day, or which hour, is told."""
    formats = _texts(node, where, problems)
    for form in formats:
        known = ("iso", "epoch", "epoch_ms") if kind != "date" else ("iso",)
        if form not in known and (reason := _not_a_pattern(form, kind)):
            problems.add(node.line, where, f"format {form!r}: {reason}")
    if not formats:
        problems.add(node.line, where, "expected a format or a list of formats, found none")
    return formats or ("iso",)


def _not_a_pattern(form: str, kind: str) -> str | None:
    """Why a pattern cannot be used; None if it can."""
    found = re.findall(r"%(.?)", form)
    if not found:
        return (
            "expected iso or one like '%d.%m.%Y'"
            if kind == "date"
            else ("expected iso, epoch, epoch_ms or one like '%d/%m/%Y %H:%M'")
        )
    if unknown := sorted(set(found) - _DIRECTIVES):
        return f"there is no %{unknown[0]}; known are {' '.join('%' + d for d in sorted(_DIRECTIVES))}"
    given = [d for d in found if d != "%"]
    if twice := sorted({d for d in given if given.count(d) > 1}):
        return f"%{twice[0]} is given twice; write several formats as a list"
    said = [part for d in given for part in _SAYS.get(d, d)]
    if twice := sorted({f"%{part}" for part in said if said.count(part) > 1}):
        return f"what {' and '.join(twice)} stands for is given in two ways, which may differ; leave one out"
    day = {"m" if d in "bB" else "Y" if d == "y" else d for d in given}
    if not ({"Y", "m", "d"} <= day or {"Y", "j"} <= day):
        return "expected year, month and day (%Y %m %d, or %Y %j)"
    if ("p" in day) != ("I" in day) or {"I", "H"} <= day:
        return "expected %H (0 to 23), or %I (1 to 12) with %p"
    return None


def _tables(node: _Node | None, problems: _Problems) -> dict[str, dict[str, Value]]:
    tables: dict[str, dict[str, Value]] = {}
    for name, member in _mapping(node, "tables", problems).items():
        entries = _mapping(member, f"table {name}", problems)
        tables[name] = {}
        for text, entry in entries.items():
            if isinstance(entry.value, list | dict):
                problems.add(entry.line, f"table {name}", f"expected one value for {text!r}, found {_shown(entry)}")
            tables[name][text] = entry.value
    return tables


def _values(
    node: _Node | None, names: set[str], tables: Mapping[str, Mapping[str, Value]], problems: _Problems
) -> dict[str, Expression]:
    values: dict[str, Expression] = {}
    for name, member in _mapping(node, "values", problems).items():
        where = f"value {name}"
        if not _usable(name, member.line, where, problems):
            continue
        if name in names:
            problems.add(member.line, where, "there is a column or option of that name; choose another")
            continue
        rule = _rule(member, {*names, *values}, tables, where, problems)
        if isinstance(rule.rule, Expression):
            values[name] = rule.rule
        elif isinstance(rule.rule, dict | tuple):
            problems.add(member.line, where, "expected one value, found several")
        else:
            values[name] = constant_expression(rule.rule)
    return values


def _items(
    node: _Node | None,
    names: set[str],
    per_row: set[str],
    tables: Mapping[str, Mapping[str, Value]],
    contracts: Contracts,
    problems: _Problems,
) -> list[ItemRule]:
    if node is None:
        return []
    if not isinstance(node.value, list):
        problems.add(node.line, "items", f"expected a list (each entry begins with `- entity:`), found {_shown(node)}")
        return []
    return [r for n, member in enumerate(node.value, start=1)
            if (r := _item(n, member, names, per_row, tables, contracts, problems))]  # fmt: skip


def _item(
    number: int,
    node: _Node,
    names: set[str],
    per_row: set[str],
    tables: Mapping[str, Mapping[str, Value]],
    contracts: Contracts,
    problems: _Problems,
) -> ItemRule | None:
    where = f"items {number}"
    parts = _mapping(node, where, problems)
    if not parts:
        return None
    _check_keys(node, ("entity", "group_by", "where", "when", "fields"), where, problems)
    if "entity" not in parts or "fields" not in parts:
        problems.add(node.line, where, "expected `entity` and `fields`")
        return None
    entity = str(parts["entity"].value)
    streams = [n for n, c in contracts.items() if c.origin == "stream"]
    if entity not in streams:
        problems.add(parts["entity"].line, where, f"there is no entity {entity!r}{nearest(entity, streams)}")
        return None
    where = f"items {number} ({entity})"
    group_by = None
    if "group_by" in parts:
        group_by = _texts(parts["group_by"], f"{where}.group_by", problems)
        for name in group_by:
            if name not in per_row:
                hint = nearest(name, per_row)
                problems.add(parts["group_by"].line, f"{where}.group_by", f"there is no column or value {name!r}{hint}")
    if "when" in parts and group_by is None:
        problems.add(parts["when"].line, f"{where}.when", "is about groups; without group_by write `where`")
    conditions = {
        name: _condition(parts.get(name), names, tables, f"{where}.{name}", problems) for name in ("where", "when")
    }
    contract = contracts[entity]
    fields: dict[str, FieldRule] = {}
    for name, member in _mapping(parts["fields"], f"{where}.fields", problems).items():
        if name not in contract.field_names:
            problems.add(
                member.line, f"{where}.{name}", f"{entity} has no field {name!r}{nearest(name, contract.field_names)}"
            )
            continue
        fields[name] = _rule(member, names, tables, f"{where}.{name}", problems)
    lacking = [f.name for f in contract.fields if f.required and f.name not in fields]
    if lacking:
        problems.add(
            parts["fields"].line,
            f"{where}.fields",
            f"{', '.join(lacking)} must be given: {'it is' if len(lacking) == 1 else 'they are'} required in {entity}",
        )
    return ItemRule(number, node.line, entity, group_by, conditions["where"], conditions["when"], fields)


def _condition(
    node: _Node | None, names: set[str], tables: Mapping[str, Mapping[str, Value]], where: str, problems: _Problems
) -> Expression | None:
    if node is None:
        return None
    text = str(node.value).strip().removeprefix("=")
    try:
        return compile_expression(text, names, tables)
    except ExpressionError as error:
        problems.add(node.line, where, str(error))
        return None


def _rule(
    node: _Node, names: set[str], tables: Mapping[str, Mapping[str, Value]], where: str, problems: _Problems
) -> FieldRule:
    value = node.value
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value.values())).value is None:
            name = next(iter(value))
            problems.add(node.line, where, f"put quotes around it, '{{{name}}}': YAML reads bare braces as an object")
        return FieldRule(node.line, {k: _rule(v, names, tables, f"{where}.{k}", problems) for k, v in value.items()})
    if isinstance(value, list):
        return FieldRule(
            node.line, tuple(_rule(v, names, tables, f"{where}[{n}]", problems) for n, v in enumerate(value))
        )
    if not isinstance(value, str):
        return FieldRule(node.line, value)
    try:
        if value.startswith("="):
            return FieldRule(node.line, compile_expression(value[1:], names, tables))
        if "{" in value or "}" in value:
            return FieldRule(node.line, compile_template(value, names, tables))
    except ExpressionError as error:
        problems.add(node.line, where, str(error))
        return FieldRule(node.line, None)
    if node.plain and (
        re.fullmatch(r"[a-z_]+\(.*\)", value) and value.partition("(")[0] in {*FUNCTIONS, *AGGREGATES, "lookup"}
    ):
        problems.add(node.line, where, f"{value!r} is a constant text; write `= {value}` to compute it")
    return FieldRule(node.line, value)


def _names(rule: ItemRule) -> Iterator[str]:
    yield from rule.group_by or ()
    for condition in (rule.where, rule.when):
        yield from condition.names if condition else ()
    for field_rule in rule.fields.values():
        yield from _field_names(field_rule)


def _field_names(rule: FieldRule) -> Iterator[str]:
    match rule.rule:
        case Expression(names=names):
            yield from names
        case dict() as members:
            for member in members.values():
                yield from _field_names(member)
        case tuple() as members:
            for member in members:
                yield from _field_names(member)
