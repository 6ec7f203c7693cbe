"""The pump must treat a stream as AWS's event source mapping does: in order, nothing lost, nothing retried for ever."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.pump import (
    Batch,
    Failed,
    Outcome,
    Page,
    Policy,
    Pump,
    Record,
    Shard,
    Succeeded,
    Throttled,
    after,
    first_failure,
    sequence_number,
)


def record(number: int) -> Record:
    return {"eventID": str(number), "dynamodb": {"SequenceNumber": f"{number:030d}"}}


def batch(*numbers: int, retries: int = 0) -> Batch:
    return Batch(tuple(record(n) for n in numbers), retries)


def numbers(records: Sequence[Record]) -> list[int]:
    return [int(sequence_number(r)) for r in records]


def partial(*identifiers: object) -> Succeeded:
    return Succeeded({"batchItemFailures": [{"itemIdentifier": i} for i in identifiers]})


@dataclass
class FakeStream:
    """Shards as lists of records; iterators are `shard:position`."""

    content: dict[str, list[Record]]
    parents: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    def shards(self) -> list[Shard]:
        return [Shard(s, self.parents.get(s)) for s in self.content]

    def iterator(self, shard_id: str, after: str | None) -> str:
        known = [sequence_number(r) for r in self.content[shard_id]]
        return f"{shard_id}:{known.index(after) + 1 if after in known else 0}"

    def read(self, iterator: str, limit: int) -> Page:
        shard, _, start = iterator.rpartition(":")
        page = tuple(self.content[shard][int(start) : int(start) + limit])
        end = int(start) + len(page)
        ended = shard in self.closed and end == len(self.content[shard])
        return Page(page, None if ended else f"{shard}:{end}")


@dataclass
class FakeFunction:
    answer: Callable[[Sequence[Record]], Outcome]
    calls: list[list[int]] = field(default_factory=list)

    def invoke(self, shard_id: str, records: Sequence[Record]) -> Outcome:
        self.calls.append(numbers(records))
        return self.answer(records)


@dataclass
class Kept:
    batches: list[list[int]] = field(default_factory=list)

    def keep(self, shard_id: str, batch: Batch, reason: str) -> None:
        self.batches.append(numbers(batch.records))


@dataclass
class Memory:
    saved: dict[str, str] = field(default_factory=dict)

    def load(self) -> dict[str, str]:
        return dict(self.saved)

    def save(self, positions: Mapping[str, str]) -> None:
        self.saved = dict(positions)


def pump(stream: FakeStream, function: FakeFunction, **more: Any) -> Pump:
    return Pump(stream, function, more.pop("failures", Kept()), more.pop("checkpoint", Memory()), **more)


def succeed(records: Sequence[Record]) -> Outcome:
    return Succeeded()


# ---- the rule of one outcome


def test_a_success_acknowledges_the_whole_batch() -> None:
    step = after(batch(1, 2, 3), Succeeded({"batchItemFailures": []}), Policy())
    assert (step.acknowledged, step.again, step.given_up) == (3, (), None)


def test_a_function_error_bisects_without_counting_a_retry() -> None:
    step = after(batch(1, 2, 3, retries=1), Failed("boom"), Policy())
    assert step.again == (batch(1, retries=1), batch(2, 3, retries=1))
    assert step.acknowledged == 0


def test_a_single_record_is_retried_up_to_the_maximum_then_given_up() -> None:
    policy = Policy(maximum_retries=3)
    assert after(batch(1, retries=2), Failed("boom"), policy).again == (batch(1, retries=3),)
    step = after(batch(1, retries=3), Failed("boom"), policy)
    assert step.given_up == batch(1, retries=3)
    assert step.acknowledged == 1


def test_without_bisecting_the_whole_batch_is_retried_and_given_up() -> None:
    policy = Policy(bisect=False, maximum_retries=1)
    assert after(batch(1, 2), Failed("boom"), policy).again == (batch(1, 2, retries=1),)
    assert after(batch(1, 2, retries=1), Failed("boom"), policy).given_up == batch(1, 2, retries=1)


def test_a_partial_response_stops_at_the_first_failed_sequence_number_whatever_its_place_in_the_list() -> None:
    step = after(batch(1, 2, 3, 4), partial(f"{4:030d}", f"{2:030d}"), Policy())
    assert step.acknowledged == 1
    assert step.again == (batch(2, 3, 4),)


def test_progress_starts_the_count_of_retries_again() -> None:
    assert after(batch(1, 2, retries=3), partial(f"{2:030d}"), Policy()).again == (batch(2, retries=0),)


@pytest.mark.parametrize("identifier", ["", None, "not-in-the-batch", 7])
def test_a_useless_item_identifier_fails_the_whole_batch(identifier: object) -> None:
    assert first_failure(batch(1, 2), partial(identifier).response) == 0


@pytest.mark.parametrize("response", [{"batchItemFailures": "x"}, {"batchItemFailures": ["x"]}, [1], "text"])
def test_a_malformed_response_fails_the_whole_batch(response: object) -> None:
    assert first_failure(batch(1, 2), response) == 0


@pytest.mark.parametrize("response", [None, "", {}, {"batchItemFailures": None}, {"other": 1}])
def test_an_empty_response_is_a_success(response: object) -> None:
    assert first_failure(batch(1, 2), response) is None


def test_partial_responses_are_ignored_where_the_mapping_does_not_ask_for_them() -> None:
    assert after(batch(1, 2), partial(f"{1:030d}"), Policy(partial_responses=False)).acknowledged == 2


def test_throttling_never_counts() -> None:
    assert after(batch(1, retries=3), Throttled(), Policy()).again == (batch(1, retries=3),)


# ---- the loop


def test_a_poison_record_ends_whole_in_the_failure_destination_and_the_rest_goes_on() -> None:
    kept, waits = Kept(), []
    function = FakeFunction(lambda records: Failed("poison") if 3 in numbers(records) else Succeeded())
    p = pump(
        FakeStream({"s": [record(n) for n in range(6)]}), function, failures=kept, policy=Policy(maximum_retries=2),
        wait=waits.append,
    )  # fmt: skip
    counts = p.drain()
    assert kept.batches == [[3]]
    assert [c for c in function.calls if c == [3]] == [[3]] * 3
    assert (counts.handled, counts.given_up) == (6, 1)
    assert waits, "sending again must be delayed"


def test_a_child_shard_starts_after_its_parent_is_finished() -> None:
    stream = FakeStream(
        {"child": [record(10)], "parent": [record(1), record(2)]}, parents={"child": "parent"}, closed={"parent"}
    )
    function = FakeFunction(succeed)
    pump(stream, function, policy=Policy(batch_size=1)).drain()
    assert function.calls == [[1], [2], [10]]


def test_a_killed_pump_goes_on_behind_its_checkpoint() -> None:
    stream, memory = FakeStream({"s": [record(n) for n in range(5)]}), Memory()
    seen: list[int] = []

    def die_after_two(records: Sequence[Record]) -> Outcome:
        if len(seen) >= 2:
            raise KeyboardInterrupt
        seen.extend(numbers(records))
        return Succeeded()

    with pytest.raises(KeyboardInterrupt):
        pump(stream, FakeFunction(die_after_two), checkpoint=memory, policy=Policy(batch_size=1)).drain()
    function = FakeFunction(succeed)
    pump(stream, function, checkpoint=memory).drain()
    assert function.calls == [[2, 3, 4]]


def test_a_pump_that_is_stopped_repeats_only_what_was_not_acknowledged() -> None:
    stream, memory = FakeStream({"s": [record(n) for n in range(4)]}), Memory()
    function = FakeFunction(lambda records: partial(f"{2:030d}") if 0 in numbers(records) else Succeeded())
    first = pump(stream, function, checkpoint=memory)
    first.drain(stopping=lambda: len(function.calls) == 1)
    assert function.calls == [[0, 1, 2, 3]]
    first.drain()
    assert function.calls[1:] == [[2, 3]]


def test_records_that_arrive_later_are_handed_over_once() -> None:
    stream, function = FakeStream({"s": [record(1)]}), FakeFunction(succeed)
    p = pump(stream, function)
    p.drain()
    stream.content["s"].append(record(2))
    p.drain()
    assert function.calls == [[1], [2]]


@st.composite
def behaviours(draw: st.DrawFn) -> tuple[int, set[int], dict[int, int], Policy]:
    """How many records there are, which always fail, and which fail a few times and are named in partial responses."""
    size = draw(st.integers(1, 40))
    poison = draw(st.sets(st.integers(0, size - 1), max_size=4))
    flaky = draw(st.dictionaries(st.integers(0, size - 1), st.integers(1, 3), max_size=6))
    return size, poison, flaky, Policy(batch_size=draw(st.integers(1, 16)), maximum_retries=draw(st.integers(3, 6)))


@given(behaviours())
def test_every_record_is_handled_in_order_or_kept_and_the_pump_always_ends(
    case: tuple[int, set[int], dict[int, int], Policy],
) -> None:
    """Each record succeeds or is kept, exactly the poison ones are kept, and first successes keep the shard's order."""
    size, poison, flaky, policy = case
    left = {n: times for n, times in flaky.items() if n not in poison}
    delivered: list[int] = []

    def answer(records: Sequence[Record]) -> Outcome:
        batch_numbers = numbers(records)
        if poison & set(batch_numbers):
            return Failed("poison")
        for position, n in enumerate(batch_numbers):
            if left.get(n, 0):
                left[n] -= 1
                delivered.extend(batch_numbers[:position])
                return partial(f"{n:030d}")
        delivered.extend(batch_numbers)
        return Succeeded()

    kept, memory = Kept(), Memory()
    stream = FakeStream({"s": [record(n) for n in range(size)]})
    counts = pump(stream, FakeFunction(answer), failures=kept, checkpoint=memory, policy=policy).drain()
    given_up = [n for b in kept.batches for n in b]
    assert sorted(given_up) == sorted(poison)
    assert list(dict.fromkeys(delivered)) == [n for n in range(size) if n not in poison]
    assert counts.handled == size
    assert memory.saved["s"] == f"{size - 1:030d}"
