"""The fields of a log line that say what was written and what was shown: the items' pseudonyms."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

from realtime.api.shown import Shown, named
from realtime.api.store import ConditionFailed, Contended, Expression, Item, Put, Store, Unavailable
from realtime.api.written import KEY_PLACE, Wrote, pseudonym
from realtime.logs import log


class Trail:
    """Says what was written or shown, with the key in the table of requests. `new_key` makes one where there is none;
    without it nothing is said until somebody else has made it."""

    def __init__(self, store: Store, new_key: Callable[[], bytes] | None = lambda: secrets.token_bytes(32)) -> None:
        self._store = store
        self._new_key = new_key
        self._key: bytes | None = None

    def said(self, wrote: Sequence[Wrote], shown: Shown | None = None) -> dict[str, object]:
        """The field `wrote` of a line: `<pseudonym>@<version>` of each item; and `read`: the pseudonyms of the items
        that the answer shows, by entity. No field where there are none. Where no key is to be had, which is logged and
        fails no request, `unsaid` counts what was shown."""
        shown = shown or {}
        if not wrote and not shown:
            return {}
        try:
            key = self._known_key()
        except (Unavailable, Contended) as error:
            kind = type(error).__name__
            log("WARN", "what was written or shown cannot be said", error=kind, items=len(wrote), shown=len(shown))
            key = None
        if key is None:
            return {"unsaid": len(shown)} if shown else {}
        read: dict[str, list[str]] = {}
        for entity, text in shown:
            read.setdefault(entity, []).append(named(key, entity, text))
        said = {"wrote": [f"{pseudonym(key, w.pk, w.sk)}@{w.version}" for w in wrote], "read": read}
        return {name: value for name, value in said.items() if value}

    def _known_key(self) -> bytes | None:
        if self._key is None:
            self._key = self._stored()
        if self._key is None and self._new_key is not None:
            e = Expression()
            item: Item = {"pk": {"S": KEY_PLACE}, "key": {"B": self._new_key()}}
            with suppress(ConditionFailed):  # another copy of the function was quicker: its key is the key
                self._store.put(Put(item, f"attribute_not_exists({e.name('pk')})", e))
            self._key = self._stored()
        return self._key

    def _stored(self) -> bytes | None:
        item = self._store.get({"pk": KEY_PLACE})
        found: bytes | None = None if item is None else item["key"]["B"]
        return found
