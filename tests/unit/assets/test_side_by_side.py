"""Small batches of one run are made at the same time; what fails, is large or is another run's concerns its entity."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets import compacted, keys, side_by_side
from assets.catalog import catalog_assets
from assets.compacted import compacted_assets
from assets.resources import LakeResource
from assets.side_by_side import SideBySide
from contracts import Contract, Contracts
from lakehouse import api
from lakehouse.batch import compaction
from lakehouse.results import BatchResult, NeedsRoom
from lakehouse.storage.lake import Lake
from tests.support.lakes import PARCELS, Landing, change, published_rows

NAMES = ("letters", "parcels", "trunks")
CONTRACTS = Contracts({name: replace(PARCELS, name=name) for name in NAMES})
PATIENCE = 20.0


class Workshop:
    """Both assets of three entities on a lake in a folder."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.resource = LakeResource(environment="local", bucket="data", local_root=str(folder))
        self.lake: Lake = self.resource.lake
        assets = [*compacted_assets(CONTRACTS, self.lake), *catalog_assets(CONTRACTS, self.lake)]
        self.definitions = dg.Definitions(assets, resources={"lake": self.resource}, executor=dg.in_process_executor)
        for name in NAMES:
            Landing(self.lake, CONTRACTS[name]).land([change(version=1)], datetime.now(UTC))

    def run(self, *entities: str) -> dg.ExecuteInProcessResult:
        """One run as the sensor of landed objects asks for it."""
        selected = [key(entity) for entity in entities for key in (keys.compacted, keys.catalog)]
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=selected, raise_on_error=False
        )

    def published(self) -> list[str]:
        return [name for name in NAMES if published_rows(self.lake, CONTRACTS[name])]


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Workshop(tmp_path, instance)


Compact = Callable[..., BatchResult]


def struck(monkeypatch: pytest.MonkeyPatch, before: Callable[[Contract, bool], object]) -> None:
    """Call this before each compaction, with its contract and whether it is beside others."""
    compact: Compact = api.compact

    def struck_compact(lake: Lake, contract: Contract, *given: Any, **named: Any) -> BatchResult:
        before(contract, named.get("beside", False))
        return compact(lake, contract, *given, **named)

    monkeypatch.setattr(api, "compact", struck_compact)


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.step_key or "" for event in result.all_events if event.is_step_failure}


def test_entities_of_a_run_are_at_work_at_the_same_time(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3)
    struck(monkeypatch, lambda contract, beside: together.wait(PATIENCE))
    result = workshop.run(*NAMES)
    assert result.success
    assert workshop.published() == [*NAMES]
    assert len(result.get_asset_materialization_events()) == 6


