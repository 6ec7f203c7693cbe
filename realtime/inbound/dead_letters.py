"""Dead letters: what can never be written, whole, with the reason and the contract it was checked against.

A letter is a message of the inbound queue like any other, so that moving it back is all that mending takes. The reason
is in its attributes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.model import Contract
from contracts.validation import format_timestamp
from realtime.api.problems import ApiError
from realtime.imports.queue import Message

RECEIVED = "received_at"
"""Attribute: when the event came first. It orders an event without a time of its own, also after moving it back."""

UNKNOWN = "unknown"  # the entity in metrics and notices, when there is none of the name that a message says
MAX_DETAIL = 1000  # characters


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message's text, and why it is dead. `contract` is None when the message names no entity there is."""

    text: str
    name: str
    contract: Contract | None
    problem: ApiError
    received: datetime

    @property
    def entity(self) -> str:
        return UNKNOWN if self.contract is None else self.contract.name

    @property
    def version(self) -> str:
        """Version of the contract that the message was checked against."""
        return "none" if self.contract is None else self.contract.version

    def message(self) -> Message:
        """The letter as a message. Its detail quotes what was found, which may be personal: the queue is encrypted."""
        fields = "; ".join(f"{p.field}: {p.reason}" if p.field else p.reason for p in self.problem.shown)
        detail = fields or self.problem.detail
        attributes = {
            "reason": self.problem.kind,
            "detail": "".join(c if c.isprintable() else "?" for c in detail)[:MAX_DETAIL],
            "entity": self.entity,
            "contract": self.version,
            RECEIVED: format_timestamp(self.received),
        }
        return Message(self.text, self.name, attributes)


def counted(letters: Sequence[DeadLetter]) -> Mapping[tuple[str, str, str], int]:
    """How many letters there are by entity, version of its contract, and reason."""
    return Counter((letter.entity, letter.version, letter.problem.kind) for letter in letters)


def notice(function: str, letters: Sequence[DeadLetter], queue: str, now: datetime) -> dict[str, str]:
    """Subject and message of the notice: which function, what is wrong with how many, when, where. No values."""
    fields = {
        p.field
        for letter in letters
        if letter.contract is not None
        for p in letter.problem.errors
        if p.field in letter.contract.field_names
    }
    message = {
        "function": function,
        "error": f"{len(letters)} message(s) of the inbound queue cannot be written; the others went on",
        "mismatches": [
            {"entity": entity, "contract": version, "reason": reason, "count": count}
            for (entity, version, reason), count in sorted(counted(letters).items())
        ],
        "fields": sorted(fields),
        "time": now.isoformat(),
        "kept_at": queue,
        "what_to_do": "read reason and detail of the letters, mend the sender or the contract, then move them back",
    }
    return {
        "Subject": f"{function}: {len(letters)} message(s) went to the dead letters"[:100],
        "Message": json.dumps(message, indent=2),
    }
