"""The DuckDB of one replay: the file's rows as texts, and a mapping's queries over them.

Queries can reach nothing but the rows: no file, no network, no variable of Python, no setting.
"""

from __future__ import annotations

import copy
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import duckdb
import pyarrow as pa

from contracts import Contract, Contracts
from contracts.validation import shortened
from lakehouse.storage.sql import quoted
from local.replay.cells import nearest
from local.replay.helpers import HELPERS, LOCATED, Refusals, changing, install, line_of, located, shadowed, type_of
from local.replay.lines import Format, Record
from local.replay.mapping import Folder, MappingError, Problems, Query
from local.replay.money import shape

BATCH = 10_000
"""Rows that are kept as Python objects at a time."""
FAILING_ROWS = 20
"""Rows on which DuckDB itself may fail before it is the query that is wrong."""
_OF_A_ROW = (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException)
Value = Any
"""What DuckDB gives for a value: str, int, Decimal, bool, datetime, date, list, dict, None, ..."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row or an item that cannot be used. `text` is the row as written, or the first row of the item."""

    line: int
    entity: str
    field: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """What a query made of some lines: values by field, in the order of the lines."""

    lines: Sequence[int]
    values: Mapping[str, Value]


class Engine:
    """The rows of a file (`rows`, one for each record, with `_line`) and what queries make of them."""

    def __init__(self, header: Sequence[str]) -> None:
        self.header = tuple(name for name in header if name)
        self.refusals = Refusals()
        self.rejects: list[Reject] = []
        self.records = 0
        """How many records were read, the rejected ones included."""
        self.failing_rows = 0
        self.connection = duckdb.connect(
            config={
                "threads": 1,  # one order of rows for all, and Python's helpers run one at a time anyway
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
                "errors_as_json": True,
            }
        )
        install(self.connection, self.refusals)
        self._places = [n for n, name in enumerate(header) if name]
        shown = "".join(f", c{n} AS {quoted(header[n])}" for n in self._places)
        self._view = f"CREATE OR REPLACE VIEW rows AS SELECT _line{shown} FROM _cells"
        self.connection.execute(
            f"CREATE TABLE _cells (_line BIGINT, _text VARCHAR{''.join(f', c{n} VARCHAR' for n in self._places)});"
            f"{self._view}"
        )
        unstable = self.connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT' "
            "AND function_name NOT LIKE '\\_%' ESCAPE '\\'"
        ).fetchall()
        self._changing = (*(name for (name,) in unstable), "current_time", "current_timestamp", "localtime")
        self.connection.execute("SET enable_external_access = false; SET lock_configuration = true")

    def load(self, records: Iterable[Record], form: Format) -> None:
        """Add the records of the file. What cannot be read is rejected."""
        source: Iterator[Record] = iter(records)
        while batch := list(islice(source, BATCH)):
            self.records += len(batch)
            self.rejects += [Reject(r.line, "", "", r.reason, r.text) for r in batch if r.reason]
            good = [r for r in batch if not r.reason]
            columns = [[r.line for r in good], [r.text for r in good]]
            columns += [[_text(r.cells[n], form) for r in good] for n in self._places]
            types = [pa.int64(), *[pa.string()] * (len(columns) - 1)]
            arrays = [pa.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
            self.connection.register("_batch", pa.table(arrays, [str(n) for n in range(len(arrays))]))
            self.connection.execute("INSERT INTO _cells SELECT * FROM _batch")
            self.connection.unregister("_batch")

    def lines(self) -> dict[int, str]:
        """The rows that are not rejected, as written, by line."""
        return dict(self.connection.execute("SELECT _line, _text FROM _cells").fetchall())

    def options(self, mapping: Folder, texts: Mapping[str, str | None]) -> dict[str, Value]:
        """The values of options from the texts that `read_options` gives."""

        def value(name: str, text: str | None) -> Value:
            sql = f"SELECT {type_of(mapping.options[name].kind, '$1')}"
            return self.connection.execute(sql, [text]).fetchall()[0][0]

        return {name: value(name, text) for name, text in texts.items()}

    def check(self, mapping: Folder, options: Mapping[str, Value], contracts: Contracts) -> None:
        """Run all queries over no rows. Raises `MappingError` with all that is wrong with them."""
        problems = Problems(mapping.name)
        for query in mapping.queries:
            try:
                found = self._wrong_with(query, options)
                if found is None:
                    self._check_columns(query, self._execute(query, options), contracts[query.entity], problems)
                else:
                    problems.add(query.file, *found)
            except duckdb.Error as error:
                problems.add(query.file, *self._explained(error, query))
        problems.stop_if_any()

    def run(self, mapping: Folder, options: Mapping[str, Value]) -> list[list[Made]]:
        """What each query makes, in order of the lines.

        A row that a helper of any query refuses is rejected, and all queries run again without it, until none is
        refused any more. Raises `MappingError` if a query fails.
        """
        while True:
            made = [self._made(query, options, mapping.name) for query in mapping.queries]
            refused = self.refusals.cells
            if not refused:
                return made
            self._reject(refused)
            refused.clear()

    def _reject(self, refused: Mapping[int, Mapping[str, str]]) -> None:
        """Take rows out of `rows`, each with columns and reasons."""
        lines = ", ".join(map(str, refused))
        gone = self.connection.execute(f"DELETE FROM _cells WHERE _line IN ({lines}) RETURNING _line, _text")
        for line, text in gone.fetchall():
            self.rejects += [Reject(line, "", column, why, text) for column, why in refused[line].items()]

    def _made(self, query: Query, options: Mapping[str, Value], mapping: str) -> list[Made]:
        try:
            result = self._execute(query, options)
            names = [column[0] for column in result.description]
            rows = result.fetchall()
        except duckdb.Error as error:
            return self._made_without_culprit(error, query, options, mapping)
        found = []
        for row in rows:
            values = dict(zip(names, row, strict=True))
            lines = values.pop("_line")
            lines = lines if isinstance(lines, list) else [lines]
            if not lines or None in lines:
                raise MappingError(
                    f"{mapping}/{query.file}, line 1: an item has no _line; take it from the rows that the item is of"
                )
            found.append(Made(sorted(lines), values))
        return sorted(found, key=lambda made: (made.lines[0], repr(made.values)))

    def _made_without_culprit(
        self, error: duckdb.Error, query: Query, options: Mapping[str, Value], mapping: str
    ) -> list[Made]:
        """Reject the row on which DuckDB itself fails (a plain CAST, an overflow), and go on. DuckDB does not say which
        it is: it is the last of the shortest begin of the file that fails."""
        of_a_row = isinstance(error, _OF_A_ROW) and self.refusals.settings is None
        line, reason = self._explained(error, query)
        lines = sorted(self.lines())
        known = copy.deepcopy(self.refusals.cells)
        first = bisect_left(lines, True, key=lambda last: self._fails(last, query, options)) if of_a_row else None
        self.connection.execute(self._view)
        self.refusals.cells, self.refusals.settings = known, None
        if first is None or first == len(lines) or self.failing_rows == FAILING_ROWS:
            problems = Problems(mapping)
            problems.add(query.file, line, reason)
            problems.stop()
        self.failing_rows += 1
        self._reject({lines[first]: {"": f"{query.file}, line {line}: {reason}"}})
        return self._made(query, options, mapping)

    def _fails(self, last: int, query: Query, options: Mapping[str, Value]) -> bool:
        self.connection.execute(f"{self._view} WHERE _line <= {last}")
        try:
            self._execute(query, options).fetchall()
        except duckdb.Error:
            return True
        return False

    def _execute(self, query: Query, options: Mapping[str, Value]) -> duckdb.DuckDBPyConnection:
        (statement,) = self.connection.extract_statements(located(query.sql, self.header))
        given = {name: options[name] for name in statement.named_parameters}
        return self.connection.execute(statement, given)

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

    def _check_columns(self, query: Query, found: Any, contract: Contract, problems: Problems) -> None:
        columns = {c[0]: str(c[1]) for c in found.description}
        line = columns.pop("_line", None)
        if line is None:
            problems.add(query.file, 1, "expected a column _line: `_line`, or `list(_line) AS _line` with GROUP BY")
        elif line not in ("BIGINT", "BIGINT[]"):
            at = line_of(query.sql, "_line")
            problems.add(query.file, at, f"expected _line to be a line or a list of lines, found {line}")
        for name, type_ in columns.items():
            at = line_of(query.sql, name)
            if name not in contract.field_names:
                hint = nearest(name, contract.field_names)
                problems.add(query.file, at, f"{contract.name} has no field {name!r}{hint}")
            elif re.search(r"\b(DOUBLE|FLOAT)\b", type_):
                hint = "`/` and avg() make one: use divide(x, y, 2), or CAST(... AS DECIMAL(18, 2))"
                problems.add(query.file, at, f"{name} is a {type_}, which is not exact; {hint}")
        if lacking := [f.name for f in contract.fields if f.required and f.name not in columns]:
            verb = "it is" if len(lacking) == 1 else "they are"
            problems.add(query.file, 1, f"{', '.join(lacking)} must be given: {verb} required in {contract.name}")

    def _explained(self, error: duckdb.Error, query: Query) -> tuple[int, str]:
        """What DuckDB says about a query: the line in its file, and what to do."""
        settings, self.refusals.settings = self.refusals.settings, None
        if settings is not None:
            return line_of(query.sql, settings.partition("(")[0]), settings
        said = _details(error)
        message, name = str(said.get("exception_message", error)), str(said.get("name", ""))
        line = line_of(query.sql, name) if name else 1
        if "position" in said:
            text = query.sql if said.get("exception_type") == "Parser" else located(query.sql, self.header)
            line = text.encode()[: int(said["position"])].count(b"\n") + 1
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
            hint = f"{', '.join(LOCATED[:4])}, ... reject a row that does not fit, try_cast gives NULL for it"
            message = f"{_without_values(message)}; {hint}"
        return line, shortened(message.replace(", _at := NULL, _column := ''", "").replace("\n", " ").strip(), 400)


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
