"""What all tests share: no network where there must be none, and one laptop stack for those that need it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket
from hypothesis import HealthCheck, settings

from tests.support.laptop import Laptop, running_laptop

# The same examples in every run: a failure is found again, and never by chance. `--hypothesis-profile=search` looks on.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

# A shell starts what runs in its background with SIGINT ignored. Dagster gives SIGTERM the same handler, and what tests
# start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

WITHOUT_NETWORK = tuple(Path(__file__).parent / kind for kind in ("unit", "property"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Unit and property tests may not open a connection."""
    if any(item.path.is_relative_to(folder) for folder in WITHOUT_NETWORK):
        pytest_socket.disable_socket(allow_unix_socket=True)
    else:
        pytest_socket.enable_socket()


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """The laptop stack, started when the first test asks for it and shared by all (by all of one xdist worker)."""
    with running_laptop(tmp_path_factory.mktemp("laptop") / "home") as running:
        yield running
