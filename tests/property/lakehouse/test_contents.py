"""What is found in a Parquet file is what is in its texts, one by one: however stored, nested, coded or null."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse.erasure.contents import holds
from lakehouse.erasure.needles import Needles

ALPHABET = "c-17 ü"
TEXT = st.text(ALPHABET, max_size=8)


@given(
    columns=st.lists(st.lists(st.none() | TEXT, min_size=3, max_size=3), min_size=1, max_size=3),
    identity=st.text("c-17ü", min_size=1, max_size=4),
    values=st.dictionaries(st.text("c-17 ü", min_size=1, max_size=7), st.sampled_from((0, 0, 1)), max_size=3),
    nested=st.booleans(),
    group=st.integers(1, 3),
)
def test_a_file_holds_a_person_exactly_if_one_of_its_texts_does(
    columns: list[list[str | None]], identity: str, values: dict[str, int], nested: bool, group: int
) -> None:
    needles = Needles(identity, values)
    arrays = [
        pa.array([[t] for t in c], pa.list_(pa.string())) if nested else pa.array(c, pa.string()) for c in columns
    ]
    buffer = io.BytesIO()
    # Without statistics: the footer is searched as bytes, and only what stands in it by itself counts.
    pq.write_table(
        pa.table(arrays, [f"_{n}.x" for n in range(len(arrays))]), buffer, row_group_size=group, write_statistics=False
    )
    expected = any(
        t in needles.whole or needles.in_bytes(t.encode()) for column in columns for t in column if t is not None
    )
    if not expected and needles.in_bytes(buffer.getvalue()):
        return  # by chance in what Parquet itself writes
    assert holds(buffer.getvalue(), needles) == expected


def _fixed(text: str) -> pa.Array:
    content = text.encode()
    return pa.array([content], pa.binary(len(content)))


def _struct(text: str) -> pa.Array:
    return pa.array([{"a": {"b": [text]}}], pa.struct([("a", pa.struct([("b", pa.list_(pa.string()))]))]))


STORED: dict[str, Callable[[str], pa.Array]] = {
    "string": lambda t: pa.array([t], pa.string()),
    "large_string": lambda t: pa.array([t], pa.large_string()),
    "string_view": lambda t: pa.array([t], pa.string_view()),
    "binary": lambda t: pa.array([t.encode()], pa.binary()),
    "large_binary": lambda t: pa.array([t.encode()], pa.large_binary()),
    "binary_view": lambda t: pa.array([t.encode()], pa.binary_view()),
    "fixed_size_binary": _fixed,
    "compressed": lambda t: pa.array([gzip.compress(t.encode())], pa.binary()),
    "dictionary": lambda t: pa.array([t, "other", t]).dictionary_encode(),
    "large_list": lambda t: pa.array([[t]], pa.large_list(pa.string())),
    "fixed_size_list": lambda t: pa.array([[t, "x"]], pa.list_(pa.string(), 2)),
    "list_view": lambda t: pa.array([["x", t]], pa.list_view(pa.string())),
    "large_list_view": lambda t: pa.array([[t]], pa.large_list_view(pa.string())),
    "key of a map": lambda t: pa.array([[(t, 1)]], pa.map_(pa.string(), pa.int64())),
    "value of a map": lambda t: pa.array([[("x", t)]], pa.map_(pa.string(), pa.string())),
    "struct": _struct,
    "ten lists": lambda t: _in_lists(pa.array([t]), 10),
}


def _in_lists(array: pa.Array, depth: int) -> pa.Array:
    for _ in range(depth):
        array = pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)
    return array


CODED: dict[str, Callable[[str], str]] = {
    "plain": lambda t: t,
    "JSON": lambda t: json.dumps({"name": t}),
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "base64 of a URL": lambda t: base64.urlsafe_b64encode(f"?{t}".encode()).decode(),
    "base64 behind others": lambda t: base64.b64encode(f"??{t} and more".encode()).decode(),
    "compressed": lambda t: base64.b64encode(gzip.compress(t.encode())).decode(),
}


@pytest.mark.parametrize("stored", STORED)
@given(
    identity=st.from_regex(r"c-[0-9]{2,6}", fullmatch=True),
    name=st.text("Zoë Müller>?~", min_size=5, max_size=12).filter(lambda t: not t.isalpha() and t.strip() == t),
    named=st.booleans(),
    coded=st.sampled_from(sorted(CODED)),
    around=st.sampled_from(["", " ", '"', "x "]),
)
@example(identity="c-77", name="Zoë Müller", named=True, coded="JSON", around='"')
def test_whatever_type_and_coding_a_text_has_it_is_searched(
    stored: str, identity: str, name: str, named: bool, coded: str, around: str
) -> None:
    needles = Needles(identity, {name: 0})
    text = CODED[coded](around + (name if named else identity))
    array = STORED[stored](text)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"beside": pa.array([1] * len(array)), "t": array}), buffer, write_statistics=False)
    assert holds(buffer.getvalue(), needles) == needles.in_text(text)
