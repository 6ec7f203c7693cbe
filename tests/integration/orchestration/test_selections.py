"""Whatever a sensor, a schedule or the UI's buttons can ask for becomes a run, and a run that succeeds.

Dagster takes a job apart only when something asks for a part of it, so that a job that works as a whole says nothing.
The first tests plan every part as the daemon and the UI do; the last ones run parts with dbt, on tables without rows.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.consumers import RECENT
from assets.resources import LakeResource
from contracts import load_contracts
from lakehouse import api
from lakehouse.results import Published
from local.dagster.prepare import prepare
from orchestration.definitions import build
from orchestration.sensors import compaction_request
from orchestration.settings import Settings
from tests.support.private_dagster import IMPLICIT_ASSET_JOB_NAME, ExecutionPlan, create_execution_plan

pytestmark = pytest.mark.timeout(900)

ENTITIES = tuple(load_contracts())
RANDOM_SETS = 25


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A laptop whose project is prepared as it is."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), endpoint_url="http://127.0.0.1:1")
    prepare(settings)
    return settings


@pytest.fixture(scope="module")
def repository(settings: Settings) -> dg.RepositoryDefinition:
    """The code location of the real project."""
    return build(settings).get_repository_def()


Request = Callable[[Collection[str]], dg.RunRequest | None]


@pytest.fixture
def marts_of(repository: dg.RepositoryDefinition, monkeypatch: pytest.MonkeyPatch) -> Iterator[Request]:
    """What `published_tables` asks for when the tables of these entities changed."""
    changed: set[str] = set()
    monkeypatch.setattr(api, "published", lambda _, contract: state(contract.name, contract.name in changed))
    sensor = repository.get_sensor_def("published_tables")
    lake = LakeResource(environment="local", bucket="b")

    def tick(instance: dg.DagsterInstance, cursor: str | None) -> Any:
        resources = {"lake": lake}
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, repository_def=repository, definitions=None, resources=resources
        )
        return sensor.evaluate_tick(context)

    with dg.DagsterInstance.ephemeral() as instance:
        before = tick(instance, None).cursor

        def of(entities: Collection[str]) -> dg.RunRequest | None:
            changed.clear()
            changed.update(entities)
            requests = tick(instance, before).run_requests
            return requests[0] if requests else None

        yield of


def state(entity: str, changed: bool) -> Published:
    """A published table with other rows once it changed."""
    now = datetime.now(UTC)
    return Published(entity, "m", "c", 1, 2 if changed else 1, now, 1, 1, 1, 1, "1")


def at_night(repository: dg.RepositoryDefinition) -> set[dg.AssetCheckKey]:
    """The checks that only the full check runs."""
    return job_checks(repository, "full_check") - job_checks(repository, "reports")


def job_checks(repository: dg.RepositoryDefinition, job: str) -> set[dg.AssetCheckKey]:
    return set(repository.get_job(job).asset_layer.asset_graph.asset_check_keys)


def plan(
    repository: dg.RepositoryDefinition,
    job: str,
    assets: Collection[dg.AssetKey] | None,
    checks: Collection[dg.AssetCheckKey] | None,
) -> ExecutionPlan:
    """The plan of a run as the code server makes it for daemon and UI; raises what tick or button would show."""
    part = repository.get_job(job).get_subset(
        asset_selection=frozenset(assets) if assets is not None else None,
        asset_check_selection=frozenset(checks) if checks is not None else None,
    )
    made = create_execution_plan(part)
    if assets is not None:
        assert part.asset_layer.selected_asset_keys == set(assets), "nothing is added, nothing left out"
    return made


def test_marts_of_every_entity_and_of_sets_of_them_can_be_launched(
    repository: dg.RepositoryDefinition, marts_of: Request
) -> None:
    chance = random.Random(1)
    some = [chance.sample(ENTITIES, chance.randint(2, len(ENTITIES))) for _ in range(RANDOM_SETS)]
    night = at_night(repository)
    assert night, "the project has tests for the night"
    planned = 0
    for entities in [*([entity] for entity in ENTITIES), *some, ENTITIES]:
        request = marts_of(entities)
        if request is not None:
            planned += 1
            assert not night & set(request.asset_check_keys or ()), "a build of some marts runs no nightly test"
            assert set(request.asset_check_keys or ()) <= job_checks(repository, "marts")
            plan(repository, "marts", request.asset_selection, request.asset_check_keys)
            plan(repository, "marts", request.asset_selection, None)
    assert planned > len(ENTITIES), "marts read nearly every table"


def test_compactions_of_every_entity_and_of_sets_of_them_can_be_launched(repository: dg.RepositoryDefinition) -> None:
    chance = random.Random(2)
    some = [sorted(chance.sample(ENTITIES, chance.randint(2, len(ENTITIES)))) for _ in range(RANDOM_SETS)]
    for entities in [*([entity] for entity in ENTITIES), *some]:
        request = compaction_request(entities, {})
        plan(repository, "compaction", request.asset_selection, request.asset_check_keys)


def jobs_with_assets(repository: dg.RepositoryDefinition) -> Iterator[tuple[str, list[dg.AssetKey]]]:
    """Each job with the assets that a person can select in it, the job of the UI's button over the whole graph too."""
    for job in repository.get_all_jobs():
        assets = sorted(job.asset_layer.selected_asset_keys & job.asset_layer.asset_graph.executable_asset_keys)
        if assets:
            yield job.name, assets


