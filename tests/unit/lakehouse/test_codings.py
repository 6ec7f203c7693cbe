"""How deep a person is looked for: what docs/operations.md says of codings around a text."""

from __future__ import annotations

import base64
import gzip
import io
import itertools
import json
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.erasure.contents import holds
from lakehouse.erasure.needles import Needles

NEEDLES = Needles("k-77", {"Zoë O'Hara-Quinn": 0})
CODINGS: dict[str, Callable[[str], str]] = {
    "json": lambda text: json.dumps({"v": text}),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "gzip": lambda text: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
}
ONCE = [(coding,) for coding in CODINGS]
TWICE = list(itertools.product(CODINGS, repeat=2))
AROUND = [(coding, *["json"] * depth) for coding in ("base64", "gzip") for depth in (1, 2)] + [("json",) * 4]


def coded(secret: str, codings: Sequence[str]) -> str:
    text = f"id {secret} end"
    for coding in codings:
        text = CODINGS[coding](text)
    return text


@pytest.mark.parametrize("secret", ["k-77", "Zoë O'Hara-Quinn"])
@pytest.mark.parametrize("codings", [*ONCE, *TWICE, *AROUND], ids=" in ".join)
def test_a_text_is_searched_behind_two_codings(secret: str, codings: Sequence[str]) -> None:
    assert holds(f"a\n{coded(secret, codings)}\nb\n".encode(), NEEDLES)
    assert not holds(f"a\n{coded(f'x{secret}x', codings)}\nb\n".encode(), NEEDLES)


@pytest.mark.parametrize("secret", ["k-77", "Zoë O'Hara-Quinn"])
@pytest.mark.parametrize("codings", [*ONCE, *AROUND, ("json", "gzip"), ("gzip", "gzip")], ids=" in ".join)
def test_a_column_is_searched_behind_one_coding_with_json_around_it(secret: str, codings: Sequence[str]) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": ["a", coded(secret, codings), None]}), buffer)
    assert holds(buffer.getvalue(), NEEDLES)
