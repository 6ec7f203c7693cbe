"""What the pages tell a reader to type works as it stands, in the order of the pages, on one stack.

Whatever takes a `make` is not made again here: the continuous integration does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import down
from tests.support.checkouts import Checkout
from tests.support.documents import Block, blocks

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path)
    yield checkout
    down(checkout.home)


def by_page() -> dict[str, list[Block]]:
    """The blocks to run, by page; the page that makes the data comes first."""
    pages: dict[str, list[Block]] = {}
    for block in blocks():
        if block.info == "sh":
            pages.setdefault(str(block.page), []).append(block)
    return dict(sorted(pages.items(), key=lambda p: "gavel demo" not in "".join(b.text for b in p[1])))


def test_commands_work_as_they_are_written(checkout: Checkout) -> None:
    """One shell for a page, since a reader has one open."""
    for page, shown in by_page().items():
        script = "\n".join(f"echo '## {block.name}'\n{block.text}" for block in shown)
        done = checkout.shell(re.sub(r"^make ", "make -n ", script, flags=re.MULTILINE))
        assert done.returncode == 0, f"{page}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
