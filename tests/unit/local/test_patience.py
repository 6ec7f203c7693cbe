"""What a laptop is slow to start, deploy or load is waited for; what hangs is cut off, and says so. In virtual time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from dagster_graphql import DagsterGraphQLClientError

from local import deploy, develop, emulator, pipeline_process
from local.dashboard import serving
from local.home import Home
from local.processes import Process

SLOW, HANGING = 500.0, 100_000.0


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1.0)


def the_emulator(patch: pytest.MonkeyPatch, there: Callable[[], bool], folder: Path) -> None:
    patch.setattr(emulator, "is_healthy", lambda stack: there())
    patch.setattr(emulator, "stop", mock.Mock())
    emulator._wait_until_healthy(mock.Mock(), _living(), folder / "log")


def dagsters_ui(patch: pytest.MonkeyPatch, there: Callable[[], bool], folder: Path) -> None:
    connection = mock.Mock()
    connection.getresponse = lambda: SimpleNamespace(status=200 if there() else 503)
    patch.setattr(develop.http.client, "HTTPConnection", lambda *address, **limits: connection)
    develop.wait_for_ui(3000, _living(), folder / "log")


def the_dashboard(patch: pytest.MonkeyPatch, there: Callable[[], bool], folder: Path) -> None:
    patch.setattr(serving, "_answers", lambda port: there())
    patch.setattr(serving, "spawn", lambda *what, **more: _living())
    patch.setattr(serving.stack, "environment", lambda home, current: {})
    current: Any = mock.Mock(
        dashboard_url="http://127.0.0.1:1", outputs={"ApiUrl": "http://api"}, endpoint="http://aws"
    )
    serving._spawn(Home(folder), current, "site", {})


def a_deployment(patch: pytest.MonkeyPatch, there: Callable[[], bool], folder: Path) -> None:
    patch.setattr(deploy, "_status", lambda client, name: "CREATE_COMPLETE" if there() else "CREATE_IN_PROGRESS")
    patch.setattr(deploy, "_events", lambda client, name: [])
    deploy._wait(mock.Mock(), "gavel", lambda what, done, of: None)


def _living() -> Process:
    living: Any = mock.Mock(alive=True)
    return living  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("part", "module"),
    [(the_emulator, emulator), (dagsters_ui, develop), (the_dashboard, serving), (a_deployment, deploy)],
)
def test_what_is_slow_is_waited_for_and_what_hangs_is_cut_off(
    part: Callable[[pytest.MonkeyPatch, Callable[[], bool], Path], None],
    module: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    part(monkeypatch, lambda: clock.now > SLOW, tmp_path)
    assert clock.now > SLOW
    with pytest.raises(RuntimeError):
        part(monkeypatch, lambda: clock.now > HANGING, tmp_path)
    assert clock.now < HANGING


def test_a_load_may_be_slow_and_one_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    class Client:
        def __init__(self, host: str, port_number: int | None, timeout: int) -> None:
            limits.append(timeout)

        def reload_repository_location(self, location: str) -> None:
            raise DagsterGraphQLClientError("the query, again") from TimeoutError("read timed out")

    monkeypatch.setattr("dagster_graphql.DagsterGraphQLClient", Client)
    with pytest.raises(pipeline_process.PipelineError, match="found: read timed out"):
        pipeline_process.reload("http://127.0.0.1:3000")
    assert limits[0] > SLOW
