"""Things in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(things: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """The things in tuples of `size`, the last one shorter, none of them empty."""
    remaining = iter(things)
    while some := tuple(islice(remaining, size)):
        yield some
