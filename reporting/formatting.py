"""How the report writes single values: amounts, counts, shares, times and changes. Sentences belong to the panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from reporting.model import Change

Number = Decimal | float | int
NONE = "–"
SYMBOLS: Mapping[str, str] = {"EUR": "€", "USD": "$", "GBP": "£"}


def money(amount: Number | None, currency: str, digits: int | None = None) -> str:
    """The amount with its currency before it; cents only where they matter, or so many `digits`."""
    if amount is None:
        return NONE
    value = float(amount)
    if digits is None:
        digits = 2 if 0 < abs(value) < 100 else 0
    return f"{_sign(round(value, digits))}{prefix(currency)}{abs(value):,.{digits}f}"


def prefix(currency: str) -> str:
    """What stands before an amount: a symbol or, where there is none in general use, the code on the same line."""
    return SYMBOLS.get(currency, f"{currency}\u00a0")


def amount_tick(amount: float, currency: str) -> str:
    """A round amount at the axis of a plot, thousands as k, millions as M."""
    size, unit = next(
        ((s, u) for s, u in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(amount) >= s), (1, "")
    )
    return f"{_sign(amount)}{prefix(currency)}{abs(amount) / size:g}{unit}"


def number(value: Number | None, digits: int = 0) -> str:
    """A number with separators for thousands, a dash for none."""
    return NONE if value is None else f"{_sign(round(float(value), digits))}{abs(value):,.{digits}f}"


def plural(value: Number, one: str, many: str = "") -> str:
    """The noun or verb that goes with a count that stands elsewhere: `order` or `orders`, `is` or `are`."""
    return one if int(value) == 1 else many or one + "s"


def count(value: Number, one: str, many: str = "") -> str:
    """`1 order`, `2 orders`; `many` is for other numbers than one where it is not `one` with an s."""
    return f"{int(value):,} {plural(value, one, many)}"


def is_or_are(part: Number, whole: Number) -> str:
    """The verb after so many of so many: `1 of 2 bids is`, `0 of 1 bid is`, `2 of 3 bids are`."""
    return "is" if 1 in (int(part), int(whole)) else "are"


def percent(share: Number | None) -> str:
    """A share of one as percent, with a digit more where it is small."""
    if share is None:
        return NONE
    value = float(share)
    digits = 1 if 0 < abs(value) < 0.1 else 0
    return f"{_sign(round(value, digits + 2))}{abs(value):,.{digits}%}"


def days(value: Number | None) -> str:
    """A duration given in days."""
    return NONE if value is None else f"{value:,.1f} days"


def capital(text: object) -> str:
    """A label with a capital first letter."""
    return str(text)[:1].upper() + str(text)[1:]


def change(now: Number | None, before: Number | None, against: str, good: bool = True) -> Change | None:
    """By how much a number rose or fell; `good` says whether rising is. None where there is nothing to compare with."""
    if (share := _growth(now, before)) is None:
        return None
    if not share:
        return Change(f"unchanged from {against}", None, True)
    return Change(f"{percent(abs(share))} against {against}", share > 0, good == (share > 0))


def recent(now: Number, before: Number, days: int, shown: Callable[[Number], str]) -> Change | None:
    """How a number of the last days stands to that of as many days before. None where there was nothing before."""
    if (share := _growth(now, before)) is None:
        return None
    how = percent(abs(share)) if share else "Unchanged"
    text = f"{how} in the last {days} days: {shown(now)} against {shown(before)} in the {days} before"
    return Change(text, share > 0 if share else None, share >= 0)


def _growth(now: Number | None, before: Number | None) -> float | None:
    """The share by which a number grew; None where there was nothing before."""
    if now is None or before is None or before <= 0:
        return None
    return (float(now) - float(before)) / float(before)


def day(when: datetime) -> str:
    """A day in words."""
    return f"{when.day} {when:%B %Y}"


def moment(when: datetime) -> str:
    """A time in words; one without zone is UTC."""
    utc = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return f"{day(utc)}, {utc:%H:%M} UTC"


def minute(when: datetime | None) -> str:
    """A time in digits, which no line break divides."""
    return f"{when:%Y-%m-%d %H:%M}".replace("-", "\u2011") if when else NONE


def _sign(value: float) -> str:
    return "−\u2060" if value < 0 else ""  # the joiner keeps the sign with its number
