"""Who put which question, and how much was shown: an object of the data bucket for each question.

A parameter that names a person is kept as a keyed pseudonym: the same person has the same one, so that whoever knows
the person finds who put questions about her (`pseudonym`), and an erasure leaves nothing behind here.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from retrieval.parameters import Given

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake

PREFIX = "retrieval-log/"
_PURPOSE = b"whom a question is about"


@dataclass(frozen=True)
class Entry:
    """`who` put the question `name` at `at` (UTC). `rows` says how many rows each section showed; None until the
    answer was there."""

    id: str
    at: datetime
    who: str
    name: str
    parameters: Mapping[str, str]
    personal: bool
    rows: Mapping[str, int] | None = field(default=None)

    @property
    def key(self) -> str:
        """Where it is kept."""
        return f"{PREFIX}dt={self.at:%Y-%m-%d}/{self.id}.json"

    def answered(self, rows: Mapping[str, int]) -> Entry:
        """The same with what was shown."""
        return replace(self, rows=dict(rows))


def pseudonym(lake: Lake, identity: str) -> str:
    """What stands for a person in the log."""
    secret = hmac.digest(lake.erasure_secret, _PURPOSE, "sha256")
    return "person-" + hmac.digest(secret, identity.encode(), "sha256").hex()[:24]


def said(lake: Lake, given: Given) -> dict[str, str]:
    """The parameters as the log has them."""
    texts = {name: _text(value) for name, value in given.values.items()}
    for name in given.persons:
        texts[name] = pseudonym(lake, texts[name])
    return texts | ({"entity": given.entity} if given.entity else {})


def keep(lake: Lake, entry: Entry) -> None:
    """Keep it, in place of what was kept of the same question."""
    lake.store.write(entry.key, orjson.dumps(asdict(entry) | {"at": entry.at.isoformat()}))


def kept(lake: Lake, day: datetime) -> Iterator[Entry]:
    """Questions that were put on a day (UTC), in the order of time."""
    keys = [stored.key for stored in lake.store.list(f"{PREFIX}dt={day:%Y-%m-%d}/")]
    documents: list[dict[str, Any]] = [orjson.loads(lake.store.read(key)) for key in keys]
    yield from sorted(
        (Entry(**{**d, "at": datetime.fromisoformat(d["at"])}) for d in documents), key=lambda entry: entry.at
    )


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
