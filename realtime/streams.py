"""What functions that read the table's stream have in common: the answer that says from where a batch comes again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


class UnansweredBatch(RuntimeError):
    """A record without a sequence number was not handled, so the mapping has to bring the whole batch again."""


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
