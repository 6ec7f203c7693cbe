"""What functions that read the table's stream have in common: two kinds of invocation, and the answers to both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from realtime.deadline import Deadline

Record: TypeAlias = Mapping[str, Any]

RESERVE_SECONDS = 10.0  # of the function's time, for a request that begins last (6 s) and for answering


class UnansweredBatch(RuntimeError):
    """A record without a sequence number was not handled, so the mapping has to bring the whole batch again."""


class StreamFunction(Protocol):
    """A function that reads the stream."""

    def run(self, records: Sequence[Record], deadline: Deadline) -> dict[str, Any]:
        """Handle a batch; answers the `partial_response`."""

    def redrive(self, records: Sequence[Record], deadline: Deadline) -> dict[str, Any]:
        """Handle records that failed before; answers which are `left`."""


def answer(function: StreamFunction, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's answer to a batch of the event source mapping, or to an event of `ops.redrive`."""
    handle = function.redrive if event.get("redrive") else function.run
    return handle(event["Records"], Deadline.of(context, RESERVE_SECONDS))


def left(reasons: Mapping[int, str]) -> dict[str, Any]:
    """The answer to a redrive: the positions of the records that failed again, and why."""
    return {"left": [{"position": position, "reason": reason} for position, reason in sorted(reasons.items())]}


def partial_response(records: Sequence[Record], missing: Collection[int]) -> dict[str, Any]:
    """The partial batch response; `missing` are the positions of records that were not handled.

    The batch is good up to the first of them: the mapping brings that one and all after it again.
    Raises `UnansweredBatch` where that cannot be said.
    """
    if not missing:
        return {"batchItemFailures": []}
    try:
        number = str(records[min(missing)]["dynamodb"]["SequenceNumber"])
    except (LookupError, TypeError):
        raise UnansweredBatch(f"record {min(missing)} of {len(records)} has no sequence number") from None
    return {"batchItemFailures": [{"itemIdentifier": number}]}
