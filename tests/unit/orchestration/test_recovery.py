"""The job `recover` and the commands `recover catalog` and `recover lake`, from a loss to the same content."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from assets.recovery import RecoveryStep, recovery_job
from assets.resources import LakeResource
from assets.run_configuration import RecoveryConfig
from contracts import Contracts, load_contracts
from lakehouse.api import compact, publish
from lakehouse.intake.landing import Scope
from lakehouse.publish.published import content_hash, published
from lakehouse.recovery.backfill import backfill, find
from lakehouse.recovery.wanted import Lost
from ops.command_line import app
from ops.environment import Environment
from tests.support.exports import Layout, item_line, write_export

CONTRACTS = Contracts({name: load_contracts()[name] for name in ("customers", "countries")})
COUNTRIES = b"country_code,name,region,currency,vat_rate,updated_at\nDE,Germany,Europe,EUR,0.19,2020-01-01T00:00:00Z\n"
CUSTOMERS = CONTRACTS["customers"]


def customer(number: int) -> dict[str, Any]:
    return {
        "pk": {"S": f"CUSTOMER#c-{number}"},
        "sk": {"S": "CUSTOMER"},
        "entity": {"S": "customers"},
        "customer_id": {"S": f"c-{number}"},
        "status": {"S": "active"},
        "registered_at": {"S": "2026-01-01T00:00:00Z"},
    }


@pytest.fixture
def resource(tmp_path: Path) -> LakeResource:
    return LakeResource(environment="local", bucket="data", local_root=str(tmp_path), scratch=str(tmp_path / "scratch"))


def again(resource: LakeResource) -> LakeResource:
    """The same for another process: nothing is in its memory."""
    return LakeResource(**resource.model_dump())


def run(resource: LakeResource, config: dict[str, Any]) -> dg.ExecuteInProcessResult:
    return recovery_job(CONTRACTS, {}).execute_in_process(run_config=config, resources={"lake": again(resource)})


def outcome(result: dg.ExecuteInProcessResult, entity: str) -> dict[str, Any]:
    """What a step's metadata says of its result."""
    (event,) = [e for e in result.events_for_node(f"recover_{entity}") if e.event_type_value == "STEP_OUTPUT"]
    found = event.step_output_data.metadata["result"].value
    assert isinstance(found, dict)
    return found


@pytest.fixture
def filled(resource: LakeResource) -> str:
    """Two customers from an export that lies in the bucket, and one country that was dropped; returns the export."""
    store = resource.lake.store
    write_export(store, Layout([[item_line(customer(1)), item_line(customer(2))]], table="gavel-local"))
    store.write("dropbox/countries/all.csv", COUNTRIES)
    backfill(resource.lake, CONTRACTS, find(resource.lake, "s3://data/exports")[0])
    compact(resource.lake, CONTRACTS["countries"], Scope.everything())
    publish(resource.lake, CONTRACTS["countries"])
    return "s3://data/exports"


def lose(resource: LakeResource, *prefixes: str, catalog: bool = False) -> None:
    for prefix in prefixes:
        resource.lake.store.delete([s.key for s in resource.lake.store.list(prefix)])
    if catalog:
        shutil.rmtree(Path(resource.local_root or "") / "catalog")


def hashes(resource: LakeResource) -> dict[str, Any]:
    return {c.name: content_hash(again(resource).lake, c) for c in CONTRACTS.values()}


def test_what_is_configured_is_recovered() -> None:
    step = RecoveryConfig(lost={"lake": {"export": "s3://b/p"}}, entities=["lots"], dry_run=True).step()
    assert RecoveryStep(**step).lost() == Lost("lake", ("lots",), export="s3://b/p", dry_run=True)
    assert RecoveryStep(**RecoveryConfig().step()).lost("lots") == Lost("catalog", ("lots",))


@pytest.mark.parametrize(
    "config",
    [
        {"entities": ["nothing"]},
        {"lost": {"catalog": {"state": "x"}}},
        {"lost": {"catalog": {"state": "x"}}, "entities": ["customers", "countries"]},
    ],
)
def test_what_does_not_fit_together_ends_before_anything_is_done(resource: LakeResource, config: Any) -> None:
    with pytest.raises(Exception, match="expected"):
        run(resource, config)
    assert not list(Path(resource.local_root or "").rglob("*.json"))


def test_a_lost_catalog_comes_back_and_who_follows_the_table_learns_of_it(resource: LakeResource, filled: str) -> None:
    before = hashes(resource)
    lose(resource, catalog=True)
    dry = run(resource, {"dry_run": True})
    assert outcome(dry, "customers")["outcome"] == "recovered"
    assert published(again(resource).lake, CUSTOMERS) is None
    done = run(resource, {"with_content": True})
    assert hashes(resource) == before
    found = outcome(done, "customers")
    assert before["customers"] is not None
    assert (found["outcome"], found["content"]["rows"]) == ("recovered", before["customers"].rows)
    made = {e.asset_key.path[-1] for e in done.all_events if e.is_step_materialization and e.asset_key}
    assert made == {"customers", "countries"}
    assert outcome(run(resource, {}), "customers")["outcome"] == "intact"


@pytest.mark.parametrize("landing", [False, True], ids=["landing kept", "landing lost"])
def test_a_lost_lake_comes_back_from_landing_and_export(resource: LakeResource, filled: str, landing: bool) -> None:
    before = hashes(resource)
    lose(resource, "warehouse/", "ledger/", "audit/", *(["landing/"] if landing else []))
    done = run(resource, {"lost": {"lake": {"export": filled} if landing else {}}})
    assert outcome(done, "customers")["outcome"] == "rebuilt"
    assert hashes(resource) == before


@pytest.mark.parametrize("what", ["catalog", "lake"])
def test_the_command_says_what_it_would_do_does_it_and_ends_with_1_for_what_it_cannot(
    resource: LakeResource, filled: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(resource)
    lose(resource, *(() if what == "catalog" else ("warehouse/", "ledger/", "audit/")), catalog=what == "catalog")
    monkeypatch.setattr(Environment, "contracts", lambda self: CONTRACTS)
    monkeypatch.setattr(Environment, "lake", property(lambda self: again(resource).lake))

    def command(*more: str) -> str:
        result = CliRunner().invoke(app, ["recover", what, "--environment", "test", *more])
        assert result.exit_code == 0, result.output
        return result.output

    assert "customers: would be re" in command("--dry-run")
    assert hashes_or_none(resource) is None
    assert "content: rows" in command("--hash")
    assert hashes(resource) == before
    assert "customers: intact" in command()
    lose(resource, "warehouse/customers/data/", "warehouse/customers/metadata/00000-")
    if what == "catalog":
        result = CliRunner().invoke(app, ["recover", "catalog", "--environment", "test"])
        assert result.exit_code == 1
        assert "customers: NOT recovered: NothingToRecover" in result.output
        assert "countries: intact" in result.output


def hashes_or_none(resource: LakeResource) -> dict[str, Any] | None:
    try:
        found = hashes(resource)
    except Exception:  # noqa: BLE001 - an entry leads to nothing
        return None
    return found if any(found.values()) else None
