"""Whoever writes an item, the lake ends as the table does: the API beside consoles, scripts, backups, TTL and exports.

A history of one item is made change by change, as stream records and exported items; the newest row by
`(_version, _seq)` must be what the table holds after every change, and the row of the last one. Only where DynamoDB's
second of a key steps back, which it calls approximate, may an earlier change win, until a later second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import load_contracts
from contracts.change import Row, change_from_item, change_from_record
from tests.support.depth import examples

CONTRACTS = load_contracts()
SECOND = 1_000_000
HOUR = 3600 * SECOND
START = 1_795_222_923 * SECOND + 400_000
TTL = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
Image = dict[str, Any]
Step = tuple[str, int]
"""What happens, and a number: microseconds that pass, or by which the writer's clock is ahead."""

API = ("api writes", "api deletes")
UNVERSIONED = ("put without version", "removed by hand")
FOREIGN = (*UNVERSIONED, "updated by hand", "an old one put back", "expires", "exported")


def order(row: Row) -> tuple[int, str]:
    return int(row["_version"] or 0), row["_seq"] or ""


def version_of(image: Image | None) -> int | None:
    return int(image["_version"]["N"]) if image and "_version" in image else None


@dataclass
class Item:
    """One item of the table: its image, and what the lake gets of it. `time` is DynamoDB's, in microseconds."""

    time: int = START
    image: Image | None = None
    past: tuple[Image, ...] = ()
    rows: tuple[Row, ...] = ()
    late: int = 0  # seconds by which DynamoDB's second of the next change is behind its time
    count: int = 0

    def happens(self, step: Step) -> None:
        what, number = step
        alive = self.image is not None
        match what:
            case "time passes":
                self.time += number
            case "its second is behind":
                self.late = number
            case "api writes":
                self._put(max((version_of(self.image) or 0) + 1, self.time + number))
            case "api deletes" if alive:
                self._put(max((version_of(self.image) or 0) + 1, self.time + number), _deleted={"BOOL": True})
            case "put without version":
                self._put(None)
            case "updated by hand" if alive:
                self._put(version_of(self.image))
            case "an old one put back" if self.past:
                self._put(version_of(self.past[number % len(self.past)]))
            case "removed by hand" if alive:
                self._record("REMOVE", None)
            case "expires" if alive:
                self._record("REMOVE", None, **TTL)
            case "exported" if self.image is not None:
                moment = datetime.fromtimestamp(self.time / SECOND, UTC)
                self._land(change_from_item(self.image, CONTRACTS, event_id=f"x{len(self.rows)}", read_at=moment))

    def _put(self, version: int | None, **more: Any) -> None:
        self.count += 1
        values = {"entity": "customers", "customer_id": "c-1", "status": f"write {self.count}"}
        image: Image = {name: {"S": value} for name, value in values.items()} | more
        if version is not None:
            image["_version"] = {"N": str(version)}
        self._record("MODIFY" if self.image else "INSERT", image)

    def _record(self, name: str, new: Image | None, **more: Any) -> None:
        old, second = self.image, self.time // SECOND - self.late
        body = {"ApproximateCreationDateTime": second, "SequenceNumber": str(10**20 + len(self.rows))}
        body |= ({"OldImage": old} if old else {}) | ({"NewImage": new} if new else {})
        record = {"eventName": name, "eventID": f"e{len(self.rows) * 7 % 100}", "dynamodb": body, **more}
        self.image = new
        if new:
            self.past += (new,)
        self._land(change_from_record(record, CONTRACTS))

    def _land(self, change: tuple[str, Row] | None) -> None:
        assert change is not None
        self.rows += (change[1],)

    def lake_agrees(self) -> bool:
        """Whether the newest row, in whatever order they come, is what the table holds."""
        if not self.rows:
            return True
        newest = max(self.rows, key=order)
        if self.image is None:
            return newest["_op"] in ("remove", "expire")
        gone = "_deleted" in self.image
        return newest["status"] == self.image["status"]["S"] and (newest["_op"] == "remove") == gone


def steps(kinds: tuple[str, ...], skews: st.SearchStrategy[int]) -> st.SearchStrategy[list[Step]]:
    passes = st.integers(0, 3) | st.integers(0, 2 * SECOND) | st.integers(0, 30 * HOUR)
    happening = [st.tuples(st.just(kind), skews if kind in API else st.integers(0, 9)) for kind in kinds]
    return st.lists(st.one_of(st.tuples(st.just("time passes"), passes), *happening), max_size=25)


