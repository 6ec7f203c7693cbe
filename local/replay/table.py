"""Reading a CSV file: records of texts to typed cells, and what cannot be read with line and reason.

Nothing is guessed and nothing is dropped: a record that does not fit the header, and a cell whose text fits its type in
no way, or in two ways with different values, are told with line and reason.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo

from local.replay.exact import EXACT
from local.replay.lines import Format, TableError, Unreadable, read_records
from local.replay.money import NotMoney, read_money


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
    for line, cells, text in read_records(content, form, unreadable):
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
    if any("\0" in name for name in names):
        raise TableError(f"line {line}: the header holds U+0000; say file.encoding in the mapping (utf-16-le?)")
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


class CellError(ValueError):
    """A cell's text does not fit the type that the mapping gives its column."""


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
    formats: tuple[str, ...] = ("iso",)
    timezone: str | None = None
    ambiguous: str | None = None
    decimal_mark: str = "."
    true_words: frozenset[str] = TRUE
    false_words: frozenset[str] = FALSE


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
    try:
        return read_money(text, type_.decimal_mark)
    except NotMoney as error:
        raise CellError(f"{error}{'' if re.search('[0-9]', text) else _missing_hint(text)}") from None


def _boolean(type_: ColumnType, text: str) -> bool:
    word = text.lower()
    if word in type_.true_words:
        return True
    if word in type_.false_words:
        return False
    words = ", ".join(sorted(type_.true_words | type_.false_words))
    raise CellError(f"expected one of {words}; found {text!r} (say `true: [...]` and `false: [...]` of the column)")


def _timestamp(type_: ColumnType, text: str) -> datetime:
    return _in_one_way(type_, text, _moment)


def _date(type_: ColumnType, text: str) -> date:
    return _in_one_way(type_, text, _day)


_Day = TypeVar("_Day", datetime, date)


def _in_one_way(type_: ColumnType, text: str, read: Callable[[ColumnType, str, str], _Day]) -> _Day:
    """The value that the formats of the column give a text; a text that two of them read differently has none."""
    found: dict[_Day, str] = {}
    problems = []
    for form in type_.formats:
        try:
            found.setdefault(read(type_, text, form), form)
        except CellError as error:
            problems.append(str(error))
    if len(found) > 1:
        ways = "; ".join(f"{form!r} gives {value.isoformat()}" for value, form in found.items())
        raise CellError(f"{text!r} can be read in more than one way: {ways}. Keep one of the formats, or mend the cell")
    if found:
        return next(iter(found))
    raise CellError(problems[0] if len(problems) == 1 else f"no format fits: {'; '.join(problems)}")


def _moment(type_: ColumnType, text: str, form: str) -> datetime:
    if form in ("epoch", "epoch_ms"):
        return _since_1970(text, form)
    try:
        moment = _iso(text) if form == "iso" else _by_pattern(text, form)
    except ValueError:
        like = "a timestamp like 2026-11-21T13:45:00Z" if form == "iso" else f"a timestamp like {form!r}"
        hint = "; say `format:` of the column (epoch, epoch_ms or one like '%d/%m/%Y %H:%M')" if form == "iso" else ""
        raise CellError(f"expected {like}, found {text!r}{hint}") from None
    if form == "iso" and re.search(r"[.,]\d{6}\d*[1-9]", text):
        raise CellError(f"expected at most microseconds, found {text!r}")
    try:
        return _with_zone(type_, text, moment).astimezone(UTC)
    except OverflowError:
        raise CellError(f"expected a moment of the years 1 to 9999 in UTC, found {text!r}") from None


_ISO = re.compile(r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(-?\d)?)([T ].+)?")
_ADJACENT = re.compile(r"%[A-Za-z]%[A-Za-z]")
_OF_THE_DAY = re.compile(r"%[aAj]")


def _iso(text: str) -> datetime:
    """Python takes any character between day and time, so that the offset of a day would be read as its time."""
    if not _ISO.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _by_pattern(text: str, form: str) -> datetime:
    """Where nothing stands between two numbers, each needs all its digits: of `1112026`, one is missing somewhere.
    A weekday, or a number of a day within its year, must be that of the day: Python passes over a wrong one."""
    moment = datetime.strptime(text, form)  # noqa: DTZ007
    if _OF_THE_DAY.search(form) and moment.timetuple()[6:8] != time.strptime(text, form)[6:8]:
        raise ValueError(text)
    if _ADJACENT.search(form) and moment.strftime(form).lower() != text.lower():
        raise ValueError(text)
    return moment


def _with_zone(type_: ColumnType, text: str, moment: datetime) -> datetime:
    """A moment with its offset. A local time that its zone skips has none; one that comes twice only if the column says
    which: the first has fold 0, the second fold 1 (PEP 495)."""
    if moment.tzinfo is not None:
        return moment
    if type_.timezone is None:
        raise CellError(f"{text!r} has no offset from UTC; say `timezone: UTC` (or its own) of the column")
    zone = ZoneInfo(type_.timezone)
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise CellError(f"{text!r} does not exist in {type_.timezone}: clocks were put forward over it; mend the cell")
    if type_.ambiguous is None:
        raise CellError(
            f"{text!r} exists twice in {type_.timezone}: clocks were put back; write the offset into the cell, "
            "or say `ambiguous: earlier` (or later) of the column"
        )
    return first if type_.ambiguous == "earlier" else second


def _since_1970(text: str, form: str) -> datetime:
    if not _NUMBER.fullmatch(text):
        raise CellError(f"expected {'seconds' if form == 'epoch' else 'milliseconds'} since 1970, found {text!r}")
    unit = 1_000_000 if form == "epoch" else 1000
    micros = EXACT.multiply(Decimal(text), Decimal(unit))
    if micros != micros.to_integral_value():
        raise CellError(f"expected at most microseconds, found {text!r}")
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
    except OverflowError:
        raise CellError(f"expected a moment that exists, found {text!r}; is the format epoch_ms?") from None


def _day(type_: ColumnType, text: str, form: str) -> date:
    try:
        return date.fromisoformat(text) if form == "iso" else _by_pattern(text, form).date()
    except ValueError:
        like = "2026-11-21" if form == "iso" else repr(form)
        raise CellError(f"expected a date like {like}, found {text!r}") from None


def _duration(unit: timedelta) -> Any:
    def read(type_: ColumnType, text: str) -> timedelta:
        number = _decimal(type_, text)
        micros = EXACT.multiply(number, Decimal(unit // timedelta(microseconds=1)))
        try:
            return timedelta(microseconds=int(micros.to_integral_value(ROUND_HALF_EVEN)))
        except OverflowError:
            raise CellError(f"expected a duration of at most {timedelta.max.days:,} days, found {text!r}") from None

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
