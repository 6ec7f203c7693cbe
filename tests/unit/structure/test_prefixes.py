"""Nothing grows in the bucket without an end that somebody decided: each prefix that the product's code names is kept,
removed by the product, or ended by the bucket's lifecycle."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.expanded import expanded

ROOT = Path(__file__).parents[3]
PACKAGES = ("assets", "lakehouse", "orchestration", "realtime", "warehouse")
_PREFIX = re.compile(r"([a-z][a-z_-]+/)(?=$|[a-z{]|dt=)")

KEPT = {
    "audit/": "what readers saw is proven by it; goes with the state",
    "dropbox/": "what people hand in; the table is built from it",
    "landing/": "the table is built from it; ends by the contract (transition, retention)",
    "ledger/": "which objects are ingested; goes with the state",
    "marts/": "tables; cleaned with what they point to",
    "quarantine/": "rows that broke the contract, until a person clears them; an alert counts them",
    "warehouse/": "tables; maintenance removes what no retained state needs",
    "erasures/": "proofs of erasure, and what must not come back",
}
REMOVED = {
    "attempts/": "one object an entity, written over",
    "drift/": "two objects, written over",
    "parity-samples/": "removed when judged, after four days at the latest",
}
OF_SOMETHING_ELSE = {
    "alias/": "a key of KMS", "api/": "a path of an endpoint", "application/": "a media type",
    "bundles/": "of a build", "contracts/": "of a bundle",
    "dagster/": "tags", "docs/": "links", "gavel/": "tags", "realtime/": "of a bundle",
    "holds/": "below erasures/", "index/": "below each table",
}  # fmt: skip


def named() -> dict[str, set[str]]:
    """Each prefix that a text of the code begins with, and where."""
    found: dict[str, set[str]] = {}
    for path in (p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and " " not in text and (match := _PREFIX.match(text)):
                found.setdefault(match[1], set()).add(str(path.relative_to(ROOT)))
    return found


def test_the_end_of_every_prefix_is_decided() -> None:
    bucket = expanded("prod")["Resources"]["DataBucket"]["Properties"]
    rules = bucket["LifecycleConfiguration"]["Rules"]
    ends = {rule["Prefix"].split("/")[0] + "/" for rule in rules if "Prefix" in rule}
    decided = KEPT.keys() | REMOVED.keys() | OF_SOMETHING_ELSE.keys() | ends
    found = named()
    assert {prefix: sorted(found[prefix]) for prefix in found.keys() - decided} == {}
    assert (KEPT.keys() | REMOVED.keys() | OF_SOMETHING_ELSE.keys()) - found.keys() == set(), "named nowhere"
    assert not ends & (KEPT.keys() | REMOVED.keys())
