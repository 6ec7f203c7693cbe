"""What becomes of the messages of the inbound queue: written through the API's rules, waiting, or dead.

- What breaks its contract is a dead letter at once, with the reason.
- What came too early (`realtime.imports.service.EARLY`) comes again, ever later, and is dead after about ten minutes.
- What fails for reasons of ours (no table, no time left) comes again; after the queue's own number of receptions SQS
  moves it to the dead letters, without a reason.

Anybody whom the queue lets in may send anything, so nothing that a message says of itself is believed: a chunk counts
by its signature, the time of first reception only as far back as it can be true, and who writes is the import's caller
or this function, never a name in a message.

A chunk of an import that comes again costs a read for each of its records: field timestamps say that they are
there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.model import Contract
from contracts.validation import TIMESTAMP
from realtime.api import problems
from realtime.api.problems import ApiError
from realtime.api.store import Unavailable
from realtime.api.strict_json import decode
from realtime.api.trail import Trail
from realtime.api.writer import Writer
from realtime.api.written import noting
from realtime.deadline import Deadline
from realtime.imports.events import read_event
from realtime.imports.merge import merge
from realtime.imports.messages import Chunk, is_ours, read_chunk
from realtime.imports.service import EARLY
from realtime.imports.status import Refused, Report, Statuses
from realtime.inbound.dead_letters import RECEIVED, DeadLetter
from realtime.logs import log, where

PATIENCE = 8  # receptions of what came too early
WRITER = "function:inbound"  # who writes what other systems send
FIRST_WAIT, LONGEST_WAIT = 5, 900  # seconds, doubling

SqsRecord = Mapping[str, Any]
"""A record of the event that Lambda makes of an SQS message."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as the queue hands it over: when it was `sent`, what its sender says of when it came first (`kept`,
    None where it is no dead letter that was moved back), and how often it came."""

    identity: str
    receipt: str
    text: str
    sent: datetime
    kept: str | None
    count: int

    @classmethod
    def of(cls, record: SqsRecord) -> Incoming:
        attributes = record["attributes"]
        return cls(
            identity=record["messageId"],
            receipt=record["receiptHandle"],
            text=record["body"],
            sent=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
            kept=(record.get("messageAttributes") or {}).get(RECEIVED, {}).get("stringValue"),
            count=int(attributes["ApproximateReceiveCount"]),
        )

    def received(self) -> datetime:
        """When it came first. Refuses a time after it was sent: such an event would keep every later one out."""
        if self.kept is None:
            return self.sent
        try:
            kept = datetime.fromisoformat(self.kept).astimezone(UTC) if TIMESTAMP.fullmatch(self.kept) else None
        except (ValueError, OverflowError):  # no such day or hour
            kept = None
        if kept is None or kept > self.sent:
            raise problems.malformed(RECEIVED, "expected a timestamp from before the message was sent")
        return kept

    @property
    def wait(self) -> int:
        """Seconds until it should come again."""
        return int(min(FIRST_WAIT * 2 ** (self.count - 1), LONGEST_WAIT))


class Later(Exception):
    """The message came too early and shall come again."""


class Consumer:
    """Takes messages. `claim` reads a long message from where it is kept; `wait` lets a message come again in so many
    seconds; `send_to_dlq` keeps dead letters and notifies people of them, or raises `Unavailable`; `trail` says in the
    log what was written; `unhandled` counts messages that failed by a fault of this function."""

    # Seven parameters: everything that a test replaces, each given by its name.
    def __init__(
        self,
        writer: Writer,
        statuses: Statuses,
        *,
        claim: Callable[[str], str],
        wait: Callable[[str, int], None],
        send_to_dlq: Callable[[Sequence[DeadLetter]], None],
        trail: Trail | None = None,
        unhandled: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._writer = writer
        self._statuses = statuses
        self._claim = claim
        self._wait = wait
        self._send_to_dlq = send_to_dlq
        self._trail = trail
        self._unhandled = unhandled

    def run(self, records: Sequence[SqsRecord], deadline: Deadline) -> dict[str, Any]:
        """Take a batch; answers the partial batch response: which messages have to come again."""
        again: list[str] = []
        faults = 0
        dead: list[tuple[SqsRecord, list[DeadLetter]]] = []
        for record in records:
            try:
                if deadline.has_passed:
                    raise Unavailable("no time left in this invocation")
                if found := self._take(Incoming.of(record), deadline):
                    dead.append((record, found))
            except Exception as error:  # noqa: BLE001 (the edge: one message must not stop the others)
                again.append(record["messageId"])
                faults += not self._leave(record, error)
        self._unhandled(faults)
        if dead:
            try:
                self._send_to_dlq([letter for _, of_message in dead for letter in of_message])
            except Unavailable as error:
                for record, _ in dead:
                    again.append(record["messageId"])
                    self._leave(record, error)
        log("INFO" if not again else "WARN", "received", messages=len(records), dead=len(dead), again=len(again))
        return {"batchItemFailures": [{"itemIdentifier": identity} for identity in again]}

    def _leave(self, record: SqsRecord, error: Exception) -> bool:
        """Leave a message in the queue, for later; answers whether this is known to happen."""
        expected = isinstance(error, Later | Unavailable)
        name = record["messageId"]
        log("WARN" if expected else "ERROR", "a message has to come again", message_id=name, **where(error))
        try:
            incoming = Incoming.of(record)
            self._wait(incoming.receipt, incoming.wait)
        except Exception as other:  # noqa: BLE001 (the queue's own visibility timeout is the wait then)
            log("WARN", "the wait could not be set", message_id=name, **where(other))
        return expected

    def _take(self, incoming: Incoming, deadline: Deadline) -> list[DeadLetter]:
        """Write what a message says; answers what of it is dead. Raises `Later` and `Unavailable`."""
        contract: Contract | None = None
        received = incoming.sent
        try:
            received = incoming.received()
            body = self._body(incoming.text)
            if "records" in body:
                chunk, key = self._chunk(body)
                return self._take_chunk(incoming, received, chunk, key, deadline)
            contract = self._writer.entities.contract(str(body.get("entity")))
            event = read_event(body.get("event"), received, incoming.identity)
            with self._logged(contract, WRITER, incoming.identity):
                merge(self._writer.acting_for(WRITER), contract, event.fields, event.timestamp)
        except ApiError as problem:
            if problem.kind in EARLY and incoming.count < PATIENCE:
                raise Later(problem.kind) from problem
            return [DeadLetter(incoming.text, incoming.identity, contract, problem, received)]
        return []

    @contextmanager
    def _logged(
        self, contract: Contract, by: str | None, message_id: str, import_id: str | None = None
    ) -> Iterator[None]:
        """Say in the log what is written within the block, also where it fails in the middle."""
        with noting() as wrote:
            try:
                yield
            finally:
                if wrote and self._trail is not None:
                    known = {"import_id": import_id} if import_id else {}
                    said = {"entity": contract.name, "by": by, "message_id": message_id, **known}
                    log("INFO", "written", **said, **self._trail.said(wrote))

    def _chunk(self, body: Mapping[str, Any]) -> tuple[Chunk, bytes]:
        """The chunk, and the key that it is signed with. Refuses what this import's API function did not sign."""
        name = body.get("import")
        key = self._statuses.key(name) if isinstance(name, str) else None
        if key is None:
            raise problems.malformed("import", "expected an import of the last 30 days; send others' events one by one")
        if not is_ours(body, key):
            raise problems.malformed("mac", "expected a chunk of an import as it was signed; found other content")
        return read_chunk(body), key

    def _body(self, text: str) -> Mapping[str, Any]:
        body = decode(text)
        if isinstance(body, Mapping) and isinstance(body.get("claim"), str):
            body = decode(self._claim(body["claim"]))
        if not isinstance(body, Mapping):
            raise problems.malformed("", 'expected a message like {"entity": "orders", "event": {...}}')
        return body

    def _take_chunk(
        self, incoming: Incoming, received: datetime, chunk: Chunk, key: bytes, deadline: Deadline
    ) -> list[DeadLetter]:
        contract = self._writer.entities.contract(chunk.entity)
        writer = self._writer.acting_for(chunk.by)
        applied, waiting = 0, 0
        dead: list[tuple[int, ApiError]] = []
        with self._logged(contract, chunk.by, incoming.identity, chunk.import_id):
            for position, record in enumerate(chunk.records):
                if deadline.has_passed:
                    waiting += len(chunk.records) - position
                    break
                try:
                    merge(writer, contract, record.values, record.timestamp)
                    applied += 1
                except ApiError as problem:
                    if problem.kind in EARLY and incoming.count < PATIENCE:
                        waiting += 1
                    else:
                        dead.append((position, problem))
        if chunk.chunk is not None:
            refused = [Refused(chunk.records[p].record, problem.kind, _detail(problem)) for p, problem in dead]
            self._statuses.report(chunk.import_id, chunk.chunk, Report(applied, refused, done=not waiting))
        if waiting:  # dead letters are for the last time: now they would be written each time that the chunk comes
            raise Later(f"{waiting} records wait")
        return [
            DeadLetter(
                Chunk(chunk.entity, (chunk.records[position],), chunk.import_id, None, chunk.by).signed(key),
                f"{chunk.import_id}/dead-{chunk.records[position].record}",
                contract,
                problem,
                received,
            )
            for position, problem in dead
        ]


def _detail(problem: ApiError) -> str:
    return "; ".join(f"{p.field}: {p.reason}" for p in problem.shown) or problem.detail
