"""A short form of `make production`: Dagster as production runs it survives kills and an upgrade under live traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.home import Home
from local.production.plan import make_plan
from local.production.run import ProductionRun

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]


def test_production_survives_kills_and_an_upgrade(tmp_path: Path) -> None:
    result = ProductionRun(Home(tmp_path / "home"), make_plan(11, 1.5), 11, tmp_path, print).do()
    assert result.wrong == []
    assert result.runs["SUCCESS"] > 0
    assert result.forgotten > 0
