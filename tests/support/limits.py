"""Limits of planning under which files of a few rows count as big, so that a handful of changes leads to every way of
merging: files rewritten, rows marked as deleted, files split, files cut by key, small files joined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

_NOTHING_SMALL = {"SMALL_FILE": 0, "TINY_FILE": 0, "GROWTH": 0}
LIMITS: dict[str, dict[str, float]] = {
    "as in production": {},
    "marking": _NOTHING_SMALL | {"REWRITE_SHARE": 1.1},
    "splitting": _NOTHING_SMALL | {"REWRITE_SHARE": 0.5, "FILE_BYTES": 1, "_FEWEST_ROWS": 3},
    "cutting": _NOTHING_SMALL
    | {"REWRITE_SHARE": 0.5, "FILE_BYTES": 1, "_FEWEST_ROWS": 3, "ROW_GROUP_BYTES": 0, "SORTED_BYTES": 0},
    "joining": {"SMALL_FILE": 0, "TINY_FILE": 0, "GROWTH": 1, "FILE_BYTES": 20_000, "_FEWEST_ROWS": 8},
}


@contextmanager
def limits(name: str) -> Iterator[None]:
    """Plan under the limits of that name."""
    with ExitStack() as patches:
        for limit, value in LIMITS[name].items():
            patches.enter_context(mock.patch(f"lakehouse.merge.planning.{limit}", value))
        yield
