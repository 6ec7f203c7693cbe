"""The lists of slow and of deep tests follow the tests."""

from __future__ import annotations

import yaml

from local.home import REPOSITORY

KINDS = ("slow", "deep")


def test_every_test_that_is_listed_is_there() -> None:
    slow, deep = (yaml.safe_load((REPOSITORY / "tests" / f"{kind}.yaml").read_text("utf-8")) for kind in KINDS)
    names = [*deep, *(name for some in slow.values() for name in some)]
    text = "\n".join(path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name in names if f"def {name}(" not in text] == []
    assert len(names) == len(set(names))
