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
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from contracts import Contract

NDJSON = (".ndjson", ".jsonl", ".json")
CSV = ".csv"

Row = dict[str, str | None]

_BLOCK = 4 << 20  # bytes
_BUFFER = 256 << 10  # bytes that are unpacked at once
_ROWS, _CHARACTERS = 20_000, 4 << 20  # what is read row by row is handed on in tables of as many
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

_MARK = "\ufeff".encode()
_REPLACED = "\ufffd".encode()
_KEPT = "surrogateescape"  # how bytes that are no UTF-8 are read, so that only their line pays
_QUOTE, _NEWLINE = ord('"'), ord("\n")
_COLON, _SPACE, _MINUS, _POINT, _OBJECT = b": -.{"
_BACKSLASH, _TAB = b"\\", b"\t"
_NUMBER = 2
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _among(*groups: bytes) -> np.ndarray:
    """For each byte the number of the first group that has it, from 1; 0 for the others."""
    found = np.zeros(256, np.uint8)
    for number, group in reversed(list(enumerate(groups, start=1))):
        found[list(group)] = number
    return found


_VALUE_BEGINS = _among(b'"{[tfn', b"-0123456789")
_IN_NUMBER = _among(b"0123456789.").astype(bool)
_DIGIT = _among(b"0123456789").astype(bool)
_AFTER_NUMBER = _among(b",}").astype(bool)
_CLOSES = _among(b"}]").astype(bool)
_COMMA_OR_SPACE = _among(b", ").astype(bool)
_WHITE = _among(b" \t\r\n").astype(bool)
_OTHER_SCRIPT, _TEXT = 1, 2
_BLANK = np.full(256, _TEXT, np.uint8)
"""Whether a byte is white space (0), may be a part of it, or is text."""
_BLANK[list(b" \t\n\r\v\f\x1c\x1d\x1e\x1f")] = 0
_BLANK[0x80:] = _OTHER_SCRIPT
_AROUND_VALUES = np.frombuffer(b",\r\n", np.uint8)


class NotReadable(ValueError):
    """A file that is not what its name says; the message says what was expected and found."""


def read_text(contract: Contract, columns: Sequence[str], name: str, path: Path) -> Iterator[pa.Table]:
    """The rows of a dropped file named `name`: _row (from 1), _problem and `columns`, all text but the first.

    Raises `NotReadable`, or what gzip raises for a file that is not packed or cut off.
    """
    if is_ndjson(name):
        yield from in_tables(columns, json_rows(contract, opened(path, is_packed(name))))
    elif name.removesuffix(".gz").endswith(CSV):
        yield from read_csv(contract, columns, path, is_packed(name))
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


def opened(path: Path, packed: bool) -> IO[str]:
    """The file as text, line ends as they are; bytes that are no UTF-8 as lone surrogates, see `_not_text`."""
    return io.TextIOWrapper(_binary(path, packed), encoding="utf-8-sig", newline="", errors=_KEPT)


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


