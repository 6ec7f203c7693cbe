"""What a test need not look at again: only what it passed on, and only while nothing else was done to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support.manifests import small_manifest
from warehouse.news import Made, Outcome, Present, Record, can_run
from warehouse.passed import LONGEST, SETTING, Commits, as_setting, passed, reached

ORDERS, LOTS, COUNTRIES = (f"source.gavel.catalog.{name}" for name in ("orders", "lots_changes", "countries"))
FACT, DIMENSION, CALENDAR = (f"model.gavel.{name}" for name in ("fct_orders", "dim_lot", "dim_date"))
BALANCE = "test.gavel.balance"  # reads the fact and the dimension


def at(batch: int, changes: int = 100, snapshot: int = 7) -> str:
    return f"{reached(batch, changes)}, 10 rows, snapshot {snapshot}"


def house(status: str = "pass") -> Present:
    """A test that passed when orders were at their commit 3 and lots at 5; now they are at 4 and 5."""
    made = {
        CALENDAR: Made("p", {}, "b1", "there"),
        FACT: Made("p", {ORDERS: at(3), CALENDAR: "b1"}, "b7", "there"),
        DIMENSION: Made("p", {LOTS: at(5)}, "b2", "there"),
    }
    outcome = Outcome("p", {FACT: "b7", DIMENSION: "b2"}, "b7", status, 0, "")
    return Present("p", {ORDERS: at(4), LOTS: at(5)}, Record(made, {BALANCE: outcome}))


def known(now: Present) -> dict[str, tuple[int, int]]:
    return {**passed(small_manifest(), [BALANCE], now).get(BALANCE, {})}


def test_a_test_has_passed_up_to_the_commits_that_its_tables_were_made_of() -> None:
    assert known(house()) == {"orders": (3, 4), "lots": (5, 5)}


@pytest.mark.parametrize("status", ["warn", "fail", "error"])
def test_what_did_not_pass_is_looked_at_whole(status: str) -> None:
    assert known(house(status)) == {}


def test_without_a_record_or_by_another_project_everything_is_looked_at() -> None:
    now = house()
    assert known(replace(now, project="other")) == {}
    assert known(replace(now, record=replace(now.record, tests={}))) == {}


@pytest.mark.parametrize("model", [FACT, DIMENSION])
def test_rows_that_the_test_did_not_see_are_looked_at_whole(model: str) -> None:
    """The mart was written by something else, or by a build that left the test out."""
    now = house()
    assert known(now.without([model])) == {}
    made = replace(now.record.models[model], version="a build without the test")
    assert known(replace(now, record=replace(now.record, models={**now.record.models, model: made}))) == {}


@pytest.mark.parametrize("version", [at(2), at(4, changes=99), "never published", None])
def test_a_table_that_went_back_is_looked_at_whole(version: str | None) -> None:
    """Rolled back, or lost a person's rows by an erasure."""
    now = house()
    assert known(replace(now, versions={**now.versions, ORDERS: version})) == {}


@pytest.mark.parametrize(("lineage", "commits"), [({6, 7, 8}, {"orders": (3, 4), "lots": (5, 5)}), ({6, 8}, {})])
def test_a_table_that_went_back_and_further_is_looked_at_whole(
    lineage: set[int], commits: dict[str, tuple[int, int]]
) -> None:
    """A batch was rolled back, or a person erased, and more changes than that were published before the next build."""
    now = house()
    now = replace(now, versions={**now.versions, ORDERS: at(4, changes=200, snapshot=8)}, lineages={ORDERS: lineage})
    assert known(now) == commits


def test_a_table_that_was_never_published_has_no_commit() -> None:
    now = house()
    made = replace(now.record.models[DIMENSION], reads={LOTS: "never published"})
    now = replace(now, record=replace(now.record, models={**now.record.models, DIMENSION: made}))
    assert known(replace(now, versions={**now.versions, LOTS: "never published"})) == {"orders": (3, 4)}
    assert known(now) == {}, "now it has"


def test_of_several_tables_the_one_that_is_furthest_behind_counts() -> None:
    now = house()
    made = replace(now.record.models[DIMENSION], reads={LOTS: at(5), ORDERS: at(2)})
    manifest = small_manifest()
    manifest["nodes"][DIMENSION]["depends_on"]["nodes"] += [ORDERS]
    now = replace(now, record=replace(now.record, models={**now.record.models, DIMENSION: made}))
    assert passed(manifest, [BALANCE], now) == {BALANCE: {"orders": (2, 4), "lots": (5, 5)}}


def test_a_project_of_any_number_of_tests_can_be_built() -> None:
    """What the system would refuse is left out: those tests look at everything."""
    few: dict[str, Commits] = {"test.gavel.key": {"orders": (3, 4)}}
    many = {f"test.gavel.{'x' * 80}_{n}": {f"entity_{e}": (10**6, 10**6 + 1) for e in range(20)} for n in range(1000)}
    assert as_setting(few) == {SETTING: '{"test.gavel.key": {"orders": [3, 4]}}'}
    setting = as_setting({**many, **few})
    subprocess.run([sys.executable, "-S", "-c", ""], env={**os.environ, **setting}, check=True)
    kept = json.loads(setting[SETTING])
    assert LONGEST * 0.9 < len(setting[SETTING]) <= LONGEST
    assert kept.pop("test.gavel.key") == {"orders": [3, 4]}
    assert {*kept} < {*many}


def test_a_test_runs_where_all_that_it_reads_is_there() -> None:
    """As on a new home, where the first builds make facts and not the calendar."""
    now = house()
    assert can_run(small_manifest(), BALANCE, [], now)
    for missing in (FACT, DIMENSION):
        without = now.without([missing])
        assert not can_run(small_manifest(), BALANCE, [], without)
        assert can_run(small_manifest(), BALANCE, [missing], without)
