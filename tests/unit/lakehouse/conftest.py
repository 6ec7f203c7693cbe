"""A fresh lake in a folder for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Clock, Landing, local_lake


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lake(tmp_path: Path, clock: Clock) -> Lake:
    return local_lake(tmp_path / "lake", clock)


@pytest.fixture
def landing(lake: Lake) -> Landing:
    return Landing(lake, PARCELS)
