"""What the code location holds is written in one file: a change of it is seen in review, and never by surprise."""

import os
from pathlib import Path

from orchestration.definitions import build
from orchestration.settings import Settings
from tests.support.definitions import described

SNAPSHOT = Path(__file__).with_name("definitions.txt")


def test_the_code_location_holds_what_the_snapshot_says(settings: Settings) -> None:
    """Over all contracts, and a small dbt project in place of ours, whose models have tests of their own."""
    found = described(build(settings).get_repository_def())
    if os.environ.get("GAVEL_WRITE_SNAPSHOTS"):
        SNAPSHOT.write_text(found, "utf-8")
    assert found == SNAPSHOT.read_text("utf-8"), (
        "assets, checks, jobs, schedules or sensors changed: look at the difference, and if it is what you want, run "
        f"GAVEL_WRITE_SNAPSHOTS=1 .venv/bin/python -m pytest {Path(__file__).relative_to(Path.cwd())}"
    )
