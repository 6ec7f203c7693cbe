"""What is found in a Parquet file is what is in its texts, one by one: however they are stored, nested or null."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
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
