"""Splitting a CSV file into records of texts, and what cannot be split with line and reason.

Nothing is dropped: a record with a wrong quote and bytes that are no text each become an `Unreadable` with their line.
The file is mapped, not read: what is held in memory is one record. DuckDB's own reader gives rows no line numbers, and
takes what follows a forgotten quote into one cell.
"""

from __future__ import annotations

import codecs
import csv
import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_CELL = 1 << 20
"""Characters of one cell; no item of the operational table (400 KB) can hold a longer one."""
LONGEST_RECORD = 16 * LONGEST_CELL


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
    """A record with its first line and its place in the source: first byte and how many there are."""

    line: int
    cells: Sequence[str]
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be used: the line that is to blame, the reason, and its place in the source."""

    line: int
    reason: str
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class _Line:
    """One physical line; `problem` says why its bytes are no text, `text` then has each byte as a character."""

    number: int
    text: str
    at: int
    end: int
    next: int | None
    problem: str = ""


_END = re.compile(rb"\r\n|\n|\r")


class Source:
    """The bytes of a CSV file, in an encoding in which line ends are those of ASCII (UTF-16 is copied to one)."""

    def __init__(self, path: Path, form: Format, scratch: Path) -> None:
        """Raises `TableError` if the bytes of an encoding without ASCII's line ends are not of that encoding."""
        self.encoding = form.encoding
        unicode = codecs.lookup(form.encoding).name.startswith(("utf-16", "utf-32"))
        if unicode:
            path, self.encoding = _as_utf8(path, form.encoding, scratch), "utf-8"
        with path.open("rb") as file:
            empty = file.seek(0, 2) == 0
            self.content: mmap.mmap | bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if not unicode and self.content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise TableError("the file begins with the mark of UTF-16; say  encoding: utf-16  in file.yaml")
        self.begin = len(codecs.BOM_UTF8) if self.content[:3] == codecs.BOM_UTF8 else 0

    def line(self, number: int, at: int) -> _Line:
        """The line that begins at a byte."""
        found = _END.search(self.content, at)
        end, following = (found.start(), found.end()) if found else (len(self.content), None)
        raw = self.content[at:end]
        try:
            return _Line(number, self._decoded(raw), at, end, following)
        except UnicodeError as error:
            where = f"{error.reason} at byte {error.start + 1}" if isinstance(error, UnicodeDecodeError) else "no text"
            reason = f"not {self.encoding}: {where}; say encoding (latin-1?) in file.yaml"
            return _Line(number, raw.decode("latin-1"), at, end, following, reason)

    def _decoded(self, raw: bytes) -> str:
        text = raw.decode(self.encoding)
        if not text.isascii():
            text.encode()  # some codecs give halves of characters, which are no text
        return text

    def text(self, at: int, size: int) -> str:
        """A record as it is written, with `\\n` between its lines; of one without end, the begin."""
        raw = self.content[at : at + size]
        try:
            text = self._decoded(raw)
        except UnicodeError:
            text = raw.decode("latin-1")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text if size <= LONGEST_CELL else f"{text[:200]}…"


def _as_utf8(path: Path, encoding: str, scratch: Path) -> Path:
    target = scratch / "as-utf-8.csv"
    try:
        with path.open(encoding=encoding, newline="") as source, target.open("w", encoding="utf-8", newline="") as copy:
            while part := source.read(1 << 20):
                copy.write(part)
    except UnicodeError as error:
        reason = f"{error.reason} at byte {error.start}" if isinstance(error, UnicodeDecodeError) else str(error)
        raise TableError(f"the file is not {encoding}: {reason}") from None
    return target


def read_records(source: Source, form: Format) -> Iterator[Record | Unreadable]:
    """The records of the file in order, empty ones left out.

    A quoted cell goes on until its quote ends, over as many lines as it takes. If the text behind that quote shows that
    the quote was a mistake, or if it never ends, only the line in which it begins is unreadable.
    """
    csv.field_size_limit(LONGEST_CELL)
    number, at = 1, source.begin
    following: int | None = at
    while following is not None:
        line = source.line(number, following)
        read, last = (None, line) if number <= form.skip_lines else _record_at(source, line, form)
        if read is not None:
            yield read
        number, following = last.number + 1, last.next


def _record_at(source: Source, first: _Line, form: Format) -> tuple[Record | Unreadable | None, _Line]:
    """The record that begins in a line, or why it is none, or None if it is empty; and its last line."""
    if form.quote not in first.text and not first.problem and len(first.text) <= LONGEST_CELL:
        cells = first.text.split(form.delimiter) if first.text else []
        return _record(cells, first, first), first
    last, parts, broken = _end_of_record(source, first, form)
    if last is None:
        reason = first.problem or "a quoted cell begins here and never ends"
        return _unreadable(first.number, reason, first, first), first
    if broken is not None:
        return _unreadable(broken.number, broken.problem, first, last), last
    if sum(map(len, parts)) > LONGEST_RECORD:
        reason = f"expected records of at most {LONGEST_RECORD:,} characters, found a longer one"
        return _unreadable(first.number, reason, first, last), last
    try:
        text = "\n".join(parts)
        cells = next(csv.reader([text], delimiter=form.delimiter, quotechar=form.quote, strict=True), [])
        return _record(cells, first, last), last
    except csv.Error as error:
        if "field limit" in str(error):
            reason = f"expected cells of at most {LONGEST_CELL:,} characters, found a longer one"
            return _unreadable(first.number, reason, first, last), last
        reason = f"within a quoted cell a quote must be written twice ({error})"
        return _unreadable(first.number, reason, first, first), first


def _record(cells: Sequence[str], first: _Line, last: _Line) -> Record | None:
    if not any(c.strip() for c in cells):
        return None
    return Record(first.number, cells, first.at, last.end - first.at)


def _unreadable(line: int, reason: str, first: _Line, last: _Line) -> Unreadable:
    return Unreadable(line, reason, first.at, last.end - first.at)


def _end_of_record(source: Source, first: _Line, form: Format) -> tuple[_Line | None, list[str], _Line | None]:
    """The last line of the record that begins in a line, the texts of its lines, and the first that is no text.

    No last line if a quoted cell never ends. A quote that is followed by neither a quote, a delimiter nor the end of
    the line is no end, but a mistake: the record ends there, and the reader says what is wrong with it. Texts behind
    the longest record are not kept: it is too long whatever comes.
    """
    parts: list[str] = []
    size, quoted, line = 0, False, first
    broken: _Line | None = None
    while True:
        if size <= LONGEST_RECORD:
            parts.append(line.text)
            size += len(line.text) + 1
        broken = broken or (line if line.problem else None)
        if not quoted or form.quote in line.text:
            quoted = _quoted_at_end(line.text, quoted, form)
        if not quoted:
            return line, parts, broken
        if line.next is None:
            return None, parts, broken
        line = source.line(line.number + 1, line.next)


def _quoted_at_end(text: str, quoted: bool, form: Format) -> bool:
    """Whether a quoted cell goes on behind this line; `quoted` says whether one goes on from the line before."""
    at = 0
    while True:
        if not quoted:  # a cell begins at `at`
            if text[at : at + 1] == form.quote:
                quoted, at = True, at + 1
                continue
            following = text.find(form.delimiter, at)
            if following < 0:
                return False
            at = following + 1
            continue
        end = text.find(form.quote, at)
        if end < 0:
            return True
        if text[end + 1 : end + 2] == form.quote:
            at = end + 2
            continue
        if text[end + 1 : end + 2] != form.delimiter:
            return False  # the end of the line, or a mistake
        quoted, at = False, end + 2
