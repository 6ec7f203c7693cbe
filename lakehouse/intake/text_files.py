"""Files that other systems drop, as Arrow tables of text: NDJSON and CSV, plain or packed with gzip.

Numbers keep each digit that was written. A line that is no row, or no UTF-8, becomes a row with a problem; a
file that cannot be read at all raises. Files are read in blocks, so that none has to fit into memory. What a row must
hold belongs to `validation`; Parquet belongs to `reading`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from lakehouse.storage.sql import literal

if TYPE_CHECKING:
    from contracts import Contract

NDJSON = (".ndjson", ".jsonl", ".json")
CSV = ".csv"

Row = dict[str, str | None]
T = TypeVar("T")

_BUFFER = 256 << 10  # bytes that are unpacked at once
_ROWS, _CHARACTERS = 20_000, 4 << 20  # of one table
LONGEST_LINE = 16 << 20
"""Bytes of a line of JSON, and characters of a row of CSV, that are read: a file with a longer one is refused, so that
memory has a bound whatever a few kilobytes of gzip unpack to. The engine holds some fifteen copies of a value while its
row is checked, matched with stored keys and written: at the default memory of 512 MB a key of 16 MB passes in every
form, one of 32 MB in none."""
MOST_UNPACKED = 256 << 20
"""Bytes that any file may unpack to: what is smaller costs too little to ask where it comes from."""
MOST_TIMES = 200
"""How often its packed size a larger file may unpack to. Rows that people and systems write pack to a twentieth, at
best to some hundredth; only what repeats itself without end comes near the thousandth that gzip can do."""

_KEPT = "surrogateescape"  # how bytes that are no UTF-8 are read, so that only their line pays
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

# A quote that begins a text and is followed by a colon and a number is taken for the end of a name: what is made of
# that is no JSON, and its line is not plain.
_NUMBER = r'":( ?)(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)([,}])'
_QUOTED_NUMBER = r'":\1"\2"\3'
_DOUBTFUL = r'[\\\t]|\s:|, ?[\]}]|  [\]}]|":(?:[^ "{\[tfn]| [^"{\[tfn]| ?n[^u])'
PLAIN_LINES = (
    f"(SELECT _row, CASE WHEN NOT regexp_matches(quoted, {literal(_DOUBTFUL)}) AND json_valid(quoted) THEN quoted END "
    f"AS plain FROM (SELECT _row, regexp_replace(line, {literal(_NUMBER)}, {literal(_QUOTED_NUMBER)}, 'g') AS quoted "
    "FROM rows_read))"
)
"""A query over `rows_read`, a table of `json_lines`: _row, and `plain`, the line if a JSON reader that knows only
doubles loses nothing of it. Numbers that are members are put between quotes, as they were written. What DuckDB would
take and JSON does not have (a comma at the end, NaN, 01) is not in a plain line, nor is any backslash."""


class NotReadable(ValueError):
    """A file that is not what its name says; the message says what was expected and found."""


def read_text(contract: Contract, columns: Sequence[str], name: str, path: Path, first: int = 0) -> Iterator[pa.Table]:
    """The rows of a dropped file named `name`: _row (from 1), _problem and `columns`, all text but the first. The first
    `first` rows of CSV are left out.

    Raises `NotReadable`, or what gzip raises for a file that is not packed or cut off.
    """
    if is_ndjson(name):
        with opened(path, is_packed(name)) as lines:
            yield from in_tables(columns, json_rows(contract, lines))
    elif name.removesuffix(".gz").endswith(CSV):
        yield from read_csv(contract, columns, path, is_packed(name), first)
    else:
        raise NotReadable(
            f"expected an object named .parquet, .ndjson, .jsonl, .json or .csv (the last four also .gz), found {name}"
        )


def is_ndjson(name: str) -> bool:
    """Whether a file of that name holds a JSON object a line."""
    return name.removesuffix(".gz").endswith(NDJSON)


def is_packed(name: str) -> bool:
    """Whether a file of that name is packed with gzip."""
    return name.endswith(".gz")


def meaning(contract: Contract) -> dict[str, str]:
    """The column that each known name stands for: a field by name or alias; `_deleted` marks a removal."""
    return {alias: f.name for f in contract.fields for alias in (*f.aliases, f.name)} | {"_deleted": "_op"}


def resolve(contract: Contract, given: Sequence[str]) -> dict[str, str | None]:
    """Which column each given name means; None is unknown.

    Raises `NotReadable` for a field that is given twice."""
    known = meaning(contract)
    resolved = {name: known.get(name) for name in given}
    targets = [t for t in resolved.values() if t is not None]
    if twice := sorted({t for t in targets if targets.count(t) > 1}):
        raise NotReadable(f"expected each field once, found {', '.join(twice)} by name and by alias")
    return resolved


NO_BOOLEAN = "?"
"""What stands before a text of `_deleted` that is neither true nor false; `validation` refuses such a row."""


def removal(text: str | None) -> str | None:
    """The operation that a text of `_deleted` means: `remove`, or None for a row that is there."""
    if text in (None, "", "false"):
        return None
    return "remove" if text == "true" else f"{NO_BOOLEAN}{text}"


def removal_sql(text: str) -> str:
    """The same of a column of text."""
    return f"CASE WHEN {text} = 'true' THEN 'remove' WHEN {text} NOT IN ('', 'false') THEN '{NO_BOOLEAN}' || {text} END"


@contextmanager
def opened(path: Path, packed: bool) -> Iterator[Iterator[str]]:
    """The lines of the file, with their ends; bytes that are no UTF-8 are lone surrogates, see `_not_text`. One that is
    too long comes in pieces, see `_bounded`. Reading raises what gzip raises, and `NotReadable` as `_Unpacked` does."""
    binary = io.BufferedReader(_Unpacked(path), _BUFFER) if packed else path.open("rb")
    with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="", errors=_KEPT) as text:
        yield iter(partial(text.readline, LONGEST_LINE + len("\r\n")), "")


def _bounded(line: str) -> str:
    """The line. Raises `NotReadable` if it has more than `LONGEST_LINE` bytes."""
    size = len(line) if line.isascii() else len(line.encode(errors=_KEPT))
    if size > LONGEST_LINE:
        _check_length(size - len(line) + len(line.rstrip("\r\n")))
    return line


def _check_length(size: int) -> None:
    if size > LONGEST_LINE:
        raise NotReadable(f"expected lines of at most {LONGEST_LINE >> 20} MB, found one that is longer")


def _not_text(text: str) -> str | None:
    """What keeps a text that was read with `_KEPT` from being a row; None if nothing does."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"not a row: expected text in UTF-8, found the byte 0x{ord(text[error.start]) - 0xDC00:02x}"
    return None


