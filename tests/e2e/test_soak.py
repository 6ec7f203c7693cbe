"""A short form of `make soak`: daemon and web server run, single entities change, every tick and run is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import local.soak
from local.home import Home
from local.soak import Seen, soak
from local.stack import down
from tests.support.growth import unnamed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]


def test_what_is_promised_to_happen_by_itself_happens(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    try:
        seen = soak(home, 3)
    finally:
        down(home)
    assert seen.broken() == []
    assert unnamed(home.path) == [], "docs/operations.md says what bounds each place that grows"
    assert {"landed_objects", "published_tables", "alerts"} <= set(seen.ticks)
    assert seen.followed, "marts followed a change of a single entity"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"failed_ticks": ["published_tables: cannot"]}, "failed ticks"),
        ({"failed_runs": ["marts 1234"]}, "failed runs"),
        ({"troubles": {"hourly: no tick"}}, "did not do their work"),
        ({"published_lag": 301.0}, "published after 301 s"),
        ({"marts_lag": 901.0}, "followed a change after 901 s"),
        ({"memory": 7.0}, "GB of memory"),
        ({"minutes": 30.0, "disk": 1.0}, "the disk grew by 2.0 GB an hour"),
        ({"runs_kept": 600}, "600 runs are kept"),
        ({"history": 0.9, "runs_kept": 200}, "0.90 GB of history for 200 runs"),
        ({"largest_log": 0.1}, "a log and what was cut of it have 0.100 GB"),
        ({"ticks": {}}, "no sensor ticked"),
        ({"followed": {}}, "no mart followed"),
    ],
)
def test_each_bound_can_be_broken(change: dict[str, object], words: str) -> None:
    seen = Seen(minutes=30)
    seen.ticks["landed_objects"] = seen.followed["lots"] = 1
    assert seen.broken() == []
    for name, value in change.items():
        setattr(seen, name, value)
    (reported,) = seen.broken()
    assert words in reported


def test_the_history_that_dagster_keeps_is_no_growth_of_the_rest() -> None:
    seen = Seen(minutes=15, disk_first=0.6, disk=0.9, history_first=0.1, history=0.3, runs_kept=150)
    seen.ticks["landed_objects"] = seen.followed["lots"] = 1
    assert seen.broken() == []
    seen.history = 0.1
    assert [words for words in seen.broken() if "the disk grew by 1.2 GB an hour" in words]


def test_the_command_writes_all_that_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(minutes=30, troubles={"hourly: no tick"})
    seen.ticks["landed_objects"] = seen.followed["lots"] = 1
    result = tmp_path / "soak.json"
    monkeypatch.setattr(local.soak, "soak", lambda home, minutes: seen)
    monkeypatch.setattr("sys.argv", ["soak", "--result", str(result)])
    assert local.soak.main() == 1
    written = json.loads(result.read_text())
    assert written.keys() >= vars(seen).keys()
    assert written["broken"] == seen.broken()
