"""Reading a CSV file: physical lines to records, texts to typed cells, and what cannot be read with line and reason.

Nothing is guessed and nothing is dropped: a record that does not fit the header, a cell that does not fit its type and
bytes that are no text each become an `Unreadable` with the line they stand in.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

MOST_LINES_OF_A_RECORD = 50
"""A quoted cell may hold line breaks; one that is still open after so many lines was not meant to be one."""


class TableError(ValueError):
    """The file as a whole cannot be read: no header, or one that is not a header."""


class CellError(ValueError):
    """A cell's text does not fit the type that the mapping gives its column."""


@dataclass(frozen=True)
class Format:
    """How the file is written; `missing` are the texts that stand for no value."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    skip_lines: int = 0
    missing: frozenset[str] = frozenset({""})


@dataclass(frozen=True)
class ColumnType:
    """How the cells under a heading are read."""

    TRUE: ClassVar[frozenset[str]] = frozenset({"true", "yes", "y", "t", "1"})
    FALSE: ClassVar[frozenset[str]] = frozenset({"false", "no", "n", "f", "0"})

    header: str
    type: str
    missing: frozenset[str] = frozenset({""})
    required: bool = False
    trim: bool = True
    format: str = "iso"
    timezone: str | None = None
    decimal_mark: str = "."
    true_words: frozenset[str] = TRUE
    false_words: frozenset[str] = FALSE


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that cannot be used: its first line, the column if it is about one, the reason, and the text."""

    line: int
    column: str | None
    reason: str
    text: str


@dataclass(frozen=True)
class Table:
    """A CSV file as texts: its header, its records (line, cells, text as written) and what could not be read."""

    header: tuple[str, ...]
    records: Sequence[tuple[int, list[str], str]]
    unreadable: Sequence[Unreadable] = field(default=())


def read_table(content: bytes, form: Format) -> Table:
    """Split the file's bytes into records. Raises `TableError` if it has no usable header."""
    records: list[tuple[int, list[str], str]] = []
    unreadable: list[Unreadable] = []
    header: tuple[str, ...] | None = None
    for line, cells, text in _records(content, form, unreadable):
        if not any(c.strip() for c in cells):
            continue
        if header is None:
            header = _header(line, cells, form)
        elif len(cells) != len(header):
            reason = f"expected {len(header)} cells as in the header, found {len(cells)}"
            if len(cells) == 1 and len(header) > 1:
                reason += f"; is the delimiter {form.delimiter!r}?"
            unreadable.append(Unreadable(line, None, reason, text))
        else:
            records.append((line, cells, text))
    if header is None:
        reason = f": {unreadable[0].reason}" if unreadable else ""
        raise TableError(f"the file has no header line{reason}")
    return Table(header, records, unreadable)


def _header(line: int, cells: Sequence[str], form: Format) -> tuple[str, ...]:
    names = tuple(c.strip().removeprefix("\ufeff") for c in cells)
    other = next((c for c in ("\t", ";", "|", ",") if c != form.delimiter and c in names[0]), None)
    if len(names) == 1 and other is not None:
        shown = "tab" if other == "\t" else other
        raise TableError(
            f"line {line}: with delimiter {form.delimiter!r} the header is the one column {names[0][:60]!r}; "
            f'say  file: {{delimiter: "{shown}"}}  in the mapping'
        )
    twice = sorted({n for n in names if names.count(n) > 1 and n})
    if twice:
        raise TableError(
            f"line {line}: the header has {twice[0]!r} more than once; rename one of the columns in the file"
        )
    return names


def _lines(content: bytes, encoding: str, unreadable: list[Unreadable]) -> Iterator[tuple[int, str]]:
    name = codecs.lookup(encoding).name
    if name.startswith(("utf-16", "utf-32")):
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise TableError(f"the file is not {encoding}: {error.reason} at byte {error.start}") from None
        encoding = "utf-8"
    content = content.removeprefix(codecs.BOM_UTF8)
    for number, raw in enumerate(re.split(rb"\r\n|\n|\r", content), start=1):
        try:
            yield number, raw.decode(encoding)
        except UnicodeDecodeError as error:
            reason = (
                f"not {encoding}: {error.reason} at byte {error.start + 1}; say file.encoding (latin-1?) in the mapping"
            )
            unreadable.append(Unreadable(number, None, reason, raw.decode("latin-1")))


