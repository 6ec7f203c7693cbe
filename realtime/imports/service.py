"""What becomes of the events of one request: written at once, or handed to the inbound queue, each with its answer.

A small batch is written before it is answered. A large one is checked against the contract, handed to the queue and
answered with an import whose status can be requested. So is an event that came too early: the item that it changes, or
the order of an estimate, is not there yet.
"""

from __future__ import annotations

import copy
import json
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, TypeAlias

import orjson

from contracts.model import Contract
from contracts.validation import MAX_SUGGESTIONS
from realtime.api import problems
from realtime.api.payloads import event_values
from realtime.api.problems import ApiError
from realtime.api.routes import Answer
from realtime.api.writer import Writer
from realtime.imports.events import Event, read_event
from realtime.imports.merge import merge
from realtime.imports.messages import Record, chunks
from realtime.imports.queue import Message, Outbox
from realtime.imports.status import Accepted, Statuses

MAX_EVENTS = 10_000
AT_ONCE = 50  # events that are written before the answer: well within the function's 10 seconds
AT_ONCE_SECONDS = 4.0  # then the rest goes to the queue: somebody else writes the same items, or the table is slow
DETAILED = 200  # problems that are answered in full
MAX_DETAIL = 1_000_000  # bytes that they take together; an answer has at most 6 MB

EARLY = frozenset({"incomplete", "contended"})
"""Kinds of problems that another try, after other events, may not meet."""

Status: TypeAlias = Literal["created", "changed", "unchanged", "waiting", "refused"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event. `problem` says why it was refused, or what it waits for."""

    status: Status
    version: int | None = None
    problem: ApiError | None = None


class Imports:
    """Imports, written by `writer`. `now` gives the time (aware)."""

    def __init__(
        self,
        writer: Writer,
        statuses: Statuses,
        outbox: Outbox,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._writer = writer
        self._statuses = statuses
        self._outbox = outbox
        self._now = now
        self._by: str | None = None

    def acting_for(self, by: str | None) -> Imports:
        """The same imports, whose writes say `by` as who wrote (`Caller.by`), those of the queue too."""
        imports = copy.copy(self)
        imports._by = by
        imports._writer = self._writer.acting_for(by)
        return imports

    def accept(self, entity: str, payload: object, request_id: str) -> Answer:
        """Take one event (a JSON object) or a batch (an array); answers what became of each.

        Raises `ApiError` for a single event that is refused, and for a batch that cannot be read as one; `Unavailable`
        when the table or the queue takes no more now. Then some events may have been written: sending them again is
        safe.
        """
        contract = self._writer.entities.contract(entity)
        if not isinstance(payload, list):
            return self._accept_one(contract, payload, request_id)
        if not 1 <= len(payload) <= MAX_EVENTS:
            raise problems.malformed("", f"expected 1 to {MAX_EVENTS} events, found {len(payload)}")
        received = self._now()
        take = self._write if len(payload) <= AT_ONCE else _check
        events = [_read(raw, received, f"{number:06d}-{request_id}") for number, raw in enumerate(payload)]
        outcomes: list[Outcome] = []
        refused, begun = 0, monotonic()
        for event in events:
            if monotonic() - begun > AT_ONCE_SECONDS:
                take = _check
            outcome = (
                Outcome("refused", problem=event) if isinstance(event, ApiError) else take(contract, event, refused)
            )
            refused += outcome.status == "refused"
            outcomes.append(outcome)
        import_id = self._hand_over(contract, events, outcomes, received)
        body = {
            "entity": contract.name,
            "import": import_id,
            "counts": dict(sorted(Counter(o.status for o in outcomes).items())),
            "records": _answers(outcomes, request_id),
        }
        return Answer(200, body) if import_id is None else Answer(202, body, _location(contract, import_id))

    def status(self, entity: str, import_id: str) -> Answer:
        """What became of an import that went through the queue. Raises `ApiError` when there is none of that name."""
        found = self._statuses.find(import_id)
        if found is None or found["entity"] != entity:
            raise problems.no_import()
        return Answer(200, found)

    def _accept_one(self, contract: Contract, payload: object, request_id: str) -> Answer:
        received = self._now()
        event = read_event(payload, received, request_id)
        outcome = self._write(contract, event, 0)
        if outcome.status == "refused":
            assert outcome.problem is not None
            raise outcome.problem
        import_id = self._hand_over(contract, [event], [outcome], received)
        (answer,) = _answers([outcome], request_id)
        body = {"entity": contract.name, "import": import_id, **answer}
        if import_id is not None:
            return Answer(202, body, _location(contract, import_id))
        return Answer(201 if outcome.status == "created" else 200, body)

    def _write(self, contract: Contract, event: Event, refused: int) -> Outcome:
        try:
            merged = merge(self._writer, contract, event.fields, event.timestamp)
        except ApiError as problem:
            return Outcome("waiting" if problem.kind in EARLY else "refused", problem=problem)
        return Outcome(merged.status, merged.version)

    def _hand_over(
        self, contract: Contract, events: Sequence[Event | ApiError], outcomes: Sequence[Outcome], received: datetime
    ) -> str | None:
        """Hand the waiting events to the queue; answers the name of the import, None when none waits."""
        waiting = [
            Record(number, event.timestamp, event_values(contract, event.fields))
            for number, (event, outcome) in enumerate(zip(events, outcomes, strict=True))
            if outcome.status == "waiting" and isinstance(event, Event)
        ]
        if not waiting:
            return None
        import_id = secrets.token_hex(16)
        refused = sum(o.status == "refused" for o in outcomes)
        applied = len(outcomes) - refused - len(waiting)
        key = secrets.token_bytes(32)
        self._statuses.begin(import_id, Accepted(contract.name, len(outcomes), applied, refused, at=received, key=key))
        parts = chunks(contract.name, import_id, waiting, self._by)
        self._outbox.send([Message(part.signed(key), f"{import_id}/{part.chunk}") for part in parts])
        return import_id


def _read(raw: object, received: datetime, name: str) -> Event | ApiError:
    try:
        return read_event(raw, received, name)
    except ApiError as problem:
        return problem


def _check(contract: Contract, event: Event, refused: int) -> Outcome:
    """What can be said of an event without the table: it breaks its contract, or it waits. It does not say what a wrong
    name was probably meant for when so many were `refused` before that the problem is not answered in full."""
    try:
        event_values(contract, event.fields, MAX_SUGGESTIONS if refused < DETAILED else 0)
    except ApiError as problem:
        return Outcome("refused", problem=problem)
    return Outcome("waiting")


def _answers(outcomes: Sequence[Outcome], request_id: str) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    shown = size = 0
    for number, outcome in enumerate(outcomes):
        answer: dict[str, Any] = {"record": number, "status": outcome.status}
        if outcome.version is not None:
            answer["_version"] = outcome.version
        if outcome.problem is not None and shown < DETAILED and size < MAX_DETAIL:
            # json escapes what is no Unicode text, such as half of a surrogate pair in a name that a sender invented.
            text = json.dumps(outcome.problem.document(request_id))
            answer["problem"] = orjson.Fragment(text)
            shown, size = shown + 1, size + len(text)
        answers.append(answer)
    return answers


def _location(contract: Contract, import_id: str) -> dict[str, str]:
    return {"Location": f"/imports/{contract.name}/{import_id}"}
