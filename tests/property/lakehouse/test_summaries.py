"""Whatever runs write summaries, killed anywhere or overtaken anywhere: the newest one that finished is what is said.

A run is of a data time, and dies before one of its transactions, or another run happens there as a whole. As long as
nobody began with later data, the items are those of the last run that finished; the data time up to which all are
written never goes back; and a run that is left alone brings everything to what it reads.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import summaries
from lakehouse.serving import summaries as writing
from lakehouse.serving.summaries import SummariesOvertaken, _Items
from lakehouse.storage.lake import Lake
from tests.support.depth import examples
from tests.support.failing import Crash
from tests.support.summaries import TABLE, emulated, sold, turnover, write

PARTIES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2))
TIMES = st.integers(0, 4)


@dataclass(frozen=True)
class Run:
    """What a run reads, and what happens before one of its transactions: another run as a whole, or its death."""

    minutes: int
    parties: dict[str, int]
    happens_before: int
    other: Run | None


def runs(depth: int = 1) -> st.SearchStrategy[Run]:
    other = st.none() | runs(depth - 1) if depth else st.none()
    return st.builds(Run, TIMES, PARTIES, st.integers(0, 4), other)


@dataclass
class World:
    """A table, who began last, and who finished."""

    lake: Lake
    last: Run | None = None
    finished: set[int] = field(default_factory=set)

    def happen(self, run: Run) -> bool:
        """The run, with what happens in it; whether it finished."""
        left, transact, take_over = run.happens_before, _Items.transact, _Items.take_over

        def interrupted(items: _Items, writes: list[dict[str, Any]]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                if run.other is None:
                    raise Crash
                with mock.patch.multiple(_Items, transact=transact, take_over=take_over):
                    self.happen(run.other)
            transact(items, writes)

        def begun(items: _Items, data_time: str) -> None:
            take_over(items, data_time)
            self.last = run

        rows = [sold(party, amount) for party, amount in run.parties.items()]
        with mock.patch.multiple(_Items, transact=interrupted, take_over=begun):
            try:
                done = write(self.lake, rows, run.minutes)
            except (Crash, SummariesOvertaken):
                return False
        if done is not None:
            self.finished.add(id(run))
        return True

    def check(self) -> None:
        if self.last is not None and id(self.last) in self.finished:
            assert turnover() == said(self.last)


def said(run: Run) -> dict[str, list[tuple[str, str, str]]]:
    return {party: [("buyer", "EUR", f"{amount}.00")] for party, amount in run.parties.items()}


def complete() -> str:
    found = boto3.client("dynamodb").get_item(TableName=TABLE, Key={"pk": {"S": summaries.STATE}}).get("Item", {})
    return str(found.get("complete", {}).get("S", ""))


@settings(max_examples=examples(25))
@given(happening=st.lists(runs(), min_size=1, max_size=5), end=PARTIES)
def test_the_newest_run_that_finished_is_what_is_said(happening: list[Run], end: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory() as folder, emulated(Path(folder)) as lake, small_transactions():
        world, before = World(lake), ""
        for run in happening:
            world.happen(run)
            world.check()
            assert complete() >= before
            before = complete()
        alone = Run(9, end | {"last": 1}, 0, None)
        assert world.happen(alone)
        assert turnover() == said(alone)


def small_transactions() -> Any:
    return mock.patch.object(writing, "WRITES_AT_ONCE", 2)
