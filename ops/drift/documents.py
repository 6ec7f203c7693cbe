"""Policy documents as they can be compared: AWS writes the same statement in several ways, and in any order."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ops.drift.resolving import HOLE

_LISTS = ("Action", "NotAction", "Resource", "NotResource")
_FILLING = r'[^"*?\s]*'
_ROOT = re.compile(r"\Aarn:[^:]+:iam::(\d{12}):root\Z")


def document_of(found: Any) -> dict[str, Any]:
    """A policy as an answer of AWS has it: an object, or text that may be encoded for an address."""
    if isinstance(found, Mapping):
        return dict(found)
    text = str(found)
    loaded: dict[str, Any] = json.loads(text if text.lstrip().startswith("{") else unquote(text))
    return loaded


def statements(document: Any) -> list[dict[str, Any]]:
    """The statements of a policy, each in one form: lists sorted, accounts by number, values as text. Names of
    statements (`Sid`) say nothing of rights and are left out."""
    return [_statement(one) for one in _each(document_of(document))]


def compared(expected: Any, found: Any) -> tuple[list[str], list[str]]:
    """The statements that are missing, and those that are there besides, each as text in one form."""
    there = statements(found)
    missing = []
    for one in statements(expected):
        match = next((other for other in there if _fits(one, other)), None)
        if match is None:
            missing.append(one)
        else:
            there.remove(match)
    return [_written(one).replace(HOLE, "…") for one in missing], [_written(one) for one in there]


def mended(expected: Any, found: Any) -> dict[str, Any] | None:
    """The document that takes back what `compared` finds: what matches stays as it is there, and what is missing comes
    from the template. None if that has a hole, which nobody can fill from here."""
    wanted = document_of(expected)
    if HOLE not in json.dumps(wanted, ensure_ascii=False):
        return {"Version": "2012-10-17", **wanted}
    there = [(_statement(one), one) for one in _each(document_of(found))]
    kept = []
    for one in _each(wanted):
        match = next((pair for pair in there if _fits(_statement(one), pair[0])), None)
        if match is None and HOLE in json.dumps(one, ensure_ascii=False):
            return None
        if match is not None:
            there.remove(match)
        kept.append(one if match is None else match[1])
    return {"Version": wanted.get("Version", "2012-10-17"), "Statement": kept}


def matches(expected: str, found: str) -> bool:
    """Whether a text is what is expected. What only a resource knows fills a hole, and that is never a wildcard: a
    statement that somebody widened does not match."""
    if HOLE not in expected:
        return expected == found
    return re.fullmatch(_FILLING.join(map(re.escape, expected.split(HOLE))), found) is not None


def _fits(expected: Any, found: Any) -> bool:
    """Whether a part of a statement is what is expected: each value by itself, so that no hole reaches over two."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and _fits([*expected.items()], [*found.items()])
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and _all_fit(expected, found)
    if isinstance(expected, tuple):
        return all(map(_fits, expected, found))
    return matches(str(expected), str(found))


def _all_fit(expected: list[Any], found: list[Any]) -> bool:
    left = list(found)
    for one in sorted(expected, key=lambda one: HOLE in str(one)):  # what is known first: a hole takes what is left
        match = next((other for other in left if _fits(one, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _each(document: Mapping[str, Any]) -> list[Any]:
    listed = document.get("Statement", [])
    return listed if isinstance(listed, list) else [listed]


def _statement(one: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {"Effect": one.get("Effect", "Allow")}
    for name in _LISTS:
        if name in one:
            plain[name] = _sorted(one[name])
    for name in ("Principal", "NotPrincipal"):
        if name in one:
            plain[name] = _principals(one[name])
    if one.get("Condition"):
        plain["Condition"] = {
            operator: {key.lower(): _sorted(value) for key, value in keys.items()}
            for operator, keys in one["Condition"].items()
        }
    return plain


def _principals(found: Any) -> dict[str, list[str]]:
    listed = {"AWS": "*"} if found == "*" else found
    return {kind: sorted(_ROOT.sub(r"\1", one) for one in _sorted(names)) for kind, names in listed.items()}


def _sorted(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return sorted({str(one).lower() if isinstance(one, bool) else str(one) for one in listed})


def _written(one: Mapping[str, Any]) -> str:
    return json.dumps(one, sort_keys=True, ensure_ascii=False)
