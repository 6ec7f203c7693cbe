"""What all tests share: no network where there must be none, and one laptop stack for those that need it."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_socket
import yaml
from hypothesis import HealthCheck, settings

from tests.support.depth import DEEP
from tests.support.laptop import Laptop, running_laptop
from tests.support.warm_dbt import warm_dbt

if TYPE_CHECKING:
    from tests.support.postgres import Server

# The same examples in every run: a failure is found again, and never by chance. `--hypothesis-profile=search` looks on.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

# A shell starts what runs in its background with SIGINT ignored. Dagster gives SIGTERM the same handler, and what tests
# start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# In continuous integration nothing is skipped but what is named here: the test's reason, and why it may be.
MAY_BE_SKIPPED = {
    "no Chromium on this machine": "`.ci/run` could not install it, and has said so",
    "runs start warm on Linux only": "elsewhere a run has a process of its own, which other tests cover",
    "needs /proc/net/tcp": "ports are looked up there on Linux only",
    "reads the peak from Linux's /proc": "memory is measured on Linux only",
    "clocks are moved on Linux with a C compiler only": "`make chaos` leaves jumps of clocks out there, and says so",
    "the image's steps need root on Linux and a Python 3.12": "the workflow that deploys builds the image by Docker",
    "the real file is not part of the project": "its licence; the same tests run on a made-up file of its form",
    "takes seconds, and the rules are those for Parquet": "the largest values are tried in one form of file",
    "a plain file of lines has no way to be wrong as a whole but by its length": "that length has a test of its own",
}
_skipped: set[str] = set()
_account: dict[str, str] = {}

HERE = Path(__file__).parent
SLOW = frozenset(n for names in yaml.safe_load((HERE / "slow.yaml").read_text("utf-8")).values() for n in names)
DEEP_ONLY = frozenset(yaml.safe_load((HERE / "deep.yaml").read_text("utf-8")))
SLOW_FOLDERS = (HERE / "property" / "lakehouse", HERE / "property" / "realtime", HERE / "simulation")
LONGEST_FIRST = ("integration", "e2e", "simulation", "property", "unit")
ALONE = frozenset({"integration/orchestration/test_builds.py"})
"""Files whose tests have nothing in common that takes time to make: two workers share them."""
WITHOUT_NETWORK = tuple(HERE / kind for kind in ("unit", "property", "simulation"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need no network may not open a connection."""
    if any(item.path.is_relative_to(folder) for folder in WITHOUT_NETWORK):
        pytest_socket.disable_socket(allow_unix_socket=True)
    else:
        pytest_socket.enable_socket()


@pytest.hookimpl(trylast=True)
def pytest_sessionstart() -> None:
    _account.update(_of_account())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """The tests of a file leave the account's variables as they were: the stack that a later one starts would use
    them. What a mock of AWS sets is set first and taken back last."""
    yield
    if (nextitem is None or nextitem.path != item.path) and (left := _of_account()) != _account:
        for name in left:
            del os.environ[name]
        os.environ.update(_account)
        changed = sorted(name for name in {*left, *_account} if left.get(name) != _account.get(name))
        raise AssertionError(f"expected the environment as before {item.path.name}, found others: {changed}")


def _of_account() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a deep run does, mark what `make unit` leaves out, and let one worker have all tests of the
    shared stack, so that it is started once; other files stay together, but where each test starts everything itself.
    What takes long begins first, so that no worker waits for the other at the end."""
    left_out = [] if DEEP else [item for item in items if _name(item) in DEEP_ONLY]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        if _name(item) in SLOW or any(item.path.is_relative_to(folder) for folder in SLOW_FOLDERS):
            item.add_marker(pytest.mark.slow)
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=_begins)  # stable


def pytest_collection_finish() -> None:
    """What is loaded by now stays: a search of all of it for garbage takes half a second, and a run has hundreds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)


def _group(item: pytest.Item) -> str:
    if _shares_the_stack(item):
        return "stack"
    file = str(item.path.relative_to(HERE))
    return f"{file}::{item.name}" if file in ALONE else file


def _begins(item: pytest.Item) -> tuple[bool, int]:
    folder = item.path.relative_to(HERE).parts[0]
    return (not _shares_the_stack(item), LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else 0)


def _shares_the_stack(item: pytest.Item) -> bool:
    return "laptop" in getattr(item, "fixturenames", ())


def _name(item: pytest.Item) -> str:
    return item.name.partition("[")[0]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember why a test was skipped."""
    if report.skipped and isinstance(report.longrepr, tuple) and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in MAY_BE_SKIPPED:
            _skipped.add(f"{report.nodeid}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run of continuous integration that skipped what is not named in `MAY_BE_SKIPPED`."""
    if os.environ.get("CI") and _skipped and exitstatus == pytest.ExitCode.OK:
        print("\nSkipped without being named in tests/conftest.py:", *sorted(_skipped), sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """The laptop stack, started when the first test asks for it and shared by all (by all of one xdist worker)."""
    with running_laptop(tmp_path_factory.mktemp("laptop") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def dbt_program() -> Iterator[Path]:
    """A program that runs dbt without the seconds that importing it takes."""
    with tempfile.TemporaryDirectory() as folder, warm_dbt(Path(folder)) as program:
        yield program


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server, started when the first test asks for it; each test makes a database of its own."""
    from tests.support.postgres import running_server

    with running_server() as server:
        yield server
