"""Reads JSON that others wrote: a request's body, a message of the inbound queue."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal, DecimalException

from realtime.api import problems


def decode(text: str) -> object:
    """The decoded JSON: numbers with a point become `Decimal`; floats, NaN and repeated names do not exist.

    Raises a `ApiError` (400) that says what cannot be read.
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_object)
    except (RecursionError, DecimalException):
        raise problems.malformed("", "expected JSON with less nesting and shorter numbers") from None
    except json.JSONDecodeError as error:
        reason = f"expected JSON, found an error in line {error.lineno}, column {error.colno}: {error.msg}"
        raise problems.malformed("", reason) from None
    except ValueError:  # Python reads no integers of thousands of digits, for that takes too long
        raise problems.malformed("", "expected integers of at most 4,300 digits") from None


def _no_constant(name: str) -> object:
    raise problems.malformed("", f"expected JSON, found {name}, which is no JSON number")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        ((repeated, _),) = Counter(n for n, _ in pairs).most_common(1)
        raise problems.malformed(repeated, "expected each name once, found it twice")
    return result
