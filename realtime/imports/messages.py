"""Messages of the inbound queue, as text. There are two kinds.

What other systems send: `{"entity": "orders", "event": {...}}`, one event as `POST /imports/{entity}` takes it.

What Gavel sends itself, a chunk of an import: `{"entity", "import", "chunk", "records": [{"record", "stamp",
"values"}]}`, whose values were checked when they were accepted. `record` is the place in the batch. `import` and
`chunk` are null for records that were dead letters. A chunk that is too long for a message is kept in S3, and the
message is a claim check: `{"claim": "imports/<import>/<chunk>.json"}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.validation import Value

MAX_BYTES = 240_000  # of a message's text; ten of them fit into one invocation (6 MB), whatever the queue allows
MAX_RECORDS = 100  # of a chunk: about a second of work
PREFIX = "imports/"


@dataclass(frozen=True, slots=True)
class Record:
    """One accepted event: its place in the batch, its stamp, and its values by field name."""

    record: int
    stamp: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of an import. `import_id` and `chunk` say where to report what became of it; None: nowhere."""

    entity: str
    records: tuple[Record, ...]
    import_id: str | None = None
    chunk: int | None = None

    @property
    def text(self) -> str:
        """The message."""
        return _dumps(
            {
                "entity": self.entity,
                "import": self.import_id,
                "chunk": self.chunk,
                "records": [{"record": r.record, "stamp": r.stamp, "values": r.values} for r in self.records],
            }
        )


def read_chunk(body: Mapping[str, Any]) -> Chunk:
    """The reverse of `Chunk.text`, from decoded JSON. A text that we did not write fails with KeyError or TypeError."""
    records = tuple(Record(int(r["record"]), str(r["stamp"]), r["values"]) for r in body["records"])
    return Chunk(str(body["entity"]), records, body["import"], body["chunk"])


def chunks(entity: str, import_id: str, records: Sequence[Record]) -> list[Chunk]:
    """The records in chunks of at most `MAX_RECORDS`, and of about `MAX_BYTES` unless a single one is longer."""
    parts = list(_parts(records))
    return [Chunk(entity, tuple(part), import_id, number) for number, part in enumerate(parts)]


def _parts(records: Sequence[Record]) -> Iterator[list[Record]]:
    part: list[Record] = []
    size = 0
    for record in records:
        length = len(_dumps(record.values)) + 200
        if part and (len(part) == MAX_RECORDS or size + length > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(record)
        size += length
    if part:
        yield part


def _dumps(value: object) -> str:
    # In ASCII, because SQS refuses some characters. Decimals become text, which their fields take too.
    return json.dumps(value, default=str, separators=(",", ":"))
