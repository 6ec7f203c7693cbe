"""Which engine merges, and what is left behind when Athena cannot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.merge.athena.client import AthenaClient, AthenaError, Outcome, Spent
from lakehouse.merge.engine import engine_of
from lakehouse.publish.publication import publish
from lakehouse.results import Counts
from lakehouse.storage.athena import AthenaSettings
from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Landing, change, published_rows

EVERYTHING = Scope.everything()
ON_ATHENA = replace(PARCELS, engine="athena")


@dataclass
class Broken:
    """An Athena that refuses every statement from the `nth` on, and before finds no stored row."""

    lake: Lake
    nth: int
    spent: Spent = field(default_factory=Spent)
    settings: AthenaSettings = field(default_factory=AthenaSettings)
    requested: list[tuple[str, str]] = field(default_factory=list)

    def run(self, sql: str, database: str, what: str, token: str) -> Outcome:
        self.requested.append((sql, token))
        if len(self.requested) >= self.nth:
            raise AthenaError(f"{what}: no")
        key = f"athena-results/{len(self.requested)}.csv"
        self.lake.store.write(key, b'"parcel_id","part","_version","_part"\n')
        return Outcome(self.lake.store.uri(key), 0)


def with_athena(lake: Lake, monkeypatch: pytest.MonkeyPatch, nth: int) -> tuple[Lake, Broken]:
    broken = Broken(lake, nth)
    monkeypatch.setattr(AthenaClient, "of", lambda lake: broken)
    return replace(lake, athena=AthenaSettings()), broken


def locations(lake: Lake, database: str) -> list[str]:
    entries = [lake.entries.get(database, name) for name in ("parcels", "parcels_changes")]
    return [e.metadata_location for e in entries if e is not None]


def test_a_lake_without_athena_merges_embedded_and_says_so(lake: Lake, landing: Landing) -> None:
    said: list[str] = []
    landing.land([change("a", version=1)])
    result = compact(lake, ON_ATHENA, EVERYTHING, progress=said.append)
    publish(lake, ON_ATHENA)
    assert (result.counts, result.engine) == (Counts(read=1, applied=1), "embedded")
    assert said[0] == "parcels: its contract asks for Athena, which this lake does not have: merging embedded"
    assert [r["parcel_id"] for r in published_rows(lake)] == ["a"]


def test_only_an_entity_that_asks_for_athena_is_merged_there(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asking, _ = with_athena(lake, monkeypatch, nth=1)
    assert engine_of(asking, PARCELS, pytest.fail).name == "embedded"
    assert engine_of(asking, ON_ATHENA, pytest.fail).name == "athena"


@pytest.mark.parametrize("nth", [1, 2])
def test_when_athena_fails_the_work_tables_are_set_back_and_nothing_is_held(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    landing.land([change("a", version=1)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land([change("a", version=2)])
    landing.land([change("b", version=1)])
    lacking, broken = with_athena(lake, monkeypatch, nth)

    with pytest.raises(AthenaError, match="parcels: "):
        compact(lacking, ON_ATHENA, EVERYTHING)

    assert len(broken.requested) == nth
    assert locations(lake, lake.work_database) == locations(lake, lake.published_database)
    assert list(lake.store.list("athena-results/")) == []
    assert compact(lake, PARCELS, EVERYTHING).counts == Counts(read=2, applied=2)


def test_each_step_of_a_merge_has_a_token_of_its_own(
    lake: Lake, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are requested by the same statement before and after the merge, and Athena answers a token that it knows
    with the earlier query."""
    landing.land([change("a", version=1)])
    compact(lake, PARCELS, EVERYTHING)
    publish(lake, PARCELS)
    landing.land([change("a", version=2)])
    asking, broken = with_athena(lake, monkeypatch, nth=10)
    # The MERGE of this Athena commits nothing, which is noticed.
    with pytest.raises(Exception, match="another writer was there"):
        compact(asking, ON_ATHENA, EVERYTHING)
    assert len({token for _, token in broken.requested}) == len(broken.requested) == 2
