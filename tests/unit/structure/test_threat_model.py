"""The threat model is about this product: each test that it names is there, and each door stands in it."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
import typer

from local.home import REPOSITORY
from ops.command_line import app
from realtime.imports.messages import PREFIX
from tests.support.expanded import TEMPLATE

PAGE = (REPOSITORY / "docs" / "threat-model.md").read_text("utf-8")
NAMED = re.compile(r"`((?:unit|property|integration|e2e)/[\w/]+\.py)(?:::(\w+))?`")
SEARCHES = {"given", "Random", "as_strategy"}
"""What draws inputs: Hypothesis, or numbers of a seed."""


@cache
def cases(file: str) -> dict[str, ast.FunctionDef]:
    """The tests of a file below `tests/` by name; none if there is no such file."""
    path = REPOSITORY / "tests" / file
    if not path.is_file():
        return {}
    found = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    return {node.name: node for node in found if node.name.startswith("test_")}


def section(heading: str) -> str:
    """The text of the page below a heading."""
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a page's tables, without their heads."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in cells] for cells in lines if cells[-1].strip() not in ("test", "searched by")]


def named(text: str) -> set[str]:
    """What stands in backquotes."""
    return set(re.findall(r"`([^`\n]+)`", text))


def test_each_test_that_is_named_is_there() -> None:
    found = NAMED.findall(PAGE)
    assert len(found) > 80
    assert [f"{file}::{name}" for file, name in found if name not in cases(file)] == []


def test_each_threat_is_answered_by_a_test_or_open() -> None:
    """Where nothing proves an answer, the page says so in the answer itself."""
    threats = [row for row in rows(PAGE.partition("\n## Fuzzing")[0]) if len(row) == 3]
    assert len(threats) > 70
    proven = re.compile(r"::test_|the same|csv\.test\.ts")
    assert [who for who, answer, test in threats if not proven.search(test) and "**open**" not in answer] == []


def test_each_fuzz_test_draws_what_it_tries() -> None:
    searches = [row for row in rows(section("Fuzzing")) if len(row) == 2]
    assert len(searches) > 12
    for door, tests in searches:
        found = NAMED.findall(tests)
        assert found, door
        for file, name in found:
            used = {n.id for n in ast.walk(cases(file)[name]) if isinstance(n, ast.Name)}
            assert used & SEARCHES, f"{door}: {name} draws nothing"


def test_each_route_stands_in_it() -> None:
    """Of the gateway; that it has those of the function is tested with them."""
    paths = {found[1] for found in re.finditer(r"[{ ]Path: \"?(/[^\s\",]+)", TEMPLATE.read_text("utf-8"))}
    assert len(paths) > 12
    assert paths - named(section("The API of staff and parties")) == set(), "say who could do what harm by it"


def test_each_queue_and_prefix_that_others_write_stands_in_it() -> None:
    text = TEMPLATE.read_text("utf-8")
    queues = set(re.findall(r"QueueName: !Sub gavel-\$\{Environment\}-([\w-]+)", text))
    assert len(queues) > 5
    assert queues - named(PAGE) == set()
    written = {PREFIX, "dropbox/", "landing/", "exports/", "relay-failures/", "aws/lambda/", "firehose-errors/"}
    assert written - named(PAGE) == set()


@pytest.mark.parametrize("name", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_each_command_of_operators_stands_in_it(name: str) -> None:
    assert name in named(section("Operators' commands")), "say who could do what harm by it"