def _shown(text: str) -> str:
    """A text that was read with `_KEPT`, with U+FFFD for what is no UTF-8."""
    return text.encode(errors=_KEPT).decode(errors="replace")


class _Unpacked(io.RawIOBase):
    """What a file of gzip unpacks to, up to a bound. Reading raises `NotReadable` beyond it, or what gzip raises."""

    def __init__(self, path: Path) -> None:
        self._source = gzip.open(path, "rb")  # noqa: SIM115 - closed by close
        self._most = max(MOST_UNPACKED, MOST_TIMES * path.stat().st_size)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._source.readinto(buffer)
        self._read += count
        if self._read > self._most:
            raise NotReadable(
                f"expected a file that unpacks to at most {MOST_UNPACKED >> 20} MB or {MOST_TIMES} times its size, "
                "found more"
            )
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


def in_tables(columns: Sequence[str], rows: Iterable[tuple[int, Row, str | None]]) -> Iterator[pa.Table]:
    """Rows (number, values, problem) as tables of some thousands, or of fewer that are long."""
    for batch in _batches(rows, lambda row: sum(map(len, filter(None, row[1].values())))):
        yield _table(columns, batch)


def _batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in lists of at most `_ROWS`, or of fewer that have `_CHARACTERS` together."""
    batch: list[T] = []
    together = 0
    for item in items:
        batch.append(item)
        together += size(item)
        if len(batch) >= _ROWS or together >= _CHARACTERS:
            yield batch
            batch, together = [], 0
    if batch:
        yield batch


def _table(columns: Sequence[str], batch: list[tuple[int, Row, str | None]]) -> pa.Table:
    values = [row for _, row, _ in batch]
    arrays = {
        "_row": pa.array([n for n, _, _ in batch], pa.int64()),
        "_problem": pa.array([problem for _, _, problem in batch], pa.string()),
        **{c: pa.array([row.get(c) for row in values], pa.string()) for c in columns},
    }
    return pa.table(arrays)


# ---- NDJSON


def json_rows(
    contract: Contract, lines: Iterable[str], wanted: Container[int] | None = None
) -> Iterator[tuple[int, Row, str | None]]:
    """The rows of lines of JSON (those with a `wanted` number, if given); blank lines are none."""
    number = 0
    names = lru_cache(maxsize=1000)(lambda given: resolve(contract, given))
    for line in lines:
        if not line.strip():
            continue
        number += 1
        if wanted is None or number in wanted:
            yield number, *_json_row(names, line)


def _json_row(names: Callable[[tuple[str, ...]], dict[str, str | None]], line: str) -> tuple[Row, str | None]:
    if problem := _not_text(line):
        return {"_extra": _shown(line.rstrip("\r\n"))}, problem
    try:
        # Numbers stay as they were written: no digit is lost on the way to a decimal.
        item = json.loads(line, parse_float=str, parse_int=str, parse_constant=_refuse, object_pairs_hook=_once)
        if not isinstance(item, dict):
            raise NotReadable(f"expected a JSON object, found {type(item).__name__}")
        if _SURROGATE.search(line):
            _refuse_surrogates(item)
        return _row(names(tuple(item)), item), None
    except (ValueError, RecursionError) as error:
        return {"_extra": line.rstrip("\r\n")}, f"not a row: {error}"


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object, at any depth; one that is given twice would hide what the other says."""
    found = dict(members)
    if twice := len(members) - len(found):
        # Not by name: what is a member may be a value of somebody's map.
        raise NotReadable(f"expected each member once, found {twice} given twice")
    return found


