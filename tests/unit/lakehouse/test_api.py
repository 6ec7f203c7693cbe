"""The lake's door leads to every function that it names, and says the same to people, type checkers and callers."""

import ast
import importlib
from pathlib import Path

import pytest

from lakehouse import api

DECLARED = {
    alias.name: node.module
    for node in ast.walk(ast.parse(Path(api.__file__).read_text("utf-8")))
    if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lakehouse.")
    for alias in node.names
}


def test_types_and_callers_see_the_same_names() -> None:
    assert DECLARED == api._ROOM_OF


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_a_name_leads_to_the_function_of_its_room(name: str) -> None:
    assert getattr(api, name) is getattr(importlib.import_module(DECLARED[name]), name)


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'compakt'; it has .*compact"):
        api.compakt  # noqa: B018
