"""Splitting a CSV file into records of texts, and what cannot be split with line and reason.

Nothing is dropped: a record with a wrong quote and bytes that are no text each become an `Unreadable` with their line.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONGEST_CELL = 1 << 20
"""Characters of one cell; no item of the operational table (400 KB) can hold a longer one."""


class TableError(ValueError):
    """The file as a whole cannot be read: no header, or one that is not a header."""


@dataclass(frozen=True)
class Format:
    """How the file is written; `missing` are the texts that stand for no value."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    skip_lines: int = 0
    missing: frozenset[str] = frozenset({""})


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be used: its first line, the column if it is about one, the reason, and the text."""

    line: int
    column: str | None
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class _Line:
    """One physical line; `problem` says why its bytes are no text, `text` then has each byte as a character."""

    number: int
    text: str
    problem: str = ""


def _lines(content: bytes, encoding: str) -> Iterator[_Line]:
    name = codecs.lookup(encoding).name
    if name.startswith(("utf-16", "utf-32")):
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise TableError(f"the file is not {encoding}: {error.reason} at byte {error.start}") from None
        encoding = "utf-8"
    elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise TableError("the file begins with the mark of UTF-16; say  file: {encoding: utf-16}  in the mapping")
    content = content.removeprefix(codecs.BOM_UTF8)
    for number, raw in enumerate(re.split(rb"\r\n|\n|\r", content), start=1):
        try:
            text = raw.decode(encoding)
            if not text.isascii() and name != "utf-8":
                text.encode()  # some codecs give halves of characters, which are no text
            yield _Line(number, text)
        except UnicodeError as error:
            where = f"{error.reason} at byte {error.start + 1}" if isinstance(error, UnicodeDecodeError) else "no text"
            reason = f"not {encoding}: {where}; say file.encoding (latin-1?) in the mapping"
            yield _Line(number, raw.decode("latin-1"), reason)


def read_records(content: bytes, form: Format, unreadable: list[Unreadable]) -> Iterator[tuple[int, list[str], str]]:
    """Line number, cells and text of each record that is written correctly.

    A quoted cell goes on until its quote ends, over as many lines as it takes. If the text behind that quote shows that
    the quote was a mistake, or if it never ends, only the line in which it begins is unreadable.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = list(_lines(content, form.encoding))
    n = form.skip_lines
    while n < len(lines):
        read, taken = _record_at(lines, n, form)
        if isinstance(read, Unreadable):
            unreadable.append(read)
        else:
            yield lines[n].number, read, _text(lines[n : n + taken])
        n += taken


def _text(lines: Sequence[_Line]) -> str:
    return "\n".join(line.text for line in lines)


def _record_at(lines: Sequence[_Line], begin: int, form: Format) -> tuple[list[str] | Unreadable, int]:
    """The cells of the record that begins in a line, or why it is none; and how many lines that takes."""
    first = lines[begin]
    end = _end_of_record(lines, begin, form)
    if end is None:
        reason = first.problem or "a quoted cell begins here and never ends"
        return Unreadable(first.number, None, reason, first.text), 1
    text, taken = _text(lines[begin:end]), end - begin
    if broken := next((line for line in lines[begin:end] if line.problem), None):
        return Unreadable(broken.number, None, broken.problem, text), taken
    try:
        return next(csv.reader([text], delimiter=form.delimiter, quotechar=form.quote, strict=True), []), taken
    except csv.Error as error:
        if "field limit" in str(error):
            reason = f"expected cells of at most {LONGEST_CELL:,} characters, found a longer one"
            return Unreadable(first.number, None, reason, f"{text[:200]}…"), taken
        reason = f"within a quoted cell a quote must be written twice ({error})"
        return Unreadable(first.number, None, reason, first.text), 1


def _end_of_record(lines: Sequence[_Line], begin: int, form: Format) -> int | None:
    """The place behind the last line of the record that begins in line `begin`; None if a quoted cell never ends.

    A quote that is followed by neither a quote, a delimiter nor the end of the line is no end, but a mistake: the
    record ends there, and the reader says what is wrong with it.
    """
    quoted = False
    for n in range(begin, len(lines)):
        if quoted and form.quote not in lines[n].text:
            continue
        quoted = _quoted_at_end(lines[n].text, quoted, form)
        if not quoted:
            return n + 1
    return None


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
