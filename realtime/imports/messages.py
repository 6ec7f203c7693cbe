"""Messages of the inbound queue, as text. There are two kinds.

What other systems send: `{"entity": "orders", "event": {...}}`, one event as `POST /imports/{entity}` takes it.

What Gavel sends itself, a chunk of an import: `{"entity", "import", "chunk", "by", "records": [{"record",
"timestamp", "values"}], "mac"}`, whose values were checked when they were accepted. `record` is the place in the batch,
`by` who sent it. `chunk` is null for records that were dead letters. A chunk that is too long for a message is kept in
S3, and the message is a claim check: `{"claim": "imports/<import>/<chunk>.json"}`.

Others may send to the queue as well, so a chunk is believed by its `mac` alone: the HMAC of the rest with the import's
own key, which only the table of requests has.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.validation import Value
from realtime.resending import requests_of

MAX_BYTES = 240_000  # of a message's text; ten of them fit into one invocation (6 MB), whatever the queue allows
MAX_RECORDS = 100  # of a chunk: about a second of work
MAX_CLAIM_BYTES = 20_000_000
"""Of a long message. The API sends none as long: a request has 6 MB at most, of which JSON in ASCII makes 18."""
PREFIX = "imports/"


@dataclass(frozen=True, slots=True)
class Record:
    """One accepted event: its place in the batch, its timestamp, and its values by field name."""

    record: int
    timestamp: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of an import. `chunk` says where to report what became of it (None: nowhere), `by` who sent it."""

    entity: str
    records: tuple[Record, ...]
    import_id: str
    chunk: int | None = None
    by: str | None = None

    def signed(self, key: bytes) -> str:
        """The message, signed with the import's key."""
        body = {
            "entity": self.entity,
            "import": self.import_id,
            "chunk": self.chunk,
            "by": self.by,
            "records": [{"record": r.record, "timestamp": r.timestamp, "values": r.values} for r in self.records],
        }
        text = _dumps(body)
        return f'{text[:-1]},"mac":"{_mac(text, key)}"}}'


def is_ours(body: Mapping[str, Any], key: bytes) -> bool:
    """Whether decoded JSON is what `Chunk.signed` wrote with this key."""
    mac = body.get("mac")
    try:  # a number with a point, which we never write, has no text here; any other order of names has another one
        text = json.dumps({name: value for name, value in body.items() if name != "mac"}, separators=(",", ":"))
    except (TypeError, RecursionError):
        return False
    return isinstance(mac, str) and mac.isascii() and hmac.compare_digest(mac, _mac(text, key))


def read_chunk(body: Mapping[str, Any]) -> Chunk:
    """The reverse of `Chunk.signed`, from decoded JSON that `is_ours`."""
    records = tuple(Record(r["record"], r["timestamp"], r["values"]) for r in body["records"])
    return Chunk(body["entity"], records, body["import"], body["chunk"], body["by"])


def chunks(entity: str, import_id: str, records: Sequence[Record], by: str | None = None) -> list[Chunk]:
    """The records in chunks of at most `MAX_RECORDS`, and of about `MAX_BYTES` unless a single one is longer."""
    parts = requests_of(records, _length, max_entries=MAX_RECORDS, max_bytes=MAX_BYTES)
    return [Chunk(entity, tuple(part), import_id, number, by) for number, part in enumerate(parts)]


def _mac(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _length(record: Record) -> int:
    return len(_dumps(record.values)) + 200


def _dumps(value: object) -> str:
    # In ASCII, because SQS refuses some characters. Decimals become text, which their fields take too.
    return json.dumps(value, default=str, separators=(",", ":"))
