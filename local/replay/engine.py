"""The DuckDB of one replay: the file's rows as texts, the helpers, and running a mapping's queries over them.

It lies in a scratch folder, so that no file is too large for memory. Queries can reach nothing but the rows: no file,
no network, no variable of Python, no setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import TokenType

from contracts import Contract, Contracts
from contracts.validation import shortened
from local.replay.cells import nearest
from local.replay.helpers import (
    HELPERS,
    LOCATED,
    Refusals,
    changing,
    install,
    line_of,
    located,
    shadowed,
    tokens_of,
    type_of,
)
from local.replay.lines import Format, Record, Source, TableError, Unreadable, read_records
from local.replay.mapping import Folder, Problems, Query
from local.replay.shapes import shape

MEMORY = "400MB"
BATCH = 10_000
"""Rows that are held as Python objects at a time."""
FAILING_ROWS = 20
"""Rows on which a query may fail before it is the query that is wrong."""
_OF_A_ROW = (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException)
Value = Any
"""What DuckDB gives for a value: str, int, Decimal, bool, datetime, date, list, dict, None, ..."""


class Engine:
    """The rows of a file (`rows`, one for each record, with `_line`) and what queries make of them."""

    def __init__(self, scratch: Path, header: Sequence[str]) -> None:
        self.header = tuple(name for name in header if name)
        self.refusals = Refusals()
        self.groups: dict[int, dict[int, tuple[str, str]]] = {}
        """By query what `single` refused, by the first line of the rows that differ."""
        self.connection = duckdb.connect(
            str(scratch / "replay.duckdb"),
            config={
                "threads": 1,  # one order of rows for all, and Python's helpers run one at a time anyway
                "memory_limit": MEMORY,
                "temp_directory": str(scratch / "spill"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
                "errors_as_json": True,
            },
        )
        install(self.connection, self.refusals)
        columns = [(f"c{n}", name) for n, name in enumerate(header) if name]
        self._columns = [column for column, _ in columns]
        shown = "".join(f", {column} AS {quoted(name)}" for column, name in columns)
        self._view = f"CREATE OR REPLACE VIEW rows AS SELECT _line{shown} FROM _cells"
        self.connection.execute(
            f"CREATE TABLE _cells (_line BIGINT{''.join(f', {column} VARCHAR' for column in self._columns)});"
            f"{self._view};"
            "CREATE TABLE _places (line BIGINT, place BIGINT, size BIGINT);"
            "CREATE TABLE _rejects (line BIGINT, entity VARCHAR, field VARCHAR, reason VARCHAR)"
        )
        unstable = self.connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT' "
            "AND function_name NOT LIKE '\\_%' ESCAPE '\\'"
        ).fetchall()
        self._changing = (*(name for (name,) in unstable), "current_time", "current_timestamp", "localtime")
        self.connection.execute("SET enable_external_access = false; SET lock_configuration = true")

    def load(self, records: Iterable[Record | Unreadable], width: int, form: Format) -> None:
        """Take in the file behind its header. What cannot be read is rejected."""
        source = iter(records)
        while batch := list(islice(source, BATCH)):
            good, places, rejects = [], [], []
            for record in batch:
                places.append((record.line, record.at, record.size))
                if isinstance(record, Unreadable):
                    rejects.append((record.line, "", "", record.reason))
                elif len(record.cells) != width:
                    reason = f"expected {width} cells as in the header, found {len(record.cells)}"
                    if len(record.cells) == 1 and width > 1:
                        reason += f"; is the delimiter {form.delimiter!r}?"
                    rejects.append((record.line, "", "", reason))
                else:
                    good.append(record)
            names = ["_line", *self._columns]
            cells: list[list[Any]] = [[record.line for record in good]]
            for column in self._columns:
                n = int(column[1:])
                cells.append([_text(record.cells[n], form) for record in good])
            self._insert("_cells", names, cells)
            self.add("_places", places)
            self.add("_rejects", rejects)

    def add(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows to a table."""
        if rows:
            names = [column[0] for column in self.connection.execute(f"SELECT * FROM {table} LIMIT 0").description]
            self._insert(table, names, list(zip(*rows, strict=True)))

    def _insert(self, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
        self.connection.register("_batch", pa.table([pa.array(c) for c in columns], list(names)))
        self.connection.execute(f"INSERT INTO {table} SELECT * FROM _batch")
        self.connection.unregister("_batch")

    def scan(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, however many there are, while others run."""
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql, parameters)
            while batch := cursor.fetchmany(BATCH):
                yield from batch
        finally:
            cursor.close()

    def value(self, sql: str) -> Any:
        """The only value of a query."""
        found = self.connection.execute(sql).fetchone()
        assert found is not None
        return found[0]

    def options(self, mapping: Folder, texts: Mapping[str, str | None]) -> dict[str, Value]:
        """The values of options from the texts that `read_options` gives."""
        return {
            name: self.connection.execute(f"SELECT {type_of(mapping.options[name].kind, '$1')}", [text]).fetchall()[0][
                0
            ]
            for name, text in texts.items()
        }

    # Queries

    def check(self, mapping: Folder, options: Mapping[str, Value], contracts: Contracts) -> None:
        """Run all queries over no rows. Raises `MappingError` with all that is wrong with them."""
        problems = Problems(mapping.name)
        for number, query in enumerate(mapping.queries):
            file = query.file
            try:
                found = self._wrong_with(query, options)
                if found is None:
                    self._create(number, query, options)
                    self._check_columns(number, query, contracts[query.entity], file, problems)
                else:
                    problems.add(file, *found)
            except duckdb.Error as error:
                problems.add(file, *self._told(error, number, query))
        problems.stop_if_any()

    def run(self, mapping: Folder, options: Mapping[str, Value]) -> None:
        """Run all queries, each into its table `_made_N`, until no helper refuses a row any more.

        A row that any helper of any query refused is rejected, and all queries run again without it. Raises
        `MappingError` if a query fails on many rows, or on none in particular.
        """
        while True:
            self.refusals.groups.clear()
            self.groups = {}
            for number, query in enumerate(mapping.queries):
                self._create_from_good_rows(number, query, options, mapping.name)
                self.groups[number] = dict(self.refusals.groups)
                self.refusals.groups.clear()
            refused = self.refusals.cells
            if not refused:
                return
            self._reject([(line, column, why) for line, of in refused.items() for column, why in of.items()])
            refused.clear()

    def _reject(self, found: Sequence[tuple[int, str, str]]) -> None:
        """Take rows out of `rows`, each with the column and the reason."""
        self.add("_rejects", [(line, "", column, why) for line, column, why in found])
        self.connection.execute("DELETE FROM _cells WHERE _line IN (SELECT line FROM _rejects WHERE entity = '')")

    def _create_from_good_rows(self, number: int, query: Query, options: Mapping[str, Value], mapping: str) -> None:
        """Run a query; a row that makes DuckDB itself fail (a plain CAST, an overflow) costs that row only.

        DuckDB does not say which row that was: it is the last of the shortest begin of the file that fails.
        """
        for _ in range(FAILING_ROWS + 1):
            try:
                self._create(number, query, options)
                return
            except duckdb.Error as error:
                of_a_row = isinstance(error, _OF_A_ROW) and self.refusals.settings is None
                line, reason = self._told(error, number, query)
                culprit = self._first_that_fails(number, query, options) if of_a_row else None
            if culprit is None:
                break
            self._reject([(culprit, "", f"{query.file}, line {line}: {reason}")])
        problems = Problems(mapping)
        problems.add(query.file, line, reason)
        problems.stop()

    def _first_that_fails(self, number: int, query: Query, options: Mapping[str, Value]) -> int | None:
        """The line behind whose row a query begins to fail; None if it also fails without rows."""
        known = {line: dict(columns) for line, columns in self.refusals.cells.items()}
        low, high = 0, int(self.value("SELECT coalesce(max(_line), 0) FROM _cells"))
        try:
            while low < high:
                middle = (low + high) // 2
                self.connection.execute(f"{self._view} WHERE _line <= {middle}")
                try:
                    self._create(number, query, options)
                    low = middle + 1
                except duckdb.Error:
                    high = middle
        finally:
            self.connection.execute(self._view)
            self.refusals.cells.clear()
            self.refusals.cells.update(known)
            self.refusals.groups.clear()
            self.refusals.settings = None
        is_row = f"SELECT count(*) FROM _cells WHERE _line = {high}"
        return high if self.value(is_row) else None

    def _wrong_with(self, query: Query, options: Mapping[str, Value]) -> tuple[int, str] | None:
        """What keeps a text from being a query, with its line."""
        for line, name in changing(query.sql, self._changing, self.header):
            return line, f"{name} gives another result at each run, so that sending again would change what was sent"
        for line, name in shadowed(query.sql, self.header):
            return line, f"{name!r} is a column of the file, which * gives already; choose another name"
        statements = self.connection.extract_statements(query.sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return 1, f"expected one SELECT, found {len(statements)} statements, or one of another kind"
        for name in sorted(statements[0].named_parameters):
            if name not in options:
                return line_of(query.sql, name), f"there is no option ${name}{nearest(name, options)}"
        return None

    def _create(self, number: int, query: Query, options: Mapping[str, Value]) -> None:
        (statement,) = self.connection.extract_statements(query.sql)
        body = _without_end(located(query.sql, self.header))
        given = {name: options[name] for name in statement.named_parameters}
        self.connection.execute(f"{_CREATE.format(number)}\n{body}\n", given)

    def _check_columns(self, number: int, query: Query, contract: Contract, file: str, problems: Problems) -> None:
        columns = {c[0]: str(c[1]) for c in self.connection.execute(f"FROM _made_{number} LIMIT 0").description}
        line = columns.pop("_line", None)
        if line is None:
            problems.add(file, 1, "expected a column _line: `_line`, or `list(_line) AS _line` with GROUP BY")
        elif line not in ("BIGINT", "BIGINT[]"):
            problems.add(
                file, line_of(query.sql, "_line"), f"expected _line to be a line or a list of lines, found {line}"
            )
        for name, type_ in columns.items():
            at = line_of(query.sql, name)
            if name not in contract.field_names:
                problems.add(file, at, f"{contract.name} has no field {name!r}{nearest(name, contract.field_names)}")
            elif re.search(r"\b(DOUBLE|FLOAT)\b", type_):
                hint = "`/` and avg() make one: use divide(x, y, 2), or CAST(... AS DECIMAL(18, 2))"
                problems.add(file, at, f"{name} is a {type_}, which is not exact; {hint}")
        if lacking := [f.name for f in contract.fields if f.required and f.name not in columns]:
            verb = "it is" if len(lacking) == 1 else "they are"
            problems.add(file, 1, f"{', '.join(lacking)} must be given: {verb} required in {contract.name}")

    def _told(self, error: duckdb.Error, number: int, query: Query) -> tuple[int, str]:
        """What DuckDB says about a query: the line in its file, and what to do."""
        settings, self.refusals.settings = self.refusals.settings, None
        if settings is not None:
            return line_of(query.sql, settings.partition("(")[0]), settings
        said = _details(error)
        message, name = str(said.get("exception_message", error)), str(said.get("name", ""))
        line = line_of(query.sql, name) if name else 1
        if "position" in said:
            parsed = said.get("exception_type") == "Parser"  # before anything was put around it
            text = f"\n{query.sql}" if parsed else f"{_CREATE.format(number)}\n{located(query.sql, self.header)}"
            line = max(1, text.encode()[: int(said["position"]) + parsed].count(b"\n"))
        missing = said.get("error_subtype") == "COLUMN_NOT_FOUND"
        if '"_line"' in message and (name == "_line" or not missing):
            return line, (
                f"a helper that reads a cell ({', '.join(LOCATED[:3])}, ...) needs the `_line` of the row here: "
                "read cells before GROUP BY, inside an aggregate, or in a subquery that also selects _line"
            )
        if missing:
            return line, f"there is no column {name!r}{nearest(name, (*self.header, '_line'))}"
        if said.get("error_subtype") == "MISSING_ENTRY" and "Function" in str(said.get("type")) and name.isidentifier():
            near = [str(c) for c in str(said.get("candidates", "")).split(",") if c and not c.startswith("_")]
            return line, f"there is no function {name!r}{nearest(name, (*HELPERS, *near))}"
        if said.get("error_subtype") == "MISSING_ENTRY" and said.get("type") == "Table":
            return line, f"there is no table {name!r}; the rows of the file are in the table `rows`"
        if isinstance(error, _OF_A_ROW):
            message = _without_values(message)
        if isinstance(error, duckdb.ConversionException):
            message += f"; {', '.join(LOCATED[:4])}, ... read cells, try_cast gives NULL"
        return line, shortened(message.replace(", _at := NULL, _column := ''", "").replace("\n", " ").strip(), 400)


_CREATE = "CREATE OR REPLACE TABLE _made_{} AS"


def _without_end(sql: str) -> str:
    """A query without the semicolon behind it."""
    words = tokens_of(sql)
    while words and words[-1].token_type == TokenType.SEMICOLON:
        sql = sql[: words[-1].start] + sql[words[-1].end + 1 :]
        words.pop()
    return sql


def _without_values(message: str) -> str:
    """What DuckDB says about a row, without the texts and numbers of the row; of a helper, what it says."""
    message = re.sub(r".*occurred while executing the UDF: \w+: (.*?)\s+At:.*", r"\1", message, flags=re.DOTALL)
    message = re.sub(r"with value \S+", "with its value", message.partition("\n")[0])
    message = re.sub(r"'[^']*'|\"[^\"]*\"", lambda found: shape(found[0][1:-1]), message)
    return re.sub(r" ?\([-\d.]+ [-+*/%] [-\d.]+\)|(?<![\w(])-?\d{4,}(\.\d+)?", "", message)


def _details(error: duckdb.Error) -> dict[str, Any]:
    """What DuckDB says as JSON, behind the kind of error."""
    text = str(error)
    try:
        found = json.loads(text[text.index("{") :])
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}


def _text(cell: str, form: Format) -> str | None:
    stripped = cell.strip()
    if stripped in form.missing:
        return None
    return stripped if form.trim else cell


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def read_header(source: Source, form: Format) -> tuple[tuple[str, ...], Iterator[Record | Unreadable]]:
    """The headings of the file, empty ones too, and what follows. Raises `TableError` if it has no usable header."""
    records = read_records(source, form)
    first = next(records, None)
    if first is None or isinstance(first, Unreadable):
        reason = f": {first.reason}" if first else ""
        raise TableError(f"the file has no header line{reason}")
    names = tuple(c.strip().removeprefix("\ufeff") for c in first.cells)
    if any("\0" in name for name in names):
        raise TableError(f"line {first.line}: the header holds U+0000; say encoding in file.yaml (utf-16-le?)")
    other = next((c for c in ("\t", ";", "|", ",") if c != form.delimiter and c in names[0]), None)
    if len(names) == 1 and other is not None:
        shown = "tab" if other == "\t" else other
        raise TableError(
            f"line {first.line}: with delimiter {form.delimiter!r} the header is the one column {names[0][:60]!r}; "
            f'say  delimiter: "{shown}"  in file.yaml of the mapping'
        )
    lower = [n.lower() for n in names]
    if twice := next((n for n in names if n and lower.count(n.lower()) > 1), None):
        raise TableError(
            f"line {first.line}: the header has {twice!r} more than once (small and capital letters are the same in "
            "SQL); rename one of the columns in the file"
        )
    if "_line" in lower:
        raise TableError(f"line {first.line}: the header has '_line', the name of the line number; rename the column")
    return names, records