def test_what_fails_fails_its_entity_alone(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def before(contract: Contract, beside: bool) -> None:
        if contract.name == "parcels":
            raise OSError("no space left on device")

    struck(monkeypatch, before)
    result = workshop.run(*NAMES)
    assert failed(result) == {"compacted__parcels"}
    assert workshop.published() == ["letters", "trunks"]


def test_what_is_large_is_made_alone_when_nothing_else_goes_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BESIDE_BYTES", 0)
    made: list[tuple[str, bool]] = []
    struck(monkeypatch, lambda contract, beside: made.append((contract.name, beside)))
    assert workshop.run(*NAMES).success
    assert workshop.published() == [*NAMES]
    assert sorted(made[:3]) == [(name, True) for name in NAMES]
    assert made[3:] == [(name, False) for name in NAMES]


def test_a_run_of_one_entity_or_with_configuration_begins_nothing_else(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    struck(monkeypatch, lambda contract, beside: made.append(beside))
    assert workshop.run("parcels").success
    assert made == [False]


def context(instance: dg.DagsterInstance, run_id: str) -> Any:
    return SimpleNamespace(instance=instance, run=SimpleNamespace(run_id=run_id))


def test_an_entity_whose_slot_another_run_has_is_left_to_its_own_step(tmp_path: Path) -> None:
    steps = {name: keys.compacted(name) for name in NAMES}
    settings = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=settings) as instance:
        events = instance.event_log_storage
        assert side_by_side._with_slot(context(instance, "other"), {"parcels": steps["parcels"]}) == ["parcels"]
        assert side_by_side._with_slot(context(instance, "mine"), steps) == ["letters", "trunks"]
        assert not events.claim_concurrency_slot(keys.pool("letters"), "third", "compacted__letters").is_claimed
        again = events.claim_concurrency_slot(keys.pool("letters"), "mine", "compacted__letters")
        assert again.is_claimed, "as the executor claims it for its step"
        events.free_concurrency_slot_for_step("other", "compacted__parcels")
        assert side_by_side._with_slot(context(instance, "third"), {"parcels": steps["parcels"]}) == ["parcels"]


@pytest.mark.parametrize("moment", ["begin", "take", "after"])
def test_a_run_that_is_stopped_ends_when_what_it_began_is_over(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    going, over = threading.Event(), list[str]()
    under_way = {name: threading.Event() for name in ("parcels", "trunks")}  # what is not, is never begun

    def work(entity: str, report: Callable[[str], None]) -> int:
        if entity == "letters":
            if moment == "take":
                stop()
            return 1
        under_way[entity].set()
        assert going.wait(PATIENCE)
        over.append(entity)
        return 1

    def waiting(futures: Any) -> object:
        going.set()
        return wait(futures)

    def stop(*given: object) -> Any:
        assert all(event.wait(PATIENCE) for event in under_way.values())
        raise KeyboardInterrupt

    def step() -> None:
        with side_by_side.side_by_side(step_of("letters"), keys.compacted, workshop.lake, work) as side:
            if moment == "take":
                side.take("compacted", "letters", lambda line: None)
            stop()

    monkeypatch.setattr(side_by_side, "wait", waiting)
    monkeypatch.setattr(side_by_side, "_with_slot", lambda context, steps: [*steps])
    if moment == "begin":
        begin = SideBySide.begin
        monkeypatch.setattr(SideBySide, "begin", lambda *given: begin(*given) or (given[2] and stop()))
    with pytest.raises(KeyboardInterrupt):
        step()
    assert sorted(over) == ["parcels", "trunks"]


def step_of(entity: str) -> Any:
    """The context of an entity's step in a run of all three."""
    run = SimpleNamespace(
        run_id="run", asset_selection={keys.compacted(n) for n in NAMES}, step_keys_to_execute=None, run_config={}
    )
    return SimpleNamespace(run=run, asset_key=keys.compacted(entity))


def test_a_step_that_is_tried_again_does_its_work_again() -> None:
    side = SideBySide("run")
    side.begin("layer", ["failed", "done"], lambda entity, report: 1 // (entity == "done"))
    with pytest.raises(ZeroDivisionError):
        side.take("layer", "failed", lambda line: None)
    assert side.take("layer", "done", lambda line: None) == 1
    assert side.take("layer", "failed", lambda line: None) is None
    assert side.take("layer", "done", lambda line: None) is None


def test_after_a_first_step_that_could_begin_nothing_all_go_step_by_step(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*given: object) -> list[str]:
        raise ConnectionError("no answer")

    made: list[tuple[str, bool]] = []
    struck(monkeypatch, lambda contract, beside: made.append((contract.name, beside)))
    monkeypatch.setattr(side_by_side, "_with_slot", unreachable)
    result = workshop.run(*NAMES)
    assert failed(result) == {"compacted__letters", "catalog__parcels"}, "the first of each layer"
    assert made == [("parcels", False), ("trunks", False)], "what failed is not made when its step is over"


def test_an_entity_whose_step_failed_is_not_published_beside_others(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = compacted.materialized

    def fail(result: BatchResult, *given: Any) -> Any:
        if result.entity == "parcels":
            raise ValueError("cannot be shown")
        return show(result, *given)

    monkeypatch.setattr(compacted, "materialized", fail)
    assert failed(workshop.run(*NAMES)) == {"compacted__parcels"}
    assert workshop.published() == ["letters", "trunks"]


def test_lines_of_the_work_reach_its_own_step_also_when_it_fails() -> None:
    side, reported = SideBySide("run"), list[str]()

    def work(entity: str, report: Callable[[str], None]) -> int:
        report(f"{entity} begins")
        raise NeedsRoom("too large") if entity == "large" else ValueError("wrong")

    side.begin("layer", ["large", "wrong"], work)
    assert side.take("layer", "large", reported.append) is None
    with pytest.raises(ValueError, match="wrong"):
        side.take("layer", "wrong", reported.append)
    assert side.take("layer", "unknown", reported.append) is None
    assert reported == ["large begins", "too large", "wrong begins"]