def _refuse_surrogates(item: dict[str, Any]) -> None:
    try:
        _compact(item).encode()
    except UnicodeEncodeError as error:
        raise NotReadable("expected Unicode text, found a lone surrogate") from error


def _refuse(constant: str) -> str:
    raise NotReadable(f"expected a number, found {constant}")


def _row(names: dict[str, str | None], item: dict[str, Any]) -> Row:
    row: Row = {}
    extra = {}
    for given, value in item.items():
        column = names[given]
        if column is None:
            extra[given] = value
        elif column == "_op":
            row["_op"] = removal(value if value is None or isinstance(value, str) else _compact(value))
        else:
            row[column] = value if value is None or isinstance(value, str) else _compact(value)
    if extra:
        row["_extra"] = _extra(extra)
    return row


def _extra(members: dict[str, Any]) -> str:
    return json.dumps(members, ensure_ascii=False, sort_keys=True)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_lines(path: Path, packed: bool, first: int = 0) -> Iterator[pa.Table]:
    """The lines of a file of JSON behind the first `first`, in tables: _row and `line`, null where that is no UTF-8;
    blank lines are none. Raises as `opened` says, and `NotReadable` for a line of more than `LONGEST_LINE` bytes."""
    with opened(path, packed) as source:
        deque(islice(filter(str.strip, source), first), maxlen=0)
        numbered = enumerate(filter(str.strip, map(_bounded, source)), start=first + 1)
        for batch in _batches(numbered, lambda each: len(each[1])):
            rows, lines = zip(*batch, strict=True)
            try:
                texts = pa.array(lines, pa.string())
            except UnicodeEncodeError:
                texts = pa.array([None if _not_text(line) else line for line in lines], pa.string())
            yield pa.table({"_row": pa.array(rows, pa.int64()), "line": texts})


# ---- CSV


def read_csv(
    contract: Contract, columns: Sequence[str], path: Path, packed: bool, first: int = 0
) -> Iterator[pa.Table]:
    """The rows behind the first `first` of a CSV file with a header (RFC 4180; a lone carriage return ends lines, too).

    Raises `NotReadable`, also for a row of more than `LONGEST_LINE` characters, or what gzip raises.
    """
    csv.field_size_limit(LONGEST_LINE)
    with opened(path, packed) as lines:
        record = _Record()
        reader = csv.reader(record.lines(lines), strict=True)
        form = _Form(contract, _header(reader), tuple(columns))
        record.size = 0
        rows = _numbered(reader, record)
        deque(islice(rows, first), maxlen=0)
        for batch in _batches(rows, itemgetter(0)):
            yield form.table([(number, values) for _, number, values in batch])


