"""Keeps values of rows out of messages: what a library says about an error may quote one.

Quoted text is kept where it is a name that the product itself uses (an entity, a field, a path); everything else in
quotes, every e-mail address and every long number is masked. So is all behind a quote that is not closed, as in a text
that was cut off. Plain functions on texts.
"""

from __future__ import annotations

import re
from functools import cache

from contracts import load_contracts
from contracts.change import CHANGE_COLUMNS

MASK = "…"
_QUOTED = re.compile(
    r"\"([^\"\n]{0,400})\"|'([^'\n]{0,400})'|`([^`\n]{0,400})`|(?P<open>[\"`]|(?<!\w)'(?=\S)).*", re.DOTALL
)
_MAIL = re.compile(r"(?<![^\s<>\"'`,;:()\[\]{}=])[^\s<>\"'`,;:()\[\]{}=]+@[^\s<>\"'`,;:()\[\]{}]+")
_MOMENT = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
_LONG = r"\+\d(?:[\s()/-]?\d){6,}|\d{2,5}(?:[\s()-]\d{2,}){2,}|\d{9,}"
_NUMBER = re.compile(rf"(?<![\w/.=-])(?:(?P<moment>{_MOMENT})|(?:{_LONG})(?![\w/-]))")
_PATH = re.compile(
    r"(?:s3://[a-z0-9.-]+/)?(?:landing|dropbox|quarantine|warehouse|ledger|audit|attempts|relay-failures|"
    r"firehose-errors|publication_log|aws/lambda)/[\w./=:+-]*"
)


def discreet(text: str) -> str:
    """The text without what may be a value of a row."""
    known = _known()

    def quoted(match: re.Match[str]) -> str:
        if match["open"]:
            return match["open"] + MASK
        inner = next(group for group in match.groups() if group is not None)
        mark = match[0][0]
        return match[0] if _may_say(inner, known) else f"{mark}{MASK}{mark}"

    return _NUMBER.sub(lambda m: m["moment"] or MASK, _MAIL.sub(MASK, _QUOTED.sub(quoted, text)))


def _may_say(inner: str, known: frozenset[str]) -> bool:
    return inner in known or _PATH.fullmatch(inner) is not None or all(w in known for w in re.split(r"[\s,.]+", inner))


@cache
def _known() -> frozenset[str]:
    contracts = load_contracts()
    fields = {name for contract in contracts.values() for name in contract.field_names}
    tables = {f"{entity}{suffix}" for entity in contracts for suffix in ("", "_changes")}
    return frozenset(fields | tables | set(CHANGE_COLUMNS) | {""})
