"""Reading a cell: its text as an amount, a number, a moment and so on, exactly and in one way only, or not at all.

Nothing is guessed: a text that fits in no way, or in two ways with different values, is refused with what to do. No
message tells what stands in the cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from local.replay.money import NotMoney, read_money, shape


class CellError(ValueError):
    """A cell's text cannot be read; the message says what was expected."""


class SettingsError(ValueError):
    """What is said about how to read cells cannot be meant; the message says why."""


@dataclass(frozen=True)
class Settings:
    """How a cell is read, as far as its kind looks at it."""

    decimal_mark: str = "."
    format: str = "iso"
    timezone: str | None = None
    ambiguous: str | None = None


def settings_of(said: Mapping[str, str | None]) -> Settings:
    """The settings from texts, None where nothing is said. Raises `SettingsError`."""
    mark = str(said.get("decimal_mark") or ".")
    if mark not in (".", ","):
        raise SettingsError(f"expected decimal_mark '.' or ',', found {mark!r}")
    zone = said.get("timezone")
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise SettingsError(f"there is no time zone {zone!r}; write UTC or one like Europe/Berlin") from None
    ambiguous = said.get("ambiguous")
    if ambiguous not in (None, "earlier", "later"):
        raise SettingsError(f"expected ambiguous 'earlier' or 'later', found {ambiguous!r}")
    form = said.get("format") or "iso"
    if form != "iso" and (reason := _not_a_pattern(form)):
        raise SettingsError(f"format {form!r}: {reason}")
    return Settings(mark, form, zone, ambiguous)


_PARTS = {"b": "m", "B": "m", "y": "Y"}
"""Directives that say the same part of a moment as another one."""


def _not_a_pattern(form: str) -> str | None:
    """Why a pattern cannot be used; None if it can. `%Z`, weekdays and the like would be read and forgotten."""
    given = [d for d in re.findall(r"%(.?)", form) if d != "%"]
    if not given:
        return "expected iso or one like '%d.%m.%Y %H:%M'; make_timestamp reads seconds since 1970"
    if unknown := sorted(set(given) - set("YymbBdHIMSfpz")):
        return f"there is no %{unknown[0]}; known are %Y %y %m %b %B %d %H %I %p %M %S %f %z"
    parts = [_PARTS.get(d, d) for d in given]
    if twice := sorted({part for part in parts if parts.count(part) > 1}):
        return f"what %{twice[0]} stands for is given twice"
    if not {"Y", "m", "d"} <= set(parts):
        return "expected year, month and day (%Y %m %d)"
    if ("p" in parts) != ("I" in parts) or {"I", "H"} <= set(parts):
        return "expected %H (0 to 23), or %I (1 to 12) with %p"
    return None


def read_cell(kind: str, text: str, settings: Settings) -> str | None:
    """One cell in the form that DuckDB casts exactly to the kind's type; None if it is empty. Raises `CellError`."""
    stripped = text.strip()
    return _READERS[kind](settings, stripped) if stripped else None


_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
MONEY_SCALE, NUMBER_SCALE, WHOLE_DIGITS = 6, 10, 18
"""Digits after the point of an amount and of a number, and before it: products of three still fit DuckDB's 38."""


def _decimal(settings: Settings, text: str) -> Decimal:
    written = text
    if settings.decimal_mark == ",":
        if "." in text:
            raise CellError(f"expected a decimal with ',' as its mark, found {shape(text)}; as_money reads 1.234,50")
        written = text.replace(",", ".")
    if not _NUMBER.fullmatch(written):
        hint = "; as_money reads symbols and groups of thousands" if re.search(r"\d", text) else _NO_VALUE
        raise CellError(f"expected a decimal, found {shape(text)}{hint}")
    return Decimal(written)


_NO_VALUE = "; if that stands for no value, list it under `missing` in file.yaml, or use nullif(column, '...')"


def _written(number: Decimal, scale: int) -> str:
    """A number as digits; one that its type cannot hold is refused, since DuckDB would round it."""
    if number and not -scale <= number.adjusted() < WHOLE_DIGITS:
        raise CellError(f"expected a number of at most {WHOLE_DIGITS} digits before the point and {scale} behind it")
    plain = f"{number:f}"
    if len(plain.partition(".")[2].rstrip("0")) > scale:
        raise CellError(f"expected at most {scale} digits behind the point, found {shape(plain)}")
    return plain


def _number(settings: Settings, text: str) -> str:
    return _written(_decimal(settings, text), NUMBER_SCALE)


def _integer(settings: Settings, text: str) -> str:
    if re.fullmatch(r"[+-]?[0-9]{1,18}(\.0+)?", text):
        return text.partition(".")[0]
    hint = "" if re.search(r"[0-9]", text) else _NO_VALUE
    raise CellError(f"expected an integer, found {shape(text)}{hint}")