def _records(content: bytes, form: Format, unreadable: list[Unreadable]) -> Iterator[tuple[int, list[str], str]]:
    """Line number, cells and text of each record that is written correctly.

    A quoted cell may go on in the next lines; if that does not lead to a record as wide as the first one, the quote was
    a mistake, and only the line in which it stands is unreadable.
    """
    lines = list(_lines(content, form.encoding, unreadable))
    width: int | None = None
    n = form.skip_lines
    while n < len(lines):
        number, first = lines[n]
        reason, taken = "", 0
        text = first
        while taken < MOST_LINES_OF_A_RECORD and n + taken < len(lines):
            text = f"{text}\n{lines[n + taken][1]}" if taken else first
            taken += 1
            try:
                cells = next(csv.reader([text], delimiter=form.delimiter, quotechar=form.quote, strict=True), [])
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    reason = "a quoted cell begins here and never ends"
                    continue
                reason = reason or f"within a quoted cell a quote must be written twice ({error})"
                break
            if taken == 1 or len(cells) == width:
                if width is None and any(c.strip() for c in cells):
                    width = len(cells)
                yield number, cells, text
                reason = ""
            break
        if reason:
            unreadable.append(Unreadable(number, None, reason, first))
            taken = 1
        n += taken


def read_cells(
    cells: Mapping[str, str], columns: Mapping[str, ColumnType]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The typed values by column name, and the columns that cannot be read with the reason."""
    values: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, type_ in columns.items():
        try:
            values[name] = read_cell(type_, cells[type_.header])
            if values[name] is None and type_.required:
                problems.append((name, f"required, found {cells[type_.header]!r}"))
        except CellError as error:
            problems.append((name, str(error)))
    return values, problems


def read_cell(type_: ColumnType, text: str) -> Any:
    """One cell as its type; None where it is missing. Raises `CellError`."""
    stripped = text.strip()
    if stripped in type_.missing:
        return None
    if type_.type == "text":
        return stripped if type_.trim else text
    return _READERS[type_.type](type_, stripped)


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
_AMOUNT = re.compile(r"[-+]?(\d{1,3}(?P<group>[,.' \u00a0\u202f])\d{3}(?:(?P=group)\d{3})*|\d+)([.,]\d+)?|[-+]?[.,]\d+")
_SYMBOLS = re.compile(
    r"^([A-Za-z]{1,3}[$£€]?|[^\d\s.,+()-]{1,4})?\s*(.*?)\s*([A-Za-z]{3}|[^\d\s.,()A-Za-z-]{1,4}|\.-)?$"
)


def _decimal(type_: ColumnType, text: str) -> Decimal:
    written = text
    if type_.decimal_mark == ",":
        if "." in text:
            raise CellError(f"expected a decimal with ',' as its mark, found {text!r}; type money also reads 1.234,50")
        written = text.replace(",", ".")
    if not _NUMBER.fullmatch(written):
        hint = "; type money reads symbols and groups of thousands" if re.search(r"\d", text) else _missing_hint(text)
        raise CellError(f"expected a decimal, found {text!r}{hint}")
    return Decimal(written)


def _missing_hint(text: str) -> str:
    return f"; if that stands for no value, add {text!r} to `missing`"


def _integer(type_: ColumnType, text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,18}(\.0+)?", text):
        return int(text.partition(".")[0])
    raise CellError(f"expected an integer, found {text!r}{'' if re.search(r'[0-9]', text) else _missing_hint(text)}")


def _money(type_: ColumnType, text: str) -> Decimal:
    negative = text.startswith("(") and text.endswith(")")
    inner = text[1:-1].strip() if negative else text
    sign = ""
    if inner[:1] in "+-":
        sign, inner = inner[0], inner[1:].strip()
    match = _SYMBOLS.match(inner)
    amount = match[2] if match else inner
    found = _AMOUNT.fullmatch(amount)
    if not found:
        hint = "" if re.search(r"\d", text) else _missing_hint(text)
        raise CellError(f"expected an amount of money like $1,234.50, found {text!r}{hint}")
    mark = type_.decimal_mark
    other = "," if mark == "." else "."
    whole, _, fraction = amount.rpartition(mark) if mark in amount else (amount, "", "")
    groups = re.split(r"[,.' \u00a0\u202f]", whole.lstrip("+-"))
    if mark in whole or other in fraction or any(len(g) != 3 for g in groups[1:]):
        raise CellError(f"expected an amount with {mark!r} before the cents (decimal_mark), found {text!r}")
    digits = "".join(groups) or "0"
    value = Decimal(f"{digits}.{fraction}" if fraction else digits)
    return -value if negative or sign == "-" or amount.startswith("-") else value


def _boolean(type_: ColumnType, text: str) -> bool:
    word = text.lower()
    if word in type_.true_words:
        return True
    if word in type_.false_words:
        return False
    words = ", ".join(sorted(type_.true_words | type_.false_words))
    raise CellError(f"expected one of {words}; found {text!r} (say `true: [...]` and `false: [...]` of the column)")


def _timestamp(type_: ColumnType, text: str) -> datetime:
    if type_.format in ("epoch", "epoch_ms"):
        if not _NUMBER.fullmatch(text):
            raise CellError(
                f"expected {'seconds' if type_.format == 'epoch' else 'milliseconds'} since 1970, found {text!r}"
            )
        unit = 1_000_000 if type_.format == "epoch" else 1000
        micros = int((Decimal(text) * unit).to_integral_value(ROUND_HALF_EVEN))
        try:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
        except OverflowError:
            raise CellError(f"expected a moment that exists, found {text!r}; is the format epoch_ms?") from None
    try:
        moment = datetime.fromisoformat(text) if type_.format == "iso" else datetime.strptime(text, type_.format)  # noqa: DTZ007
    except ValueError:
        like = (
            "a timestamp like 2026-11-21T13:45:00Z" if type_.format == "iso" else f"a timestamp like {type_.format!r}"
        )
        hint = (
            "; say `format:` of the column (epoch, epoch_ms or one like '%d/%m/%Y %H:%M')"
            if type_.format == "iso"
            else ""
        )
        raise CellError(f"expected {like}, found {text!r}{hint}") from None
    if moment.tzinfo is None:
        if type_.timezone is None:
            raise CellError(f"{text!r} has no offset from UTC; say `timezone: UTC` (or its own) of the column")
        moment = moment.replace(tzinfo=ZoneInfo(type_.timezone))
    return moment.astimezone(UTC)


def _date(type_: ColumnType, text: str) -> date:
    try:
        if type_.format == "iso":
            return date.fromisoformat(text)
        return datetime.strptime(text, type_.format).date()  # noqa: DTZ007
    except ValueError:
        like = "2026-11-21" if type_.format == "iso" else repr(type_.format)
        raise CellError(f"expected a date like {like}, found {text!r}") from None


def _duration(unit: timedelta) -> Any:
    def read(type_: ColumnType, text: str) -> timedelta:
        number = _decimal(type_, text)
        micros = number * (unit // timedelta(microseconds=1))
        return timedelta(microseconds=int(micros.to_integral_value(ROUND_HALF_EVEN)))

    return read


_READERS: Mapping[str, Any] = {
    "integer": _integer,
    "decimal": _decimal,
    "money": _money,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "date": _date,
    "days": _duration(timedelta(days=1)),
    "hours": _duration(timedelta(hours=1)),
    "minutes": _duration(timedelta(minutes=1)),
    "seconds": _duration(timedelta(seconds=1)),
}
