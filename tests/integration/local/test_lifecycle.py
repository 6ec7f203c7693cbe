"""The stack survives what a laptop does to it: a clean stop resumes, and a kill never leaves parts that disagree."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import emulator, stack
from local.aws import Aws
from local.client import ApiClient
from local.home import Home
from local.processes import marked, stop
from tests.support.laptop import running_laptop

pytestmark = pytest.mark.stack


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    stack.down(home)


def remember(endpoint: str, value: str) -> None:
    Aws(endpoint).client("ssm").put_parameter(Name="/test", Value=value, Type="String", Overwrite=True)


def remembered(endpoint: str) -> str | None:
    client = Aws(endpoint).client("ssm")
    try:
        return str(client.get_parameter(Name="/test")["Parameter"]["Value"])
    except client.exceptions.ParameterNotFound:
        return None


def test_a_clean_stop_resumes_with_everything(home: Home) -> None:
    first = emulator.start(home).stack
    remember(first.endpoint, "kept")
    assert emulator.start(home).how == "attached"
    assert emulator.halt(home)
    second = emulator.start(home)
    assert second.how == "resumed"
    assert second.stack.identity == first.identity
    assert second.stack.port == first.port
    assert remembered(second.stack.endpoint) == "kept"


def test_after_a_kill_every_part_is_set_aside_together(home: Home) -> None:
    """Also state that was saved by an earlier clean stop is of another moment than the rest, so none of it is used."""
    first = emulator.start(home).stack
    remember(first.endpoint, "old")
    emulator.halt(home)
    second = emulator.start(home).stack
    home.dagster.mkdir()
    assert second.emulator is not None
    assert second.port == first.port
    stop([second.emulator], timeout=10, sign=signal.SIGKILL)
    reported: list[str] = []
    third = emulator.start(home, say=reported.append)
    assert third.how == "renewed"
    assert third.stack.port == first.port
    aside = home.newest_aside
    assert aside is not None
    assert str(aside) in reported[0]
    assert {"dagster", "emulator"} <= {p.name for p in aside.iterdir()}
    assert third.stack.identity != first.identity
    assert remembered(third.stack.endpoint) is None
    assert not home.dagster.exists()


def test_state_of_another_identity_is_not_taken_for_ours(home: Home) -> None:
    emulator.start(home)
    emulator.halt(home)
    current = home.load()
    assert current is not None
    home.update(identity="0" * 16)
    started = emulator.start(home)
    assert started.how == "renewed"
    assert emulator.identity_of(started.stack) == started.stack.identity


def test_down_stops_everything_that_a_killed_command_left_behind(home: Home) -> None:
    """Processes are found by their mark, even where the file that names them is of an earlier moment."""
    current = emulator.start(home).stack
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.pause()"],
        env={**os.environ, "GAVEL_STACK": f"{current.identity}.{stack.DAGSTER}"},
    )
    assert stack.down(home).was_running
    assert orphan.wait(timeout=10) != 0
    assert marked(current.identity) == []
    assert not stack.down(home).was_running


def test_a_port_that_is_taken_is_named(home: Home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(emulator.EmulatorError, match=str(port)):
            emulator.start(home, port)


def test_the_emulator_listens_on_this_machine_only(home: Home) -> None:
    port = emulator.start(home).stack.port
    assert port is not None
    listing = Path("/proc/net/tcp")
    if not listing.exists():
        pytest.skip("needs /proc/net/tcp")
    lines = [line.split() for line in listing.read_text().splitlines()[1:]]
    listening = {fields[1] for fields in lines if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    assert listening == {f"0100007F:{port:04X}"}


def test_going_down_loses_no_accepted_change_and_coming_back_finds_items_users_and_addresses(tmp_path: Path) -> None:
    """The emulator forgets its stream, so what waits there is handed over first."""
    with running_laptop(tmp_path / "home") as laptop:
        payload = {"customer_id": "c-1", "status": "active", "registered_at": "2026-01-02T03:04:05Z"}
        laptop.client.create("customers", payload)
        stopped = stack.down(laptop.home)
        assert (stopped.saved, stopped.pumped) == (True, 1)
        started = stack.up(laptop.home, laptop.contracts)
        assert started.how == "resumed"
        assert started.stack.outputs == laptop.stack.outputs
        client: ApiClient = stack.connect(started.stack)
        assert client.get("customers", "c-1")["customer_id"] == "c-1"
        assert [row["customer_id"] for row in laptop.landed("customers")] == ["c-1"]
        client.patch("customers", "c-1", {"name": "after"})
        assert laptop.pump().handled == 1
        assert [row["_op"] for row in laptop.landed("customers")] == ["insert", "modify"]