def _money(settings: Settings, text: str) -> str:
    try:
        return _written(read_money(text, settings.decimal_mark), MONEY_SCALE)
    except NotMoney as error:
        raise CellError(f"{error}{'' if re.search('[0-9]', text) else _NO_VALUE}") from None


def _time(settings: Settings, text: str) -> str:
    return _moment(settings, text).replace(tzinfo=None).isoformat(" ")


def _moment(settings: Settings, text: str) -> datetime:
    form = settings.format
    try:
        moment = _iso(text) if form == "iso" else _by_pattern(text, form)
    except ValueError:
        like = "2026-11-21T13:45:00Z; say format := '%d/%m/%Y %H:%M' or so" if form == "iso" else repr(form)
        raise CellError(f"expected a timestamp like {like}, found {shape(text)}") from None
    if form == "iso" and re.search(r"[.,]\d{6}\d*[1-9]", text):
        raise CellError(f"expected at most microseconds, found {shape(text)}")
    try:
        return _with_zone(settings, text, moment).astimezone(UTC)
    except OverflowError:
        raise CellError(f"expected a moment of the years 1 to 9999 in UTC, found {shape(text)}") from None


_ISO = re.compile(r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(-?\d)?)([T ].+)?")
_ADJACENT = re.compile(r"%[A-Za-z]%[A-Za-z]")


def _iso(text: str) -> datetime:
    """Python takes any character between day and time, so that the offset of a day would be read as its time."""
    if not _ISO.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)


def _by_pattern(text: str, form: str) -> datetime:
    """Where nothing stands between two numbers, each needs all its digits: of `1112026`, one is missing somewhere."""
    moment = datetime.strptime(text, form)  # noqa: DTZ007
    if _ADJACENT.search(form) and moment.strftime(form).lower() != text.lower():
        raise ValueError(text)
    return moment


def _with_zone(settings: Settings, text: str, moment: datetime) -> datetime:
    """A moment with its offset. A local time that its zone skips has none; one that comes twice only if the mapping
    says which: the first has fold 0, the second fold 1 (PEP 495)."""
    if moment.tzinfo is not None:
        return moment
    if settings.timezone is None:
        raise CellError(f"{shape(text)} has no offset from UTC; say timezone := 'UTC' (or its own)")
    zone = ZoneInfo(settings.timezone)
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise CellError(
            f"{shape(text)} does not exist in {settings.timezone}: clocks were put forward over it; mend the cell"
        )
    if settings.ambiguous is None:
        raise CellError(
            f"{shape(text)} exists twice in {settings.timezone}: clocks were put back; write the offset into the cell, "
            "or say ambiguous := 'earlier' (or 'later')"
        )
    return first if settings.ambiguous == "earlier" else second


def _date(settings: Settings, text: str) -> str:
    form = settings.format
    try:
        return str(date.fromisoformat(text) if form == "iso" else _by_pattern(text, form).date())
    except ValueError:
        like = "2026-11-21" if form == "iso" else repr(form)
        raise CellError(f"expected a date like {like}, found {shape(text)}") from None


_LONGEST = 3_652_059
"""Days from the year 1 to the year 9999: no two moments are further apart."""
_EXACT = Context(prec=4_000, traps=[InvalidOperation, Overflow, Inexact])
"""Python's own default keeps 28 digits of a product, and says nothing."""


def _times(text: str, number: Decimal, factor: int) -> Decimal:
    try:
        return _EXACT.multiply(number, Decimal(factor))
    except ArithmeticError:
        raise CellError(f"expected at most {_EXACT.prec:,} digits, found {shape(text)}") from None


def _duration(seconds: int) -> Callable[[Settings, str], str]:
    """Microseconds of a number of units of so many seconds; what is finer is rounded half to even."""

    def read(settings: Settings, text: str) -> str:
        number = _decimal(settings, text)
        if number.adjusted() > 15 or abs(number) > Decimal(_LONGEST) * (86_400 // seconds):
            raise CellError(f"expected a duration of at most {_LONGEST:,} days, found {shape(text)}")
        return str(int(_times(text, number, seconds * 1_000_000).to_integral_value(ROUND_HALF_EVEN)))

    return read


_READERS: Mapping[str, Callable[[Settings, str], str]] = {
    "text": lambda settings, text: text,
    "money": _money,
    "number": _number,
    "integer": _integer,
    "time": _time,
    "date": _date,
    "days": _duration(86_400),
    "hours": _duration(3_600),
    "minutes": _duration(60),
    "seconds": _duration(1),
}
KINDS = tuple(_READERS)


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean x?`, or the list of what is known."""
    close = [k for k in known if k.lower() == name.lower()] or get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known)) or 'none'}"
