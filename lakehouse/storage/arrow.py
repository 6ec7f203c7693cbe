"""pyarrow as it is where there is no pandas: whoever of the lake uses it first imports this module before.

With the first list that it is given, pyarrow looks whether there is pandas, to know its types among values, and imports
it. That takes a sixth of a second and 30 MB in each process that makes a batch, and nothing in the lake is of pandas.
pyarrow looks once. Where somebody has imported pandas before, or asks pyarrow for its types later, all works the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

LOOKED_FOR = "pandas"
"""What pyarrow imports to see whether it is there; a test holds that it still does."""


class _Nowhere:
    """An importer that finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == LOOKED_FOR:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _missing() -> Iterator[None]:
    sys.meta_path.insert(0, _Nowhere)
    try:
        yield
    finally:
        sys.meta_path.remove(_Nowhere)


if LOOKED_FOR not in sys.modules:
    with _missing():
        pa.array([])
