"""What functions that read the table's stream have in common: how long they may go on, and the answer that says from
where a batch comes again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

RESERVE_SECONDS = 10.0  # of the function's time, for a request that begins last (6 s) and for answering


class UnansweredBatch(RuntimeError):
    """A record without a sequence number was not handled, so the mapping has to bring the whole batch again."""


def time_to_send(context: Any) -> Callable[[], float]:
    """Says how many seconds an invocation may still begin requests; `context` is Lambda's."""
    return lambda: float(context.get_remaining_time_in_millis()) / 1000 - RESERVE_SECONDS


def partial_response(records: Sequence[Mapping[str, Any]], missing: Collection[int]) -> dict[str, Any]:
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