ANY_CLOCK = st.integers(-6 * HOUR, 6 * HOUR) | st.integers(-SECOND, SECOND)


@settings(max_examples=examples(400))
@given(steps((*API, "exported"), ANY_CLOCK))
def test_the_api_alone_is_ordered_whatever_the_clocks_say(history: list[Step]) -> None:
    item = Item()
    for step in history:
        item.happens(step)
        assert item.lake_agrees(), item.rows


@settings(max_examples=examples(400))
@given(steps((*UNVERSIONED, "updated by hand", "expires", "exported"), ANY_CLOCK))
def test_writers_without_versions_are_ordered_within_a_second(history: list[Step]) -> None:
    item = Item()
    for step in history:
        item.happens(step)
        assert item.lake_agrees(), item.rows


@settings(max_examples=examples(1000))
@given(steps((*API, *FOREIGN), ANY_CLOCK))
def test_all_of_them_are_ordered_whatever_the_clocks_say(history: list[Step]) -> None:
    item = Item()
    for step in history:
        item.happens(step)
        assert item.lake_agrees(), item.rows


EVERYTHING: tuple[Step, ...] = (
    *(("api writes", skew) for skew in (0, -2 * SECOND, 2 * SECOND)),
    *((what, 0) for what in ("put without version", "an old one put back", "removed by hand", "expires")),
)


def histories(item: Item, length: int) -> Iterator[Item]:
    """The item after each history of up to so many changes, in the same second each or in the next."""
    for step, passed in product(EVERYTHING, (0, SECOND)) if length else ():
        after = replace(item, time=item.time + passed)
        after.happens(step)
        if len(after.rows) > len(item.rows):
            yield after
            yield from histories(after, length - 1)


def test_all_short_histories_end_in_their_last_change() -> None:
    total = 0
    for item in histories(Item(), 4):
        assert max(item.rows, key=order) is item.rows[-1], item.rows
        assert item.lake_agrees(), item.rows
        total += 1
    assert total > 20_000


@pytest.mark.parametrize(
    "history",
    [
        [("api writes", 0), ("put without version", 0)],
        [("api writes", 5 * SECOND), ("time passes", 2 * SECOND), ("put without version", 0)],
        [("api writes", 0), ("removed by hand", 0), ("put without version", 0)],
        [("api writes", 0), ("removed by hand", 0), ("an old one put back", 0)],
        [("api writes", 0), ("time passes", SECOND), ("removed by hand", 0), ("api writes", -HOUR), ("api writes", 0)],
        [("api writes", 0), ("expires", 0), ("time passes", SECOND), ("api writes", -HOUR), ("api writes", -HOUR)],
        [("api writes", 0), ("time passes", SECOND), ("api writes", 0), ("an old one put back", 0)],
        [("put without version", 0), ("api writes", 0)],
        [("api writes", HOUR), ("exported", 0), ("time passes", SECOND), ("put without version", 0)],
        [("put without version", 0), ("api writes", 0), ("api writes", 0)],
        [("api writes", 0), ("removed by hand", 0), ("api writes", -HOUR), ("api writes", -HOUR)],
        [("api writes", SECOND), ("put without version", 0), ("put without version", 0)],
        [
            ("api writes", 1000 * 365 * 24 * HOUR),
            ("put without version", 0),
            ("time passes", SECOND),
            ("put without version", 0),
        ],
    ],
)
def test_common_foreign_writes_are_ordered_at_once(history: list[Step]) -> None:
    item = Item()
    for step in history:
        item.happens(step)
        assert item.lake_agrees(), item.rows


def test_a_second_that_steps_back_puts_a_change_behind_until_a_later_second() -> None:
    """Known, and reported as a difference by whoever compares the lake with the table."""
    item = Item()
    for step in (("api writes", 0), ("its second is behind", 1), ("api writes", 0)):
        item.happens(step)
    assert not item.lake_agrees()
    item.happens(("its second is behind", 0))
    item.happens(("time passes", SECOND))
    item.happens(("updated by hand", 0))
    assert item.lake_agrees()
