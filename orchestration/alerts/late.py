"""What was reported as late or as unreadable, of tables or models: plain data that a watch remembers."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

_LATE = ": late"


@dataclass(frozen=True)
class Late:
    """Names of what is late, and of what cannot be judged because something cannot be read."""

    late: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()

    def after(self, late: Collection[str], judged: Collection[str], unread: Collection[str]) -> Late:
        """What to remember after a look that found what is `late` among all that could be `judged`. What is `unread`
        stays what it was: nobody knows better."""
        return Late(frozenset(late) & frozenset(judged) | (self.late & frozenset(unread)), frozenset(unread))

    def newly(self, before: Late) -> list[str]:
        """What is late and was not, and what is unread and was not."""
        return sorted((self.late - before.late) | (self.unread - before.unread))

    def to_text(self) -> str:
        """This as a cursor; as long as there are names."""
        return json.dumps(sorted([*self.unread, *(name + _LATE for name in self.late)]))

    @classmethod
    def from_text(cls, text: str | None) -> Late:
        """What is in a cursor; nothing if it is missing or of another form, so that all is reported again."""
        try:
            names = [str(name) for name in json.loads(text or "[]")]
        except (ValueError, TypeError):
            return cls()
        late = frozenset(name.removesuffix(_LATE) for name in names if name.endswith(_LATE))
        return cls(late, frozenset(name for name in names if not name.endswith(_LATE)))
