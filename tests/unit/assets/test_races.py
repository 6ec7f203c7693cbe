"""A run of an entity beside another writer of its tables, an operator or the job `backfill`, which take no pool."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.catalog import catalog_assets
from assets.compacted import compacted_assets
from assets.resources import LakeResource
from contracts import Contracts
from lakehouse.api import compact, publish
from lakehouse.intake.landing import Scope
from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Landing, change, published_changes
from tests.support.rivals import Halted, halted_at, rival

CONTRACTS = Contracts({"parcels": PARCELS})


def run_beside_a_rival(folder: Path, strikes: int) -> tuple[int, bool, list[str]]:
    """A run of both assets; right before its catalog update of this number, the rival does a batch of its own. Returns
    the updates of the run, whether it succeeded, and the changes that readers see after it."""
    resource = LakeResource(environment="local", bucket="data", local_root=str(folder))
    lake: Lake = resource.lake
    landing = Landing(lake, PARCELS)

    def batch(identity: str, version: int, event: str) -> None:
        landing.land([change(identity, version=version, event=event)], datetime.now(UTC))
        compact(lake, PARCELS, Scope.everything())
        publish(lake, PARCELS)

    batch("p-1", 1, "first")
    landing.land([change("p-1", version=2, event="second")], datetime.now(UTC))
    assets = [*compacted_assets(CONTRACTS, lake), *catalog_assets(CONTRACTS, lake)]

    with rival(strikes, lambda: batch("p-2", 1, "of the rival")) as seen:
        done = dg.materialize(assets, resources={"lake": resource}, raise_on_error=False)
    return seen.updates, done.success, sorted(row["_event_id"] for row in published_changes(lake))


def test_a_run_that_is_overtaken_anywhere_begins_again_and_is_not_red(tmp_path: Path) -> None:
    updates, success, changes = run_beside_a_rival(tmp_path / "alone", 0)
    assert (success, changes) == (True, ["first", "second"])
    assert updates > 2
    for number in range(1, updates + 1):
        found = run_beside_a_rival(tmp_path / str(number), number)
        assert found[1:] == (True, ["first", "of the rival", "second"]), f"overtaken at update {number} of {updates}"


@pytest.mark.parametrize("halted", ["audit/", "publication_log/"])
def test_a_publication_is_not_red_while_another_writer_is_in_the_middle_of_a_batch(tmp_path: Path, halted: str) -> None:
    """That one begins after this run's audit; its commits have no audit yet, or are partly published."""
    resource = LakeResource(environment="local", bucket="data", local_root=str(tmp_path))
    lake: Lake = resource.lake
    landing = Landing(lake, PARCELS)
    landing.land([change("p-1", version=1, event="first")], datetime.now(UTC))
    assert dg.materialize(compacted_assets(CONTRACTS, lake), resources={"lake": resource}).success
    landing.land([change("p-2", version=1, event="of the rival")], datetime.now(UTC))
    with suppress(Halted), halted_at(halted):
        compact(lake, PARCELS, Scope.everything())
        publish(lake, PARCELS)
        pytest.fail("the other writer came to its end")
    assert dg.materialize(catalog_assets(CONTRACTS, lake), resources={"lake": resource}, raise_on_error=False).success
    assert {row["_event_id"] for row in published_changes(lake)} == {"first", "of the rival"}