def _header(reader: Iterator[list[str]]) -> list[str]:
    """The names in the first row."""
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise NotReadable(f"expected a header line as RFC 4180 says, found: {error}") from error
    if not header:
        raise NotReadable("expected a header line with the column names, found none")
    if any(map(_not_text, header)):
        raise NotReadable("expected a header in UTF-8, found bytes that are none")
    return header


def _numbered(reader: Iterator[list[str]], record: _Record) -> Iterator[tuple[int, int, list[str]]]:
    """Characters, number and values of each row."""
    number = 0
    try:
        for values in reader:
            size, record.size = record.size, 0
            if values:
                number += 1
                yield size, number, values
    except csv.Error as error:
        raise NotReadable(f"expected CSV as RFC 4180 says, found in row {number + 1}: {error}") from error


class _Form:
    """How the rows of one CSV file become rows of text."""

    def __init__(self, contract: Contract, header: list[str], columns: tuple[str, ...]) -> None:
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise NotReadable(f"expected each column once in the header, found {len(twice)} of them twice")
        self.header = header
        self.columns = columns
        self.names = resolve(contract, header)
        if not set(contract.primary_key) <= set(self.names.values()):
            wanted = ", ".join(contract.primary_key)
            known = (
                ", ".join(sorted(column for column in self.names.values() if column)) or "none of the entity's fields"
            )
            # Not the names themselves: in a file without a header they are the values of its first row.
            raise NotReadable(f"expected a header with {wanted}, found one of {len(header)} columns with {known}")

    def table(self, rows: list[tuple[int, list[str]]]) -> pa.Table:
        """Rows (number, values) as a table: column by column, or row by row if one of them is unlike the header or no
        text."""
        try:
            by_name = dict(zip(self.header, zip(*(values for _, values in rows), strict=True), strict=True))
            return self._by_column([number for number, _ in rows], by_name)
        except ValueError:  # also UnicodeEncodeError
            return _table(self.columns, [(number, *self._row(values)) for number, values in rows])

    def _by_column(self, numbers: list[int], by_name: dict[str, tuple[str, ...]]) -> pa.Table:
        found = {
            c: _nothing_if_empty(pa.array(by_name[n], pa.string())) for n, c in self.names.items() if c is not None
        }
        if removed := next((name for name, column in self.names.items() if column == "_op"), None):
            found["_op"] = pa.array([removal(text) for text in by_name[removed]], pa.string())
        if unknown := [name for name, column in self.names.items() if column is None]:
            rows = zip(*(by_name[name] for name in unknown), strict=True)
            extra = [_extra({n: t or None for n, t in zip(unknown, row, strict=True)}) for row in rows]
            found["_extra"] = pa.array(extra, pa.string())
        nothing = pa.nulls(len(numbers), pa.string())
        texts = {c: found.get(c, nothing) for c in self.columns}
        return pa.table({"_row": pa.array(numbers, pa.int64()), "_problem": nothing, **texts})

    def _row(self, values: list[str]) -> tuple[Row, str | None]:
        if problem := next(filter(None, map(_not_text, values)), None):
            return {"_extra": _shown(json.dumps(values, ensure_ascii=False))}, problem
        if len(values) != len(self.header):
            problem = f"not a row: expected {len(self.header)} values as in the header, found {len(values)}"
            return {"_extra": json.dumps(values, ensure_ascii=False)}, problem
        return _row(self.names, {h: v or None for h, v in zip(self.header, values, strict=True)}), None


def _nothing_if_empty(texts: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


class _Record:
    """The lines of a text for a reader of records. Whoever reads sets `size` to 0 when a record is whole; more than
    `LONGEST_LINE` characters of one raise."""

    def __init__(self) -> None:
        self.size = 0

    def lines(self, lines: Iterator[str]) -> Iterator[str]:
        """The lines, counted."""
        for line in lines:
            self.size += len(line)
            if self.size > LONGEST_LINE:
                _check_length(self.size)
            yield line
