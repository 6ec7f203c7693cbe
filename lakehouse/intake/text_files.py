"""Files that other systems drop, as Arrow tables of text: NDJSON and CSV, plain or compressed with gzip.

Numbers keep each digit that was written. A line that is no row, or no UTF-8, becomes a row with a problem; a
file that cannot be read at all raises. Files are read in blocks, so that none has to fit into memory, and where blocks
begin is kept, so that none is read from its start for each of its parts. What a row must hold belongs to `validation`;
Parquet belongs to `parquet_files`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.storage.sql import literal

if TYPE_CHECKING:
    from contracts import Contract

NDJSON = (".ndjson", ".jsonl", ".json")
CSV = ".csv"

Row = dict[str, str | None]
T = TypeVar("T")

_BUFFER = 256 << 10  # bytes that are decompressed at once
_BLOCK = 4 << 20  # bytes
_MARK = "\ufeff".encode()
_ROWS, _CHARACTERS = 20_000, 4 << 20  # of one table
LONGEST_LINE = 16 << 20
"""Bytes of a line of JSON, and characters of a row of CSV, that are read: a file with a longer one is refused, so that
memory has a bound whatever a few kilobytes of gzip decompress to. The engine holds some fifteen copies of a value while
its row is checked, matched with stored keys and written: at the default memory of 512 MB a key of 16 MB passes in every
form, one of 32 MB in none."""
MOST_DECOMPRESSED = 256 << 20
"""Bytes that any file may decompress to: what is smaller costs too little to ask where it comes from."""
MOST_TIMES = 200
"""How often its compressed size a larger file may decompress to. Rows that people and systems write compress to a
twentieth, at best to some hundredth; only what repeats itself without end comes near the thousandth that gzip can
do."""

_CHARACTER_BYTES = 4  # at most
_KEPT = "surrogateescape"  # how bytes that are no UTF-8 are read, so that only their line pays
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

# A quote that begins a text and is followed by a colon and a number is taken for the end of a name: what is made of
# that is no JSON, and its line is not plain.
_NUMBER = r'":( ?)(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)([,}])'
_QUOTED_NUMBER = r'":\1"\2"\3'
_DOUBTFUL = r'[\\\t]|\s:|, ?[\]}]|  [\]}]|":(?:[^ "{\[tfn]| [^"{\[tfn]| ?n[^u])'
PLAIN_LINES = (
    f"(SELECT _no, _row, CASE WHEN NOT regexp_matches(quoted, {literal(_DOUBTFUL)}) AND json_valid(quoted) "
    "THEN quoted END AS plain FROM "
    f"(SELECT _no, _row, regexp_replace(line, {literal(_NUMBER)}, {literal(_QUOTED_NUMBER)}, 'g') AS quoted "
    "FROM rows_read))"
)
"""A query over `rows_read`, tables of `json_lines` with the _no of their objects: _no, _row, and `plain`, the line if
a JSON reader that knows only doubles loses nothing of it. Numbers that are members are put between quotes, as they were
written. What DuckDB would take and JSON does not have (a comma at the end, NaN, 01) is not in a plain line, nor is any
backslash."""


class NotReadable(ValueError):
    """A file that is not what its name says; the message says what was expected and found."""


@dataclass
class Content:
    """A file of text, plain or compressed with gzip, and what is known of it: `places` are rows behind which a row
    begins, in order, with its byte in what is decompressed; `counted` see `weights`."""

    path: Path
    compressed: bool
    places: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    counted: tuple[int, int] | None = None

    def open(self) -> IO[bytes]:
        """What it decompresses to. Reading raises what gzip raises, and `NotReadable` as `_Decompressed` does."""
        return io.BufferedReader(_Decompressed(self.path), _BUFFER) if self.compressed else self.path.open("rb")

    def place(self, first: int) -> tuple[int, int]:
        """The last known place that has the rows behind the first `first` behind it."""
        return self.places[bisect(self.places, first, key=itemgetter(0)) - 1]

    def reached(self, row: int, byte: int) -> None:
        """Remember a place."""
        if row > self.places[-1][0]:
            self.places.append((row, byte))

    def decompress(self, path: Path) -> None:
        """Be the file at that path from here on, decompressed."""
        with self.open() as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
        self.path, self.compressed = path, False


def read_text(
    contract: Contract, columns: Sequence[str], name: str, content: Content, first: int = 0
) -> Iterator[pa.Table]:
    """The rows of a dropped file named `name`: _row (from 1), _problem and `columns`, all text but the first. Some of
    the first `first` rows are left out.

    Raises `NotReadable`, or what gzip raises for a file that is not compressed or cut off.
    """
    if is_ndjson(name):
        for lines in json_lines(content, first):
            yield from in_tables(columns, json_rows(contract, lines))
    elif name.removesuffix(".gz").endswith(CSV):
        yield from read_csv(contract, columns, content, first)
    else:
        raise NotReadable(
            f"expected an object named .parquet, .ndjson, .jsonl, .json or .csv (the last four also .gz), found {name}"
        )


def is_ndjson(name: str) -> bool:
    """Whether a file of that name holds a JSON object a line."""
    return name.removesuffix(".gz").endswith(NDJSON)


def is_compressed(name: str) -> bool:
    """Whether a file of that name is compressed with gzip."""
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


class _Blocks:
    """A file in pieces, from a byte on: `text` is the one that begins at the byte `at`."""

    def __init__(self, source: IO[bytes], at: int) -> None:
        mark = len(_MARK) if source.read(len(_MARK)) == _MARK else 0
        self.text, self.at, self.last = b"", max(mark, at), False
        self._source = source
        source.seek(self.at)

    def more(self) -> bool:
        """Read on behind what is there; whether there was more, or something is left."""
        read = self._source.read(_BLOCK)
        self.text, self.last = self.text + read, not read
        return bool(self.text)

    def take(self, size: int) -> bytes:
        """The first bytes of the text, which begins behind them from here on."""
        taken, self.text = self.text[:size], self.text[size:]
        self.at += size
        return taken

    def lines(self) -> bytes:
        """Take as many whole lines as there are; all at the end of the file."""
        # A carriage return at the very end may have its newline in the next block.
        return self.take(
            len(self.text) if self.last else max(self.text.rfind(b"\n"), self.text.rfind(b"\r", 0, -1)) + 1
        )


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


class _Decompressed(io.RawIOBase):
    """What a file of gzip decompresses to, up to a bound. Reading raises `NotReadable` beyond it, or what gzip
    raises."""

    def __init__(self, path: Path) -> None:
        self._source = gzip.open(path, "rb")  # noqa: SIM115 - closed by close
        self._most = max(MOST_DECOMPRESSED, MOST_TIMES * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._source.readinto(buffer)
        if self._source.tell() > self._most:
            raise NotReadable(
                f"expected a file that decompresses to at most {MOST_DECOMPRESSED >> 20} MB or {MOST_TIMES} times its "
                "size, found more"
            )
        return count

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._source.seek(offset, whence)

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


def json_rows(contract: Contract, lines: pa.Table) -> Iterator[tuple[int, Row, str | None]]:
    """The rows (number, values, problem) of a table of `json_lines`, exactly."""
    names = lru_cache(maxsize=1000)(lambda given: resolve(contract, given))
    for number, line in zip(lines["_row"].to_pylist(), lines["raw"].to_pylist(), strict=True):
        yield number, *_json_row(names, line.decode(errors=_KEPT))


def _json_row(names: Callable[[tuple[str, ...]], dict[str, str | None]], line: str) -> tuple[Row, str | None]:
    if problem := _not_text(line):
        return {"_extra": _shown(line)}, problem
    try:
        # Numbers stay as they were written: no digit is lost on the way to a decimal.
        item = json.loads(line, parse_float=str, parse_int=str, parse_constant=_refuse, object_pairs_hook=_once)
        if not isinstance(item, dict):
            raise NotReadable(f"expected a JSON object, found {type(item).__name__}")
        if _SURROGATE.search(line):
            _refuse_surrogates(item)
        return _row(names(tuple(item)), item), None
    except (ValueError, RecursionError) as error:
        return {"_extra": line}, f"not a row: {error}"


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


def json_lines(content: Content, first: int = 0) -> Iterator[pa.Table]:
    """The lines of a file of JSON in tables: _row, `line`, null where that is no UTF-8, and `raw`, its bytes; blank
    lines are none. Some of the first `first` are left out. Raises what `Content.open` says, and `NotReadable` for a
    line of more than `LONGEST_LINE` bytes."""
    row, at = content.place(first)
    with content.open() as source:
        blocks = _Blocks(source, at)
        while blocks.more():
            lines = _split(blocks.lines())
            _check_length(max(pc.max(pc.binary_length(lines)).as_py() or 0, len(blocks.text) - len("\r\n")))
            texts = _as_text(lines)
            written = pc.invert(pc.or_kleene(pc.equal(texts, ""), pc.utf8_is_space(texts))).fill_null(True)
            lines, texts = lines.filter(written), texts.filter(written)
            rows = pa.array(range(row + 1, row + len(lines) + 1), pa.int64())
            yield pa.table({"_row": rows, "line": texts, "raw": lines})
            row += len(lines)
            content.reached(row, blocks.at)


def _split(block: bytes) -> pa.Array:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return pc.split_pattern(pa.array([block], pa.binary()), b"\n").values


def _as_text(lines: pa.Array) -> pa.Array:
    """The lines as text; null where they are no UTF-8."""
    try:
        return lines.cast(pa.string())
    except pa.ArrowInvalid:
        texts = (line.decode(errors=_KEPT) for line in lines.to_pylist())
        return pa.array([None if _not_text(text) else text for text in texts], pa.string())


# ---- CSV

# Whole rows whose quotes are where RFC 4180 has them: around a value, and twice for one in it.
_REGULAR = re.compile(
    rb'(?:[^"\r\n]*+(?:(?<![^,\r\n])"[^"]*+(?:""[^"]*+)*+"(?=[,\r\n])[^"\r\n]*+)*+[\r\n]++)*+',
)


def read_csv(contract: Contract, columns: Sequence[str], content: Content, first: int = 0) -> Iterator[pa.Table]:
    """The rows of a CSV file with a header (RFC 4180; a lone carriage return ends lines, too). Some of the first
    `first` are left out. Stretches that are as RFC 4180 says, of rows like the header, are read at once, others by the
    `csv` module, row by row.

    Raises `NotReadable`, also for a row of more than `LONGEST_LINE` characters, or what gzip raises.
    """
    csv.field_size_limit(LONGEST_LINE)
    with content.open() as source:
        form, begin = _header(contract, tuple(columns), source)
        row, at = content.place(first)
        blocks = _Blocks(source, max(at, begin))
        while blocks.more():
            whole = _REGULAR.match(blocks.text + b"\n" if blocks.last else blocks.text)
            regular = whole.end() if whole else 0
            found = form.at_once(blocks.text[:regular], row) if 0 < regular <= LONGEST_LINE else None
            if found is not None:
                blocks.take(regular)
                tables = iter([found])
            else:
                tables = form.one_by_one(blocks, regular, row)
            for table in tables:
                yield table
                row += table.num_rows
            content.reached(row, blocks.at)


def _header(contract: Contract, columns: tuple[str, ...], source: IO[bytes]) -> tuple[_Form, int]:
    """The form of the rows by the names in the first row, and the byte where the others begin."""
    blocks = _Blocks(source, 0)
    lines = _Lines(blocks, 0)
    try:
        header = next(csv.reader(lines, strict=True), None)
    except csv.Error as error:
        raise NotReadable(f"expected a header line as RFC 4180 says, found: {error}") from error
    if not header:
        raise NotReadable("expected a header line with the column names, found none")
    if any(map(_not_text, header)):
        raise NotReadable("expected a header in UTF-8, found bytes that are none")
    return _Form(contract, header, columns), blocks.at - lines.left()


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
        """The rows of a stretch that is regular, behind as many others; None if one of them is unlike the header, or no
        text."""
        import pyarrow.csv as arrow_csv

        if block.startswith(_MARK):
            return None  # Arrow leaves out a mark that begins a text; only that of a file is none of a value
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
        nothing = pa.nulls(found.num_rows, pa.string())
        texts = dict.fromkeys(self.columns, nothing) | {c: found[n] for n, c in self.names.items() if c is not None}
        if "_op" in self.names.values():
            texts["_op"] = pa.array(map(removal, texts["_op"].to_pylist()), pa.string())
        if unknown := [name for name, column in self.names.items() if column is None]:
            texts["_extra"] = pa.array(map(_extra, found.select(unknown).to_pylist()), pa.string())
        rows = pa.array(range(before + 1, before + 1 + found.num_rows), pa.int64())
        return pa.table({"_row": rows, "_problem": nothing, **texts})

    def one_by_one(self, blocks: _Blocks, size: int, before: int) -> Iterator[pa.Table]:
        """The rows of the first `size` bytes, or of as many lines as there are and of those that their last row goes
        on to, behind as many others."""
        return in_tables(self.columns, self._rows(_Lines(blocks, size), before))

    def _rows(self, lines: _Lines, number: int) -> Iterator[tuple[int, Row, str | None]]:
        try:
            for values in csv.reader(lines, strict=True):
                lines.size = 0
                if values:
                    number += 1
                    yield number, *self._row(values)
                if lines.out:
                    return
        except csv.Error as error:
            raise NotReadable(f"expected CSV as RFC 4180 says, found in row {number + 1}: {error}") from error

    def _row(self, values: list[str]) -> tuple[Row, str | None]:
        if problem := next(filter(None, map(_not_text, values)), None):
            return {"_extra": _shown(json.dumps(values, ensure_ascii=False))}, problem
        if len(values) != len(self.header):
            problem = f"not a row: expected {len(self.header)} values as in the header, found {len(values)}"
            return {"_extra": json.dumps(values, ensure_ascii=False)}, problem
        return _row(self.names, {h: v or None for h, v in zip(self.header, values, strict=True)}), None


class _Lines:
    """The lines of blocks for a reader of records: those of the first `first` bytes (0: as many as are whole), and of
    what follows if it reads on. Whoever reads sets `size` to 0 when a record is whole; more than `LONGEST_LINE`
    characters of one raise."""

    def __init__(self, blocks: _Blocks, first: int) -> None:
        self.size = 0
        self._blocks = blocks
        self._put(blocks.take(first) if first else blocks.lines())

    def _put(self, block: bytes) -> None:
        self._text = io.StringIO(block.decode(errors=_KEPT), newline="")
        self._end = self._text.seek(0, io.SEEK_END)
        self._text.seek(0)

    @property
    def out(self) -> bool:
        """Whether no line is left but for one who reads on."""
        return self._text.tell() == self._end

    def left(self) -> int:
        """Leave the lines that are left; how many bytes they have."""
        return len(self._text.read().encode(errors=_KEPT))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self.out and self._blocks.more():
            _check_length(len(self._blocks.text) // _CHARACTER_BYTES)
            self._put(self._blocks.lines())
        line = next(self._text)
        self.size += len(line)
        _check_length(self.size)
        return line
