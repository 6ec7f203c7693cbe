"""Structured logs: one JSON object a line on standard output, which Lambda writes to the function's log group.

Fields are names, counts, times and identifiers of requests. Values of entities and keys do not belong here, because
they can be personal data; neither do the texts of exceptions, which may quote them.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import orjson

Level: TypeAlias = Literal["INFO", "WARN", "ERROR"]

_TRACE = re.compile(r"Root=([0-9a-f-]{35})(?![0-9a-f-])")


def log(level: Level, message: str, **fields: object) -> None:
    """Write one line; `fields` are what to filter and count by. It names the trace that X-Ray has of it, if any."""
    line = {"timestamp": datetime.now(UTC), "level": level, "message": message, **fields}
    if (trace := trace_id()) is not None:
        line["trace"] = trace
    sys.stdout.write(orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z).decode() + "\n")
    sys.stdout.flush()


def trace_id() -> str | None:
    """The trace of the present invocation, by which X-Ray and the gateway's log know it; Lambda's runtime says it in a
    variable that changes with each invocation. None where there is none, as on a laptop."""
    found = _TRACE.search(os.environ.get("_X_AMZN_TRACE_ID", ""))
    return None if found is None else found[1]


def where(error: BaseException) -> dict[str, object]:
    """What a log may say of an exception: its kind and the places it went through, without its text."""
    frames = [f"{f.filename.rpartition('/')[2]}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    return {"error": type(error).__name__, "code": error_code(error), "at": frames}


def error_code(error: BaseException) -> str | None:
    """The code that AWS answered with, if the exception comes from an AWS client."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None
    code = response.get("Error", {}).get("Code")
    return code if isinstance(code, str) else None
