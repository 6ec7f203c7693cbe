"""Very long lists that are alike: files of a few kilobytes whose rows take a large part of a batch's memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.maintenance import rewriting
from lakehouse.merge import planning
from lakehouse.publish import audit
from lakehouse.publish.publication import publish
from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Landing, change, local_lake, published_changes, published_rows

MEMBERS, BATCHES = 40_000, 12
LIMIT = "64MB"  # a list takes two of them, and a few are sorted at once


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return dataclasses.replace(local_lake(tmp_path), memory_limit=LIMIT, threads=1)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The merges that left stored files alone because memory had run out."""
    found: list[bool] = []
    plan = planning.plan_merge

    def watched(*given: Any, joining: bool = True, **reported: Any) -> planning.Plan:
        if not joining:
            found.append(True)
        return plan(*given, joining=joining, **reported)

    monkeypatch.setattr(planning, "plan_merge", watched)
    return found


def ingest(lake: Lake) -> None:
    """A row with a long list in each batch, then each of them changed."""
    member = '{"name":"a","worth":"1.50","checked":true}'
    items = f"[{','.join([member] * MEMBERS)}]"
    landing = Landing(lake, PARCELS)
    for version in (1, 2):
        for number in range(BATCHES):
            landing.land([change(f"p-{number}", version=version, items=items)])
            result = compact(lake, PARCELS, Scope.everything())
            assert (result.counts.applied, result.failing, result.held) == (1, (), ())
            publish(lake, PARCELS)


def check(lake: Lake) -> None:
    assert {(r["parcel_id"], r["_version"], len(r["items"])) for r in published_rows(lake)} == {
        (f"p-{n}", 2, MEMBERS) for n in range(BATCHES)
    }
    assert len(published_changes(lake)) == 2 * BATCHES
    assert audit.audit_table(lake, PARCELS).failures == ""


def test_what_files_say_of_their_members_keeps_merges_within_the_memory(
    lake: Lake, apart: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "FULL_NESTED", 4 << 20)  # as much less than in use as the limit is
    ingest(lake)
    check(lake)
    assert not apart


def test_where_files_say_nothing_new_rows_are_written_by_themselves(
    lake: Lake, apart: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "FULL_NESTED", 1 << 60)
    ingest(lake)
    check(lake)
    assert apart
    monkeypatch.setattr(rewriting, "SEVERAL", 2)
    result = maintain(lake, PARCELS)
    assert result.audit_result is not None
    assert result.audit_result.passed
    check(lake)
