"""What is kept by contract, and when it goes: transition, legal period, legal holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.model import Transition
from lakehouse.api import rebuild
from lakehouse.erasure import requests
from lakehouse.erasure.retention import RetentionResult, keep_to_contract
from lakehouse.intake.ledger import Ledger
from lakehouse.publish.audit import audit_table
from lakehouse.publish.published import published
from lakehouse.results import RebuildFailed
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import LocalStore
from lakehouse.table.tables import TableState
from tests.support.lakes import NOON, Clock, Landing, published_changes, published_rows
from tests.support.persons import PERSONS, SALES, ingest, lake_of_persons, person

OLD = NOON - timedelta(days=400)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Persons of long ago and of today; the retention of the contract is a year."""
    lake = lake_of_persons(tmp_path, Clock())
    long_ago = {"_changed_at": OLD.strftime("%Y-%m-%dT%H:%M:%SZ")}
    landing = Landing(lake, PERSONS)
    landing.land([person(who, version=1, **long_ago) for who in ("p-1", "p-2", "p-3")], hour=OLD)
    landing.land([person("p-2", version=2, op="remove", **long_ago), person("p-3", version=2)])
    landing.land([person("p-4", version=3, op="remove")])
    ingest(lake)
    return lake


def landed(lake: Lake) -> list[str]:
    return [s.key for s in lake.store.list("landing/persons/")]


def test_after_the_legal_period_objects_changes_and_dead_rows_go(lake: Lake) -> None:
    assert keep_to_contract(lake, PERSONS) == RetentionResult("persons", deleted=1, rows=1, changes=4)
    assert [r["person_id"] for r in published_rows(lake, PERSONS)] == ["p-1", "p-3", "p-4"]
    assert [r["person_id"] for r in published_changes(lake, PERSONS)] == ["p-3", "p-4"]
    assert len(landed(lake)) == 2
    assert audit_table(lake, PERSONS).passed
    assert keep_to_contract(lake, PERSONS) == RetentionResult("persons")
    with pytest.raises(RebuildFailed, match="are gone"):
        rebuild(lake, PERSONS)
    Landing(lake, PERSONS, 9).land([person("p-1", version=9)])
    assert ingest(lake)[0].counts.applied == 1


def test_a_hold_of_an_entity_stops_everything(lake: Lake) -> None:
    before = landed(lake)
    assert keep_to_contract(lake, replace(PERSONS, legal_hold=True)) == RetentionResult("persons", on_hold=True)
    assert landed(lake) == before


def test_a_hold_of_a_person_keeps_rows_and_objects(lake: Lake) -> None:
    requests.hold(lake, "p-2", "a case before the court")
    assert keep_to_contract(lake, PERSONS) == RetentionResult("persons", changes=2, on_hold=True)
    assert {r["person_id"] for r in published_changes(lake, PERSONS)} == {"p-2", "p-3", "p-4"}
    assert len(landed(lake)) == 3
    assert requests.lift(lake, "p-2")
    assert keep_to_contract(lake, PERSONS) == RetentionResult("persons", deleted=1, rows=1, changes=2)


def test_what_changes_its_storage_class_is_no_news(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []

    def transition(store: LocalStore, key: str, storage_class: str) -> str:
        moved.append(storage_class)
        return "an-etag-of-the-copy"

    monkeypatch.setattr(LocalStore, "transition", transition)
    kept = replace(PERSONS, retention_days=3650, transition=Transition(30, "GLACIER_IR"))
    assert keep_to_contract(lake, kept) == RetentionResult("persons", transitioned=1)
    assert moved == ["GLACIER_IR"]
    state = published(lake, PERSONS)
    assert state is not None
    ledger = Ledger.load(lake, TableState(lake, state.metadata_location).ledger)
    etags = [e.etag for e in ledger.every()]
    assert etags.count("an-etag-of-the-copy") == 1


def test_an_entity_without_a_batch_has_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="run its first batch"):
        keep_to_contract(lake_of_persons(tmp_path), SALES)