def test_each_asset_can_be_materialized_with_its_checks_from_every_job(repository: dg.RepositoryDefinition) -> None:
    """The button sends the checks of the asset that the job has; a request that names none gets them from Dagster."""
    seen = set()
    for job, assets in jobs_with_assets(repository):
        for asset in assets:
            seen.add(asset)
            of_it = {check for check in job_checks(repository, job) if check.asset_key == asset}
            plan(repository, job, [asset], None)
            plan(repository, job, [asset], of_it)
    assert seen == set(repository.asset_graph.executable_asset_keys)


def test_sets_of_assets_can_be_materialized_together(repository: dg.RepositoryDefinition) -> None:
    chance = random.Random(3)
    assets = dict(jobs_with_assets(repository))[IMPLICIT_ASSET_JOB_NAME]
    for _ in range(RANDOM_SETS):
        some = chance.sample(assets, chance.randint(2, 12))
        checks = {c for c in job_checks(repository, IMPLICIT_ASSET_JOB_NAME) if c.asset_key in some}
        plan(repository, IMPLICIT_ASSET_JOB_NAME, some, checks)
        plan(repository, IMPLICIT_ASSET_JOB_NAME, some, None)


def test_each_check_that_the_ui_runs_alone_can_be(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    alone = [k for k in graph.asset_check_keys if graph.get_execution_set_asset_and_check_keys(k) <= {k}]
    assert {key.name for key in alone} > {"recent_enough"}
    for check in alone:
        plan(repository, IMPLICIT_ASSET_JOB_NAME, [], [check])


def test_each_schedule_can_be_launched(repository: dg.RepositoryDefinition) -> None:
    for schedule in repository.schedule_defs:
        context = dg.build_schedule_context(scheduled_execution_time=datetime.now(UTC), repository_def=repository)
        requests = schedule.evaluate_tick(context).run_requests or ()
        assert requests
        for request in requests:
            job = repository.get_job(schedule.job_name)
            create_execution_plan(job, run_config=request.run_config)


# ---- really run ----------------------------------------------------------------------------------------------------


Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Runs a part of a job with dbt, on a lake without rows."""
    (tmp_path / "slice").mkdir()
    (tmp_path / "slice" / "watermarks.json").write_text(json.dumps({}))
    monkeypatch.setenv("GAVEL_SLICE", str(tmp_path / "slice"))
    for name in [n for n in os.environ if n.startswith("DBT_")]:
        monkeypatch.delenv(name)
    lake = LakeResource(environment="local", bucket="b", local_root=str(tmp_path / "lake"))
    repository = build(settings, {"lake": lake}).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:

        def run(job: str, assets: Collection[dg.AssetKey], checks: Collection[dg.AssetCheckKey] | None) -> Any:
            part = repository.get_job(job).get_subset(
                asset_selection=frozenset(assets),
                asset_check_selection=frozenset(checks) if checks is not None else None,
            )
            return part.execute_in_process(instance=instance, raise_on_error=False)

        yield run


def made(result: dg.ExecuteInProcessResult) -> tuple[set[dg.AssetKey], set[dg.AssetCheckKey]]:
    """What a run materialized and what it checked."""
    assert result.success, [str(e.step_failure_data.error) for e in result.get_step_failure_events()]
    return (
        {event.asset_key for event in result.get_asset_materialization_events() if event.asset_key},
        {check.asset_check_key for check in result.get_asset_check_evaluations()},
    )


def test_what_the_sensor_asks_for_runs(repository: dg.RepositoryDefinition, marts_of: Request, run: Run) -> None:
    request = marts_of(["bids"])
    assert request is not None
    assets, checks = made(run("marts", request.asset_selection, request.asset_check_keys))
    assert assets == set(request.asset_selection or ())
    left = set(request.asset_check_keys or ()) - checks
    assert checks <= set(request.asset_check_keys or ())
    # A test of two models runs where both are built, and a first build does not make all.
    assert all(check.name.startswith("relationships_") for check in left)
    assert len(checks) > len(left)


def test_what_the_button_asks_for_runs_with_the_nightly_tests_of_that_model_and_no_other(
    repository: dg.RepositoryDefinition, run: Run
) -> None:
    orders = dg.AssetKey(["staging", "stg_orders"])
    night = {check for check in at_night(repository) if check.asset_key == orders}
    assert night
    assets, checks = made(run(IMPLICIT_ASSET_JOB_NAME, [orders], None))
    assert assets == {orders}
    assert checks == {c for c in job_checks(repository, IMPLICIT_ASSET_JOB_NAME) if c.asset_key == orders} >= night

    of_build = next(c for c in sorted(checks - night) if c.name != RECENT)
    late = next(c for c in sorted(job_checks(repository, "marts")) if c.name == RECENT)
    for check in (min(night), of_build, late):
        assert made(run(IMPLICIT_ASSET_JOB_NAME, [], [check])) == (set(), {check}), "alone"
