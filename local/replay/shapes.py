"""How a message shows a text without telling it: a cell can hold anything of anybody, whatever its heading says."""

from __future__ import annotations

import re

SHOWN = 40
"""Characters of a text that are shown."""


def shape(text: str) -> str:
    """The text in quotes with 9 for every digit and x for every letter, cut if it is long: `'99/99/9999 99xx'`."""
    digits = re.sub(r"\d", "9", text[:SHOWN])
    return repr(re.sub(r"[^\W\d_]", "x", digits) + ("…" if len(text) > SHOWN else ""))
