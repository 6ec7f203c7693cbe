"""The list of slow tests follows the tests."""

from __future__ import annotations

import yaml

from local.home import REPOSITORY


def test_every_test_that_is_listed_as_slow_is_there() -> None:
    listed = yaml.safe_load((REPOSITORY / "tests" / "slow.yaml").read_text("utf-8"))
    names = [name for some in listed.values() for name in some]
    text = "\n".join(path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    assert [name for name in names if f"def {name}(" not in text] == []
    assert len(names) == len(set(names))