def _binary(path: Path, packed: bool) -> BinaryIO:
    return io.BufferedReader(_Unpacked(path), _BUFFER) if packed else path.open("rb")


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
    batch: list[tuple[int, Row, str | None]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(map(len, filter(None, row[1].values())))
        if len(batch) >= _ROWS or size >= _CHARACTERS:
            yield _table(columns, batch)
            batch, size = [], 0
    if batch:
        yield _table(columns, batch)


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
        row["_extra"] = json.dumps(extra, ensure_ascii=False, sort_keys=True)
    return row


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_lines(path: Path, packed: bool, first: int = 0) -> Iterator[pa.Table]:
    """The lines of a file of JSON in tables: _row, `line` and `plain`; tables of the first `first` only are left out.

    In a plain line a JSON reader that knows only doubles loses nothing: numbers that are members are put between
    quotes, as they were written. What such a reader would take and JSON does not have (a comma at the end, NaN, 01) is
    not in a plain line, nor is any backslash, nor a byte that is no UTF-8. Raises `NotReadable`, or what gzip raises.
    """
    before = 0
    with _binary(path, packed) as source:
        for block in _line_blocks(source):
            lines = _Lines(_as_text(block))
            before += len(lines.starts)
            if len(lines.starts) and before > first:
                _check_length(int((lines.ends - lines.starts).max()))
                rows = pa.array(np.arange(before + 1 - len(lines.starts), before + 1), pa.int64())
                line, plain = lines.quoted()
                yield pa.table({"_row": rows, "line": line, "plain": plain})


def _line_blocks(source: BinaryIO) -> Iterator[bytes]:
    """Pieces of a file that end where a line ends, each line with a newline at its end."""
    parts, size, first = [b""], 0, True  # parts of a line whose end was not read: searched once
    while read := source.read(_BLOCK):
        if first and size + len(read) >= len(_MARK):
            read, parts, size, first = (b"".join(parts) + read).removeprefix(_MARK), [], 0, False
        cut = read.rfind(b"\n") + 1
        if cut:
            yield _with_newlines(b"".join([*parts, read[:cut]]))
            parts, size = [], 0
        parts.append(read[cut:])
        size += len(parts[-1])
        _check_length(size)
    if size:
        yield _with_newlines(b"".join(parts).removeprefix(_MARK if first else b"")) + b"\n"


def _check_length(size: int) -> None:
    if size > LONGEST_LINE:
        raise NotReadable(f"expected lines of at most {LONGEST_LINE >> 20} MB, found one that is longer")


def _as_text(block: bytes) -> bytes:
    """The block with U+FFFD for what is no UTF-8; no line end is lost by it."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode(errors="replace").encode()
    return block


def _with_newlines(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block


class _Lines:
    """The lines of a block that are not blank, and what is in them, as places in the block."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.text = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(self.text == _NEWLINE)
        starts = np.concatenate(([0], ends[:-1] + 1))
        kept = ends > starts
        if (kept & (self.text[starts] != _OBJECT)).any():
            kept &= self._are_written(starts, ends)
        self.starts, self.ends = starts[kept], ends[kept]

    def _are_written(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Which lines hold more than white space, also that of other scripts."""
        kinds = _BLANK[self.text]
        written = np.bitwise_or.reduceat(kinds, starts)
        for place in np.flatnonzero(written == _OTHER_SCRIPT):
            written[place] = bool(self.block[starts[place] : ends[place]].decode().strip())
        found: np.ndarray = written != 0
        return found

    def quoted(self) -> tuple[pa.Array, pa.Array]:
        """The lines with quotes around the numbers that are members, and which lines are plain."""
        plain = np.ones(len(self.starts), bool)
        begins, ends, doubtful = _bare_numbers(self.text)
        plain[self._line_of(doubtful)] = False
        for byte in (_BACKSLASH, _TAB):
            if byte in self.block:
                plain[self._line_of(np.flatnonzero(self.text == byte[0]))] = False
        around = np.empty(2 * len(begins), np.int64)
        around[0::2], around[1::2] = begins, ends
        if _REPLACED in self.block:
            places = [found.start() for found in re.finditer(_REPLACED, self.block)]
            plain[self._line_of(np.array(places, np.int64))] = False
        text = _inserted(self.text, around, _QUOTE)
        # A line goes on to the next one: what is between them is white space, or makes it a line that is not JSON.
        starts = np.append(self.starts + np.searchsorted(around, self.starts), len(text))
        return _strings(text, starts, self.block), pa.array(plain)

    def _line_of(self, places: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.starts, places, side="right") - 1


def _bare_numbers(text: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the numbers that are members begin and end, and places of what is not surely a value of JSON.

    A member's value follows a quote, a colon and at most one space: inside of a string a quote has a backslash, so that
    these are not found there. A colon after white space is doubtful: the name of a member may end before it. `text`
    ends in a newline.
    """
    after = np.flatnonzero((text[:-1] == _QUOTE) & (text[1:] == _COLON)) + 2
    after = after[after < len(text) - 1]
    after += text[after] == _SPACE
    after = np.minimum(after, len(text) - 2)
    kind = _VALUE_BEGINS[text[after]]
    doubtful = [after[kind == 0], after[(text[after] == ord("n")) & (text[after + 1] != ord("u"))]]
    doubtful.append(np.flatnonzero(_WHITE[text[:-1]] & (text[1:] == _COLON)) + 1)
    begins = after[kind == _NUMBER]
    first = begins + (text[begins] == _MINUS)
    ends = first.copy()
    points = np.zeros(len(begins), np.int64)
    going = np.arange(len(begins))
    while len(going):
        there = text[ends[going]]
        points[going] += there == _POINT
        going = going[_IN_NUMBER[there]]
        ends[going] += 1
    wrong = (points > 1) | ~_DIGIT[text[first]] | ~_DIGIT[text[ends - 1]] | ~_AFTER_NUMBER[text[ends]]
    wrong |= (text[first] == ord("0")) & _DIGIT[text[first + 1]]
    doubtful.append(begins[wrong])
    doubtful.append(_closed_after_comma(text))
    return begins[~wrong], ends[~wrong], np.concatenate(doubtful)


def _closed_after_comma(text: np.ndarray) -> np.ndarray:
    """Where an object or a list ends after a comma, which some readers take, or after more than one space."""
    closing = np.flatnonzero(_CLOSES[text])
    closing = closing[closing > 1]
    before = closing - 1
    before -= text[before] == _SPACE
    found: np.ndarray = closing[_COMMA_OR_SPACE[text[before]]]
    return found


def _inserted(text: np.ndarray, places: np.ndarray, byte: int) -> np.ndarray:
    """The text with a byte put in before each of these places, which are in order."""
    found = np.full(len(text) + len(places), byte, np.uint8)
    old = np.ones(len(found), bool)
    old[places + np.arange(len(places))] = False
    found[old] = text
    return found


def _strings(text: np.ndarray, starts: np.ndarray, block: bytes) -> pa.Array:
    """The parts of a text between these places, as an Arrow array of strings."""
    places = pa.py_buffer(starts.astype(np.int32))
    found = pa.StringArray.from_buffers(len(starts) - 1, places, pa.py_buffer(text))
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:
        block.decode()  # says which byte is no text
        raise
    return found


# ---- CSV


def read_csv(contract: Contract, columns: Sequence[str], path: Path, packed: bool) -> Iterator[pa.Table]:
    """The rows of a CSV file with a header (RFC 4180; a lone carriage return ends a line, too).

    Raises `NotReadable`, also for a row of more than `LONGEST_LINE` characters, or what gzip raises.

    Blocks whose quotes are where RFC 4180 has them, with as many values in each row as in the header, are read at
    once; others row by row. After a quote elsewhere nobody but that reader knows where rows end, so it goes on alone.
    """
    with _binary(path, packed) as source:
        blocks = _csv_blocks(source)
        names, first = _header(next(blocks, b""))
        form = _Form(contract, names, tuple(columns))
        row = 0
        for block in chain([first], blocks):
            if not _quoted_regularly(block):
                rest = io.TextIOWrapper(
                    io.BufferedReader(_Chained(chain([block], blocks))), encoding="utf-8", newline="", errors=_KEPT
                )
                yield from in_tables(columns, form.one_by_one(rest, row))
                return
            table = form.at_once(block, row) if len(block) <= LONGEST_LINE else None
            if table is None:
                text = io.StringIO(block.decode(errors=_KEPT), newline="")
                for table in in_tables(columns, form.one_by_one(text, row)):
                    row += table.num_rows
                    yield table
            else:
                row += table.num_rows
                yield table


def _csv_blocks(source: BinaryIO) -> Iterator[bytes]:
    """Pieces of a file that end where a line ends outside of quotes, as long as quotes are where they belong."""
    parts: list[bytes] = []  # of a row whose end was not read: searched once
    size, inside = 0, np.False_
    while read := source.read(_BLOCK):
        ends = np.frombuffer(read, np.uint8) == _NEWLINE
        if inside or b'"' in read:
            quoted = np.bitwise_xor.accumulate(np.frombuffer(read, np.uint8) == _QUOTE) ^ inside
            ends &= ~quoted
            inside = quoted[-1]
        places = np.flatnonzero(ends)
        cut = int(places[-1]) + 1 if len(places) else 0
        if cut:
            yield b"".join([*parts, read[:cut]])
            parts, size = [], 0
        parts.append(read[cut:])
        size += len(parts[-1])
        if size > LONGEST_LINE:
            # A quote was opened and not closed: from here on the reader of single rows knows where values end.
            kept = b"".join(parts)
            cut = kept.rfind(b"\n") + 1
            if cut:
                yield kept[:cut]
            parts, size = [kept[cut:]], len(kept) - cut
            _check_length(size)
    if size:
        yield b"".join(parts)


def _header(block: bytes) -> tuple[list[str], bytes]:
    """The names in the first row, and what follows it."""
    text = block.removeprefix(_MARK)
    lines = io.StringIO(text.decode(errors=_KEPT), newline="")
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise NotReadable(f"expected a header line as RFC 4180 says, found: {error}") from error
    if not header:
        raise NotReadable("expected a header line with the column names, found none")
    if any(map(_not_text, header)):
        raise NotReadable("expected a header in UTF-8, found bytes that are none")
    return header, lines.read().encode(errors=_KEPT)


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

    def at_once(self, block: bytes, before: int) -> pa.Table | None:
        """The rows of a block after as many others; None if one of them is unlike the header, or no text."""
        import pyarrow.csv as arrow_csv

        if block.startswith(_MARK):
            return None  # Arrow leaves a mark out that only at the beginning of a file is none of the first value

        try:
            found = arrow_csv.read_csv(
                pa.BufferReader(block),
                arrow_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self.header),
                arrow_csv.ParseOptions(newlines_in_values=True),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(self.header, pa.string()), null_values=[""], strings_can_be_null=True
                ),
            )
        except pa.ArrowInvalid:
            return None
        unknown = [name for name in self.header if self.names[name] is None]
        by_column = {column: name for name, column in self.names.items() if column is not None}
        nothing = pa.nulls(found.num_rows, pa.string())
        values = {c: found[by_column[c]] if c in by_column else nothing for c in self.columns}
        if "_op" in by_column:
            values["_op"] = pa.array(map(removal, found[by_column["_op"]].to_pylist()), pa.string())
        if unknown:
            extra = found.select(sorted(unknown)).to_pylist()
            values["_extra"] = pa.array([json.dumps(e, ensure_ascii=False, sort_keys=True) for e in extra], pa.string())
        rows = pa.array(np.arange(before + 1, before + 1 + found.num_rows), pa.int64())
        return pa.table({"_row": rows, "_problem": nothing, **values})

    def one_by_one(self, text: IO[str], before: int) -> Iterator[tuple[int, Row, str | None]]:
        """The same, of any text."""
        csv.field_size_limit(LONGEST_LINE)
        number = before
        record = _Record(text)
        try:
            for line in csv.reader(record, strict=True):
                record.ended()
                if not line:
                    continue
                number += 1
                if problem := next(filter(None, map(_not_text, line)), None):
                    yield number, {"_extra": _shown(json.dumps(line, ensure_ascii=False))}, problem
                elif len(line) != len(self.header):
                    problem = f"not a row: expected {len(self.header)} values as in the header, found {len(line)}"
                    yield number, {"_extra": json.dumps(line, ensure_ascii=False)}, problem
                else:
                    item = {h: v if v != "" else None for h, v in zip(self.header, line, strict=True)}
                    yield number, _row(self.names, item), None
        except csv.Error as error:
            raise NotReadable(f"expected CSV as RFC 4180 says, found in row {number + 1}: {error}") from error


class _Record:
    """The lines of a text for a reader of records; more of them in one record than `LONGEST_LINE` raise."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._size += len(line)
        _check_length(self._size)
        return line

    def ended(self) -> None:
        """The record is whole: the next line begins another."""
        self._size = 0


def _quoted_regularly(block: bytes) -> bool:
    """Whether each quote opens a value, closes it, or is one of two that stand for one inside it."""
    if b'"' not in block:
        return True
    text = np.frombuffer(b"\n" + block + b"\n", np.uint8)
    places = np.flatnonzero(text == _QUOTE)
    if len(places) % 2:
        return False
    opening, closing = places[0::2], places[1::2]
    doubled = closing[:-1] + 1 == opening[1:]
    opens = np.isin(text[opening - 1], _AROUND_VALUES)
    closes = np.isin(text[closing + 1], _AROUND_VALUES)
    opens[1:] |= doubled
    closes[:-1] |= doubled
    return bool(opens.all() and closes.all())


class _Chained(io.RawIOBase):
    """Blocks as one file."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._blocks, b""))
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)
