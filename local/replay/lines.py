"""Splitting a CSV file into records of texts; a record that cannot be split gets its line and a reason.

Python's csv module splits. DuckDB's own reader gives rows no line numbers, and takes what follows a forgotten quote
into one cell.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

LONGEST_CELL = 1 << 24
"""Characters of one cell, and how far the end of a quote is looked for."""


class TableError(ValueError):
    """The file as a whole cannot be read: no header, or one that is not a header."""


@dataclass(frozen=True)
class Format:
    """How the file is written; `missing` are the texts for no value, `trim` leaves out spaces at the ends of cells."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    skip_lines: int = 0
    missing: frozenset[str] = frozenset({""})
    trim: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """A record with its first line and its text as written. A `reason` says why it cannot be used."""

    line: int
    cells: Sequence[str]
    text: str = ""
    reason: str = ""


def read_table(path: Path, form: Format) -> tuple[tuple[str, ...], Iterator[Record]]:
    """The headings of a file, empty ones too, and the records behind them without empty ones.

    A record with a wrong number of cells has a reason. Raises `TableError` here if there is no usable header, and while
    records are read if the file is not in its encoding.
    """
    records = _decoded_records(path, form)
    first = next(records, None)
    if first is None or first.reason:
        raise TableError(f"the file has no header line{f': {first.reason}' if first else ''}")
    header = tuple(c.strip().removeprefix("\ufeff") for c in first.cells)
    _check(header, first.line, form)
    return header, (_of_width(record, len(header), form) for record in records)


def _check(header: Sequence[str], line: int, form: Format) -> None:
    lower = [name.lower() for name in header]
    if any("\0" in name for name in header):
        raise TableError(f"line {line}: the header holds U+0000; say encoding in file.yaml (utf-16-le?)")
    other = next((c for c in ("\t", ";", "|", ",") if c != form.delimiter and c in header[0]), None)
    if len(header) == 1 and other is not None:
        shown = "tab" if other == "\t" else other
        raise TableError(
            f"line {line}: with delimiter {form.delimiter!r} the header is the one column {header[0][:60]!r}; "
            f'say  delimiter: "{shown}"  in file.yaml of the mapping'
        )
    if twice := next((n for n in header if n and lower.count(n.lower()) > 1), None):
        raise TableError(
            f"line {line}: the header has {twice!r} more than once (small and capital letters are the same in "
            "SQL); rename one of the columns in the file"
        )
    if "_line" in lower:
        raise TableError(f"line {line}: the header has '_line', the name of the line number; rename the column")


def _of_width(record: Record, width: int, form: Format) -> Record:
    if record.reason or len(record.cells) == width:
        return record
    reason = f"expected {width} cells as in the header, found {len(record.cells)}"
    hint = f"; is the delimiter {form.delimiter!r}?" if len(record.cells) == 1 else ""
    return Record(record.line, record.cells, record.text, reason + hint)


def _decoded_records(path: Path, form: Format) -> Iterator[Record]:
    encoding = "utf-8-sig" if codecs.lookup(form.encoding).name == "utf-8" else form.encoding
    try:
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as stream:
            yield from _records(stream, form)
    except UnicodeError as error:
        raise TableError(f"the file is not {form.encoding}: {error}; say encoding in file.yaml") from None


def _records(stream: TextIO, form: Format) -> Iterator[Record]:
    """The records in order, empty ones left out. Of one with a mistake only the first line is rejected: what follows a
    forgotten quote is read again as records of their own."""
    csv.field_size_limit(LONGEST_CELL)
    again: list[str] = []  # lines to read again, in reverse
    taken: list[str] = []

    def lines() -> Iterator[str]:
        while line := again.pop() if again else stream.readline():
            taken.append(line)
            yield line

    number = 1
    while number <= form.skip_lines and stream.readline():
        number += 1
    while True:
        taken.clear()
        reason = ""
        try:
            cells = next(csv.reader(lines(), delimiter=form.delimiter, quotechar=form.quote, strict=True), [])
        except csv.Error as error:
            cells, reason = [], _mistake(str(error))
            again.extend(reversed(taken[1:]))
            del taken[1:]
        if not taken:
            return
        text = "".join(taken).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        if not _is_text(text):
            reason = f"not {form.encoding}; say encoding (latin-1? utf-16?) in file.yaml"
            text = text.encode("utf-8", "backslashreplace").decode()
        if reason or any(c.strip() for c in cells):
            yield Record(number, [c.replace("\r\n", "\n").replace("\r", "\n") for c in cells], text, reason)
        number += len(taken)


def _mistake(error: str) -> str:
    if "unexpected end" in error:
        return "a quoted cell begins here and never ends"
    if "field larger" in error:
        return f"expected cells of at most {LONGEST_CELL:,} characters, found a longer one"
    return f"within a quoted cell a quote must be written twice ({error})"


def _is_text(text: str) -> bool:
    """False for halves of characters, which stand for bytes that are not of the encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
