"""The job `dry_run` says what work on an entity would do, by numbers, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.dry_runs import dry_run_job
from assets.resources import LakeResource
from contracts import Contracts, load_contracts
from lakehouse.api import compact, publish
from lakehouse.intake.landing import Scope

COUNTRIES = load_contracts()["countries"]
CONTRACTS = Contracts({COUNTRIES.name: COUNTRIES})
HEADER = "country_code,name,region,currency,vat_rate,updated_at\n"


@pytest.fixture
def resource(tmp_path: Path) -> LakeResource:
    """Two published batches of a country each, and an object that nobody has ingested."""
    resource = LakeResource(environment="local", bucket="data", local_root=str(tmp_path))
    for code in ("DE", "FR", "IT"):
        row = f"{HEADER}{code},Somewhere,Europe,EUR,0.19,2020-01-01T00:00:00Z\n"
        resource.lake.store.write(f"dropbox/countries/{code}.csv", row.encode())
        if code != "IT":
            compact(resource.lake, COUNTRIES, Scope.everything())
            publish(resource.lake, COUNTRIES)
    return resource


def run(resource: LakeResource, **config: Any) -> dg.ExecuteInProcessResult:
    job = dry_run_job(CONTRACTS)
    return job.execute_in_process(
        run_config={"ops": {"plan": {"config": config}}}, resources={"lake": resource}, raise_on_error=False
    )


@pytest.mark.parametrize(
    ("work", "asset", "numbers"),
    [
        ({"rebuild": {}}, "compacted", {"objects": 3, "new": 1, "rows before": 2}),
        ({"requeue": {}}, "compacted", {"objects": 0, "rows before": 2}),
        (
            {"replay": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}},
            "compacted",
            {"objects": 0, "rows before": 2},
        ),
        ({"roll_back": {}}, "catalog", {"objects": 1, "rows before": 2, "rows after": 1}),
    ],
)
def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    resource: LakeResource, work: dict[str, Any], asset: str, numbers: dict[str, int]
) -> None:
    before = {o.key: o.etag for o in resource.lake.store.list("")}
    done = run(resource, entity="countries", work=work)
    assert done.success
    (kind,) = work
    (output,) = [e for e in done.all_events if e.event_type_value == "STEP_OUTPUT"]
    (seen,) = [e.asset_observation_data.asset_observation for e in done.get_asset_observation_events()]
    for found in (output.step_output_data.metadata, seen.metadata):
        assert str(found["dry run"].value).startswith(f"countries: {kind.replace('_', ' ')} would ")
        assert {name: found[name].value for name in numbers} == numbers
        assert found["snapshot"].value.isdigit()
    assert seen.asset_key.path == [asset, "countries"]
    assert done.get_asset_materialization_events() == []
    assert {o.key: o.etag for o in resource.lake.store.list("")} == before


def test_what_cannot_be_looked_at_fails_with_what_was_expected(resource: LakeResource) -> None:
    done = run(resource, entity="counties", work={"rebuild": {}})
    assert not done.success
    assert "expected one of countries, found 'counties'" in str(done.failure_data_for_node("plan"))
