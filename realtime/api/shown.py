"""Which items an answer shows, noted where they are represented, and what the log calls them.

A pseudonym is made of entity and key, as an address of the API has them, so that whoever may read its key (`gavel ops
access who-read`) finds who read an item without looking at the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

from contracts.model import Contract
from realtime.api.written import pseudonym

Shown = dict[tuple[str, str], None]
"""Entity and key of what is shown, each once."""

_shown: ContextVar[list[tuple[Contract, Mapping[str, Any]]] | None] = ContextVar("shown", default=None)


@contextmanager
def showing() -> Iterator[list[tuple[Contract, Mapping[str, Any]]]]:
    """Collects the items that are represented within the block, by this thread, with their contracts."""
    notes: list[tuple[Contract, Mapping[str, Any]]] = []
    token = _shown.set(notes)
    try:
        yield notes
    finally:
        _shown.reset(token)


def note(contract: Contract, body: Mapping[str, Any]) -> None:
    """Say that an item is shown: `body` has at least the fields of its key."""
    notes = _shown.get()
    if notes is not None:
        notes.append((contract, body))


def keys_of(notes: Iterable[tuple[Contract, Mapping[str, Any]]]) -> Shown:
    """Entity and key of what was noted."""
    return dict.fromkeys((c.name, key_text(body.get(n, "") for n in c.primary_key)) for c, body in notes)


def key_text(parts: Iterable[object]) -> str:
    """A key as in an address of the API, of its parts in the contract's order."""
    return "/".join(map(_quoted, parts))


_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")  # what an address has as it is: nearly every key


def _quoted(part: object) -> str:
    text = str(part)
    return text if _PLAIN.fullmatch(text) else quote(text, safe="")


def named(secret: bytes, entity: str, key: str) -> str:
    """What the log calls an item that was shown; `key` as `key_text` writes it."""
    return pseudonym(secret, f"shown {entity}", key)
