"""A run of an entity beside another writer of its tables, an operator or the job `backfill`, which take no pool."""

from __future__ import annotations

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
from lakehouse.storage.entries import Entry, LocalEntries, TableInput
from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Landing, change, published_changes

CONTRACTS = Contracts({"parcels": PARCELS})


def run_beside_a_rival(folder: Path, strikes: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bool, list[str]]:
    """A run of both assets; right before its catalog update of this number, the rival does a batch of its own. Returns
    the updates of the run, whether it succeeded, and the changes that readers see after it."""
    resource = LakeResource(environment="local", bucket="data", local_root=str(folder))
    lake: Lake = resource.lake
    landing = Landing(lake, PARCELS)
    landing.land([change("p-1", version=1, event="first")], datetime.now(UTC))
    compact(lake, PARCELS, Scope.everything())
    publish(lake, PARCELS)
    landing.land([change("p-1", version=2, event="second")], datetime.now(UTC))
    update, seen = LocalEntries.update, 0

    def beside(entries: LocalEntries, entry: Entry, table: TableInput) -> None:
        nonlocal seen
        seen += 1
        if seen == strikes:
            landing.land([change("p-2", version=1, event="of the rival")], datetime.now(UTC))
            with monkeypatch.context() as alone:
                alone.setattr(LocalEntries, "update", update)
                compact(lake, PARCELS, Scope.everything())
                publish(lake, PARCELS)
        update(entries, entry, table)

    monkeypatch.setattr(LocalEntries, "update", beside)
    assets = [*compacted_assets(CONTRACTS, lake), *catalog_assets(CONTRACTS, lake)]
    done = dg.materialize(assets, resources={"lake": resource}, raise_on_error=False)
    return seen, done.success, sorted(row["_event_id"] for row in published_changes(lake))


def test_a_run_that_is_overtaken_anywhere_begins_again_and_is_not_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as alone:
        updates, success, changes = run_beside_a_rival(tmp_path / "alone", 0, alone)
    assert (success, changes) == (True, ["first", "second"])
    assert updates > 2
    for number in range(1, updates + 1):
        with monkeypatch.context() as here:
            found = run_beside_a_rival(tmp_path / str(number), number, here)
        assert found[1:] == (True, ["first", "of the rival", "second"]), f"overtaken at update {number} of {updates}"
