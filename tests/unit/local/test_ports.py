"""Two stacks that begin in the same moment never wait for the same port, whoever of them listens first."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from local import develop, ports

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def port() -> int:
    return ports.free_port()


@pytest.fixture
def taken(port: int) -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_a_port_that_is_claimed_is_nobody_elses_before_its_server_listens(port: int) -> None:
    with ports.claimed((port,)) as mine, ports.claimed((port,)) as other:
        assert mine == port
        assert other != port
        assert ports.is_free(port), "the claim itself takes nothing from the server"
        with pytest.raises(ports.NoPort, match=f"among {port}, found none"), ports.claimed((port,), others=False):
            pytest.fail("it is claimed")
    with ports.claimed((port,), others=False) as again:
        assert again == port


def test_a_port_on_which_somebody_listens_is_not_claimed(taken: int) -> None:
    assert not ports.comes_free(taken)
    with ports.claimed((taken,)) as another:
        assert another != taken


def test_the_ui_of_a_second_stack_gets_another_port_while_the_first_begins(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(develop, "UI_PORT", port)
    with develop._ui_port(None) as first, develop._ui_port(None) as second:
        assert (first, second != port) == (port, True)
        with pytest.raises(develop.DevelopError, match=f"port {port} is taken"), develop._ui_port(port):
            pytest.fail("the person's own choice is taken as it is, or refused")
