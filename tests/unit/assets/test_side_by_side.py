"""Small batches of one run are made at the same time; what fails, is large or is another run's concerns its entity."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets import keys, side_by_side
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


def test_a_run_that_is_stopped_waits_for_what_it_began() -> None:
    side, going, done = SideBySide("run"), threading.Event(), threading.Event()

    def work(entity: str, report: Callable[[str], None]) -> int:
        if entity == "stopped":
            raise KeyboardInterrupt
        assert going.wait(PATIENCE)
        done.set()
        return 1

    side.begin("layer", ["slow", "stopped"], work)
    threading.Timer(0.05, going.set).start()
    with pytest.raises(KeyboardInterrupt):
        side.take("layer", "stopped", lambda line: None)
    assert done.is_set()


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
