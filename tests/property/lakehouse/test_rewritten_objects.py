"""Objects that are written again under their key, shorter, longer or corrected: however they were grouped, a replay
gives the same content, and a rebuild gives it, too, or is refused because what an object said is gone. The same content
written again, whenever, is no reason. No event is in the history twice, none is lost."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from contracts import Contract
from lakehouse.api import compact, rebuild
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.publish.published import content_hash
from lakehouse.results import RebuildFailed
from lakehouse.storage.lake import Lake
from tests.support.depth import examples
from tests.support.lakes import NOON, PARCELS, Clock, Landing, change, local_lake, published_changes, published_rows

STREAM: Contract = dataclasses.replace(
    PARCELS, fields=tuple(f for f in PARCELS.fields if f.name in ("parcel_id", "part", "sent_at", "price"))
)
NUMBERED = dataclasses.replace(
    STREAM, origin="files", ordering="part", primary_key=("parcel_id",), partition=None, sort=()
)
TIMED = dataclasses.replace(NUMBERED, ordering="sent_at")
ALL, AGAIN = Scope.everything(), Scope.replay(NOON - timedelta(days=2), NOON + timedelta(days=9))

Change = tuple[str, int, str, int, str]
CHANGE: st.SearchStrategy[Change] = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(1, 2),
    st.sampled_from(["E", "F"]),
    st.just(0),
    st.sampled_from(["1.00", "2.00"]),
)
"""Key, version, event, day of it, and a value: few of each, so that they meet. The relay gives an event one time."""

WRITES = st.lists(
    st.tuples(
        st.sampled_from(["o", "p"]),
        st.one_of(st.lists(CHANGE, min_size=1, max_size=3), st.integers(0, 2)),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)
"""Name of an object; its content, or by how many rows it grows (by none: it is copied again); whether a batch
follows."""
GROWN: list[Change] = [("c", 1, "E", 0, "1.00"), ("a", 2, "G", 0, "1.00")]


def write(lake: Lake, contract: Contract, name: str, rows: list[Change], at: datetime) -> None:
    """Write an object, last modified at this moment."""
    if contract.origin == "files":
        lines = [
            json.dumps({"parcel_id": k, "part": v, "sent_at": f"2026-11-{d + 1:02}T00:00:00Z", "price": price})
            for k, v, _, d, price in rows
        ]
        lake.store.write(f"dropbox/parcels/{name}.ndjson", "\n".join(lines).encode())
        os.utime(lake.store.uri(f"dropbox/parcels/{name}.ndjson"), (at.timestamp(), at.timestamp()))
        return
    Landing(lake, contract).land(
        [
            change(k, version=v, event=e, price=price, _changed_at=f"2026-11-{d + 1:02}T00:00:00Z")
            for k, v, e, d, price in rows
        ],
        name=f"{name}.parquet",
    )


def merge(lake: Lake, contract: Contract, scope: Scope) -> Any:
    compact(lake, contract, scope)
    publish(lake, contract)
    return content_hash(lake, contract)


def expanded(writes: list[tuple[str, list[Change] | int, bool]]) -> Iterator[tuple[str, list[Change], bool]]:
    """The writes with the whole content of each object, and the last of them once more."""
    there: dict[str, list[Change]] = {}
    for name, content, batch in writes:
        there[name] = there.get(name, GROWN[:1]) + GROWN[:content] if isinstance(content, int) else content
        yield name, there[name], batch
    yield name, there[name], True


def is_nothing_gone(contract: Contract, said: dict[str, list[list[Change]]], there: dict[str, list[Change]]) -> bool:
    """Whether every change that an object ever made is in it as it is now; not surely so where false."""
    if contract.origin == "files":  # a row is known by its place and content
        return all(set(enumerate(rows)) <= set(enumerate(there[name])) for name in said for rows in said[name])
    changes = {change for contents in said.values() for rows in contents for change in rows}
    reported_once = len({(k, event) for k, _, event, *_ in changes}) == len(changes)
    return reported_once and all(set(rows) <= set(there[name]) for name in said for rows in said[name])


@pytest.mark.parametrize("contract", [STREAM, NUMBERED, TIMED], ids=["stream", "numbered", "timed"])
@settings(
    max_examples=examples(8),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@example([("o", [("a", 1, "E", 0, "1.00"), ("b", 1, "F", 0, "1.00")], True), ("o", [("a", 1, "E", 0, "1.00")], True)])
@example([("o", [("a", 1, "E", 0, "1.00")], True), ("o", [("a", 1, "E", 0, "2.00")], True)])
@example(
    [
        ("o", [("a", 2, "E", 0, "1.00"), ("a", 1, "F", 0, "1.00")], True),
        ("o", [("a", 2, "E", 0, "1.00"), ("a", 1, "F", 2, "1.00")], True),
    ]
)
@example(
    [
        ("o", [("a", 2, "E", 0, "1.00"), ("a", 1, "F", 0, "1.00")], True),
        ("o", [("a", 1, "F", 2, "1.00")], True),
    ]
)
@example([("p", [("a", 1, "E", 0, "1.00")], True), ("o", [("a", 1, "E", 0, "2.00")], True)])
@example([("o", [("a", 1, "E", 0, "1.00"), ("b", 1, "E", 0, "1.00")], True)])
@example([("o", [("a", 1, "E", 0, "1.00")], True), ("o", 1, True), ("o", 2, False), ("o", 0, True)])
@given(writes=WRITES)
def test_what_is_written_again_changes_nothing_unseen(
    contract: Contract, writes: list[tuple[str, list[Change] | int, bool]]
) -> None:
    with TemporaryDirectory() as folder:
        lake = local_lake(Path(folder), Clock())
        accepted: set[tuple[str, str]] = set()
        there: dict[str, list[Change]] = {}
        said: dict[str, list[list[Change]]] = {}
        for number, (name, rows, batch) in enumerate(expanded(writes)):
            write(lake, contract, name, rows, NOON + timedelta(hours=9 * number))
            there[name] = rows
            if batch:
                before = merge(lake, contract, ALL)
                accepted |= {(k, e) for rows in there.values() for k, _, e, *_ in rows}
                for each, content in there.items():
                    said.setdefault(each, []).append(content)
        history = published_changes(lake, contract)
        events = Counter((row["parcel_id"], row["_event_id"]) for row in history)
        assert not [event for event, times in events.items() if times > 1]
        if contract.origin == "stream":
            assert set(events) == accepted
        assert merge(lake, contract, AGAIN) == before
        try:
            rebuild(lake, contract)
        except RebuildFailed:
            assert not is_nothing_gone(contract, said, there)
        publish(lake, contract)
        assert content_hash(lake, contract) == before


@pytest.mark.parametrize("contract", [NUMBERED, TIMED], ids=["numbered", "timed"])
def test_a_rebuild_under_a_later_version_of_the_contract_gives_the_same(contract: Contract, tmp_path: Path) -> None:
    lake = local_lake(tmp_path, Clock())
    write(lake, contract, "o", [("a", 1, "E", 0, "1.00"), ("b", 1, "E", 0, "1.00")], NOON)
    before = merge(lake, contract, ALL)
    later = dataclasses.replace(contract, version="1.1.0", description="Said in other words.")
    write(lake, later, "p", [("a", 2, "E", 0, "1.00")], NOON)
    write(lake, later, "o", [("a", 1, "E", 0, "1.00"), ("b", 1, "E", 0, "1.00"), ("c", 1, "E", 0, "1.00")], NOON)
    after = merge(lake, later, ALL)
    assert after != before
    rebuild(lake, later)
    publish(lake, later)
    assert content_hash(lake, later) == after


@pytest.mark.parametrize("contract", [NUMBERED, TIMED], ids=["numbered", "timed"])
@settings(max_examples=examples(6), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 3), min_size=2, max_size=4))
def test_a_corrected_file_wins_whatever_else_came_or_went_in_it(contract: Contract, others: list[int]) -> None:
    """Each writing corrects the row of `a`, which keeps its ordering value, after so many other rows."""
    with TemporaryDirectory() as folder:
        lake = local_lake(Path(folder), Clock())
        for number, before in enumerate(others):
            rows: list[Change] = [(f"o{n}", 1, "E", 0, "1.00") for n in range(before)]
            write(lake, contract, "o", [*rows, ("a", 1, "E", 0, f"{number}.00")], NOON + timedelta(seconds=number))
            merge(lake, contract, ALL)
            (row,) = (r for r in published_rows(lake, contract) if r["parcel_id"] == "a")
            assert row["price"] == number
        merge(lake, contract, AGAIN)
        (row,) = (r for r in published_rows(lake, contract) if r["parcel_id"] == "a")
        assert row["price"] == len(others) - 1
