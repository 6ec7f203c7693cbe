"""The plan of schemas says what the contracts would change on the tables that are there, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import contracts
from contracts import Contract, Contracts, Field
from contracts.types import DecimalType, StringType
from lakehouse.batch.compaction import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.storage.lake import Lake
from ops.command_line import app
from ops.environment import Environment
from tests.support.lakes import PARCELS, Landing, change, local_lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = local_lake(tmp_path)
    Landing(made, PARCELS, count=1).land([change(version=1)])
    compact(made, PARCELS, Scope.everything())
    publish(made, PARCELS)
    return made


def planned(lake: Lake, monkeypatch: pytest.MonkeyPatch, *written: Contract) -> tuple[int, str]:
    where = Environment("local", lambda service: None)
    where.__dict__["lake"] = lake
    monkeypatch.setattr(contracts, "load_contracts", lambda: Contracts({c.name: c for c in written}))
    done = CliRunner().invoke(app, ["plan", "schemas"], obj=lambda name: where)
    return done.exit_code, done.output


def test_what_is_as_written_is_no_change(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(lake, monkeypatch, PARCELS) == (0, "as they are: 1 of 1 entities\n")


def test_a_new_column_a_wider_one_and_a_new_entity_are_said(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    price = next(f for f in PARCELS.fields if f.name == "price")
    fields = [replace(price, type=DecimalType(20, 2)) if f is price else f for f in PARCELS.fields]
    wider = replace(PARCELS, version="1.1.0", fields=(*fields, Field("colour", 90, StringType())))
    code, said = planned(lake, monkeypatch, wider, replace(PARCELS, name="letters"))
    assert code == 3
    assert said.splitlines() == [
        "letters: new tables",
        "parcels: added    colour string",
        "parcels: widened  price decimal(14, 2) becomes decimal(20, 2)",
        "as they are: 0 of 2 entities",
    ]
    assert planned(lake, monkeypatch, PARCELS)[0] == 0, "nothing was changed"


def test_what_cannot_follow_the_stored_rows_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    without = replace(PARCELS, version="2.0.0", fields=tuple(f for f in PARCELS.fields if f.name != "price"))
    code, said = planned(lake, monkeypatch, without)
    assert code == 1
    assert "REFUSED  parcels: version 2.0.0 cannot follow 1.0.0" in said
    assert "price: dropped" in said
