"""A build of what has news gives the same marts, and the same outcomes of tests, as one of everything, on random
projects and after whatever happened before: late rows, failed builds, marts put back or dropped by hand, lost records.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.manifest import PROVEN, WATERMARKS_MODEL, is_model, is_table, reads_of
from warehouse.news import Present, Record, after, can_run, due, in_order, in_order_of, inputs, news
from warehouse.publication import withheld_models

SOURCES = [f"source.p.catalog.s{n}" for n in range(4)]
LOG = "source.p.catalog.log"
SHOWN = f"model.p.{WATERMARKS_MODEL}"
STEPS = 14


def random_manifest(rng: random.Random) -> dict[str, Any]:
    """Models of all kinds that read sources and each other, and tests of them, of warnings and of errors."""
    nodes: dict[str, Any] = {SHOWN: _model(SHOWN, "view", SOURCES)}
    for n in range(9):
        known = [*SOURCES, LOG, *nodes]
        kind = rng.choice(["table", "table", "incremental", "view", "ephemeral"])
        unique_id = f"model.p.m{n}"
        nodes[unique_id] = _model(unique_id, kind, rng.sample(known, rng.randint(0 if n else 1, 3)))
    models = [i for i, node in nodes.items() if node["config"]["materialized"] != "ephemeral"]
    for n in range(8):
        reads = rng.sample([*models, *SOURCES], rng.randint(1, 2))
        nodes[f"test.p.t{n}"] = {
            "resource_type": "test",
            "name": f"t{n}",
            "attached_node": reads[0] if reads[0] in models else None,
            "depends_on": {"nodes": reads},
            "severity": rng.choice(["warn", "error"]),
            "tags": [PROVEN] if rng.random() < 0.3 else [],
        }
    return {"nodes": nodes, "sources": {i: {"name": i.split(".")[-1]} for i in (*SOURCES, LOG)}}


def _model(unique_id: str, kind: str, reads: Collection[str]) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": unique_id.split(".")[-1],
        "config": {"materialized": kind},
        "depends_on": {"nodes": [*reads]},
    }


@dataclass
class House:
    """What is published and what readers have. `place` changes with the file as a whole where it is `local`."""

    manifest: dict[str, Any]
    local: bool
    project: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys([*SOURCES, LOG, SHOWN], 0))
    tables: dict[str, tuple[Any, str]] = field(default_factory=dict)
    file: str = "0"
    record: Record = field(default_factory=Record)
    earlier: list[tuple[str, tuple[Any, str]]] = field(default_factory=list)
    builds: int = 0

    @property
    def models(self) -> list[str]:
        return [i for i in self.manifest["nodes"] if is_model(self.manifest, i)]

    @property
    def tests(self) -> list[str]:
        return [i for i in self.manifest["nodes"] if i.startswith("test.")]

    def places(self) -> dict[str, str]:
        return {i: self.file if self.local else place for i, (_, place) in self.tables.items()}

    def versions(self) -> dict[str, str | None]:
        return {**{i: str(n) for i, n in self.rows.items()}, LOG: None}

    def present(self) -> Present:
        return Present(str(self.project), self.versions(), self.record.about(self.places()))

    def content(self, unique_id: str, tables: Mapping[str, tuple[Any, str]]) -> Any:
        """What a query finds: a view is as what it reads is now."""
        if unique_id in self.manifest["sources"]:
            return self.rows[unique_id]
        if is_table(self.manifest["nodes"][unique_id]):
            return tables[unique_id][0] if unique_id in tables else "missing"
        return self.computed(unique_id, tables, (tables.get(unique_id) or ((None, None), ""))[0])

    def computed(self, unique_id: str, tables: Mapping[str, tuple[Any, str]], made: Any = None) -> Any:
        """What a build makes of a model, or a view that was `made` by some project."""
        by = made[0] if made else self.project
        if unique_id == SHOWN:
            return by, unique_id, self.rows[SHOWN]
        return by, unique_id, tuple(self.content(r, tables) for r in reads_of(self.manifest, unique_id))

    def outcome(self, test: str, tables: Mapping[str, tuple[Any, str]]) -> str:
        read = str([self.content(r, tables) for r in reads_of(self.manifest, test)])
        if PROVEN in self.manifest["nodes"][test]["tags"]:
            read = ""  # no row is published for which it would fail
        bad = random.Random(read + test + str(self.project)).random() < 0.2
        return {"warn": "warn", "error": "fail"}[self.manifest["nodes"][test]["severity"]] if bad else "pass"

    def build(self, models: Collection[str], tests: Collection[str], present: Present, broken: Collection[str]) -> bool:
        """dbt at work on these nodes: a model that is `broken` fails. Whether all went well."""
        self.builds += 1
        made, results, given = dict(self.tables), dict[str, dict[str, str]](), list[str]()
        for unique_id in in_order(self.manifest, models):
            if unique_id in withheld_models(self.manifest, results):
                results[unique_id] = {"status": "skipped"}
            elif unique_id in broken:
                results[unique_id] = {"status": "error"}
            else:
                results[unique_id] = {"status": "success"}
                made[unique_id] = (self.computed(unique_id, made), f"build {self.builds}")
            for test in tests:
                about = {r for r in reads_of(self.manifest, test) if r in models}
                if test not in results and about and about <= {*results} and not about & {*broken}:
                    results[test] = {"status": self.outcome(test, made)}
        for test in tests:
            if not set(reads_of(self.manifest, test)) & {*models}:
                results[test] = {"status": self.outcome(test, made)}
        withheld = withheld_models(self.manifest, results)
        if not self.local and any(r["status"] in ("error", "fail") for r in results.values()):
            withheld = {*models}
        given = [i for i in models if i not in withheld]
        self.earlier += self.tables.items()
        self.tables |= {i: made[i] for i in given}
        self.file = f"file {self.builds}"
        record = after(self.manifest, present, given, results, f"build {self.builds}", self.places())
        if self.local:
            moved = {i: replace(m, place=self.file) for i, m in record.models.items()}
            record = replace(record, models=moved)
        self.record = record
        return not withheld and all(r["status"] in ("success", "pass", "warn") for r in results.values())

    def something_happens(self, rng: random.Random) -> None:
        """Rows come, and sometimes what nobody expects."""
        for source in rng.sample(SOURCES, rng.choice([0, 0, 1, 2])):
            self.rows[source] += 1
        self.rows[LOG] += 1
        match rng.randrange(12):
            case 0:
                self.project += 1
            case 1:
                self.rows[SHOWN] += 1
            case 2 if self.tables:
                del self.tables[rng.choice([*self.tables])]
                self.file = f"dropped {rng.random()}"
            case 3 if self.earlier:
                unique_id, before = rng.choice(self.earlier)
                self.tables[unique_id] = before
                self.file = f"put back {rng.random()}"
            case 4:
                self.record = Record()
            case 5:  # a part, as a person builds it
                some = rng.sample(self.models, 3)
                self.build(some, [t for t in self.tests if {*reads_of(self.manifest, t)} & {*some}], self.present(), ())
            case 6:  # a build that breaks
                self.build(self.models, self.tests, self.present(), rng.sample(self.models, 1))
            case 7:  # one whose record is lost
                before = self.record
                self.build(self.models, self.tests, self.present(), ())
                self.record = before


@pytest.mark.parametrize("local", [True, False])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_test_runs_before_all_that_it_reads_is_there(local: bool, seed: int) -> None:
    """Builds of parts, as tables come: none reads a model that nobody has built, and none waits for ever."""
    rng = random.Random(seed)
    house = House(random_manifest(rng), local)
    for step in range(STEPS):
        house.something_happens(rng)
        some = house.models if step == STEPS - 1 else rng.sample(house.models, rng.randint(1, 4))
        present = house.present()
        found = news(house.manifest, some, present)
        tests = [t for t in house.tests if can_run(house.manifest, t, found, present)]
        for test in tests:
            read = {*reads_of(house.manifest, test), *inputs(house.manifest, test)}
            assert {i for i in read if is_model(house.manifest, i)} <= {*house.tables, *found}
        house.build([*found], due(house.manifest, tests, found, present), present, ())
    assert tests == house.tests


@pytest.mark.parametrize("local", [True, False])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_build_of_what_has_news_gives_what_a_build_of_everything_gives(local: bool, seed: int) -> None:
    rng = random.Random(seed)
    house = House(random_manifest(rng), local)
    for _ in range(STEPS):
        house.something_happens(rng)
        present = house.present()
        found = news(house.manifest, house.models, present)
        tests = due(house.manifest, house.tests, found, present)
        well = house.build([*found], tests, present, ())
        for test in {*house.tests} - {*tests}:
            assert present.record.tests[test].status == house.outcome(test, house.tables), "what is reported is true"
        if well:
            everything = dict[str, tuple[Any, str]]()
            for unique_id in in_order(house.manifest, house.models):
                everything[unique_id] = (house.computed(unique_id, everything), "")
            for unique_id in house.models:
                assert house.content(unique_id, house.tables) == house.content(unique_id, everything), unique_id


def test_without_news_nothing_is_built_and_no_test_runs() -> None:
    house = House(random_manifest(random.Random(4)), local=True)
    for node in house.manifest["nodes"].values():
        node["depends_on"]["nodes"] = [i for i in node["depends_on"]["nodes"] if i != LOG]
        node["severity"] = "warn"
    assert house.build(house.models, house.tests, house.present(), ())
    present = house.present()
    assert news(house.manifest, house.models, present) == {}
    assert due(house.manifest, house.tests, (), present) == []
    house.rows[SOURCES[0]] += 1
    found = news(house.manifest, house.models, house.present())
    assert 0 < len(found) < len(house.models)
    assert "s0 has news" in found.values()


@pytest.mark.parametrize("of_a_source", [True, False])
def test_a_test_that_failed_is_due_until_it_passes_also_on_rows_that_it_passed_on(of_a_source: bool) -> None:
    house = House(random_manifest(random.Random(4)), local=True)
    test, read = "test.p.t0", SOURCES[0] if of_a_source else house.models[0]
    house.manifest["nodes"][test] |= {"depends_on": {"nodes": [read]}, "attached_node": None if of_a_source else read}
    places = dict.fromkeys(house.models, "0")
    for status, is_due in (("pass", False), ("fail", True), ("warn", False), ("error", True), ("pass", False)):
        results = {test: {"status": status}}
        house.record = after(house.manifest, house.present(), (), results, "b", places)
        assert (due(house.manifest, [test], (), house.present()) == [test]) is is_due


def test_a_proven_test_is_due_until_it_has_passed_by_this_project_whatever_comes_then() -> None:
    house = House(random_manifest(random.Random(4)), local=True)
    test, read = "test.p.t0", SOURCES[0]
    house.manifest["nodes"][test] |= {"depends_on": {"nodes": [read]}, "attached_node": None}
    for tags, again in (([], True), ([PROVEN], False)):
        house.manifest["nodes"][test]["tags"] = tags
        for status, is_due in (("fail", True), ("pass", again)):
            house.record = after(house.manifest, house.present(), (), {test: {"status": status}}, "b", {})
            house.rows[read] += 1
            assert (due(house.manifest, [test], house.models, house.present()) == [test]) is is_due
    house.project += 1
    assert due(house.manifest, [test], (), house.present()) == [test]


def test_a_test_that_passed_on_rows_that_readers_did_not_get_says_nothing_of_theirs() -> None:
    house = House(random_manifest(random.Random(4)), local=True)
    tables = [i for i in house.models if is_table(house.manifest["nodes"][i])]
    test, held = "test.p.t0", tables[0]
    house.manifest["nodes"][test] |= {"depends_on": {"nodes": [held]}, "attached_node": held}
    results = {i: {"status": "success"} for i in house.models} | {test: {"status": "pass"}}
    given = [i for i in house.models if i != held]
    record = after(house.manifest, house.present(), given, results, "b", dict.fromkeys(house.models, "0"))
    assert test not in record.tests
    assert held not in record.models


def test_of_a_model_that_was_built_beside_those_that_were_wanted_nothing_is_known() -> None:
    """As what a model reads is in a first build: it has other rows, and nobody says which."""
    house = House(random_manifest(random.Random(4)), local=True)
    beside, wanted = [i for i in house.models if is_table(house.manifest["nodes"][i])][:2]
    assert house.build(house.models, (), house.present(), ())
    assert {beside, wanted} <= {*house.record.models}
    results = {i: {"status": "success"} for i in (beside, wanted)}
    record = after(house.manifest, house.present(), [wanted], results, "b", house.places())
    assert {*house.record.models} - {*record.models} == {beside}


@given(st.integers(0, 10**6))
def test_whatever_was_built_left_or_failed_is_said_in_the_order_in_which_dagster_takes_it(seed: int) -> None:
    """Dagster refuses an output before that of another selected model which it reads, and one that never comes."""
    rng = random.Random(seed)
    manifest = random_manifest(rng)
    models = [i for i in manifest["nodes"] if is_model(manifest, i)]
    selected = {i for i in models if rng.random() < 0.7}
    there = {i for i in models if rng.random() < 0.8}
    said = list(in_order_of(manifest, selected, there))
    for n, i in enumerate(said):
        assert {*reads_of(manifest, i)} & selected <= {*said[:n]}
    unsaid = {i for i in selected & there if i not in said}
    assert all({*reads_of(manifest, i)} & (selected - {*said}) for i in unsaid), "all else is said"
