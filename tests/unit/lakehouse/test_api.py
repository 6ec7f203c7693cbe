"""The lake's door leads to every function that it names."""

import importlib

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
