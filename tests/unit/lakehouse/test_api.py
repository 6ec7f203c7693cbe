"""The lake's door leads to every function that it names."""

import ast
import gc
import importlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from lakehouse import api


def test_the_door_leads_into_many_rooms() -> None:
    assert len(api._rooms()) > 50


@pytest.mark.parametrize(("name", "room"), sorted(api._rooms().items()))
def test_a_name_leads_to_the_function_of_its_room(name: str, room: str) -> None:
    assert getattr(api, name) is getattr(importlib.import_module(room), name)


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'compakt'; it has .*compact"):
        api.compakt  # noqa: B018


def test_every_name_that_type_checkers_see_is_there() -> None:
    """However an import is written."""
    nodes = ast.walk(ast.parse(Path(api.__file__).read_text("utf-8")))
    imports = [n for n in nodes if isinstance(n, ast.ImportFrom) and str(n.module).startswith("lakehouse.")]
    assert {alias.name for node in imports for alias in node.names} == api._rooms().keys()


@pytest.fixture
def garbage_is_collected_all_the_time() -> Iterator[None]:
    """With something that lets other threads go on meanwhile, as weak references of libraries do."""

    def others_go_on(phase: str, info: object) -> None:
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(others_go_on)
    gc.set_threshold(5)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(others_go_on)


@pytest.mark.usefixtures("garbage_is_collected_all_the_time")
def test_threads_that_come_at_once_are_all_let_in() -> None:
    """Watches did, and one failed: Python 3.11 counts the depth of a syntax tree for all threads together."""
    together = Barrier(8)

    def come(_: int) -> list[dict[str, str]]:
        together.wait(timeout=60)
        return [api._rooms.__wrapped__() for _ in range(60)]

    with ThreadPoolExecutor(8) as threads:
        found = [rooms for several in threads.map(come, range(8)) for rooms in several]
    assert all(rooms == api._rooms() for rooms in found)


def test_the_door_makes_no_syntax_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without luck: how threads meet nobody decides."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("expected that nothing is parsed")

    monkeypatch.setattr("ast.parse", refused)
    assert api._rooms.__wrapped__() == api._rooms()
