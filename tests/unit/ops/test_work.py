"""Work on one entity by hand: what a dry run says is what is done, and a refusal says why."""

from __future__ import annotations

import pytest
from pyiceberg.exceptions import CommitFailedException
from typer.testing import CliRunner

from contracts import Contracts
from lakehouse import api
from lakehouse.api import compact, publish
from lakehouse.intake.landing import Scope
from lakehouse.publish.published import content_hash, published
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from ops.command_line import app
from ops.environment import Environment
from tests.support.lakes import PARCELS, Clock, Landing, change, local_lake


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Lake:
    made = local_lake(tmp_path_factory.mktemp("lake"), Clock())
    monkeypatch.setattr(Environment, "contracts", lambda self: Contracts({"parcels": PARCELS}))
    monkeypatch.setattr(Environment, "lake", made)
    landing = Landing(made, PARCELS)
    for version in (1, 2):
        landing.land([change(f"p-{version}", version=version)])
        compact(made, PARCELS, Scope.everything())
        publish(made, PARCELS)
    return made


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments, "--environment", "test"])
    assert result.exit_code == code, result.output
    return result.output


RANGE = ("--start", "2026-11-21T00:00:00Z", "--end", "2026-11-22T00:00:00Z")


@pytest.mark.parametrize("command", [("replay", "parcels", *RANGE), ("rebuild", "parcels"), ("requeue", "parcels")])
def test_rows_stay_the_same_and_a_dry_run_counts_them_beforehand(lake: Lake, command: tuple[str, ...]) -> None:
    before = content_hash(lake, PARCELS)
    would = run(*command, "--dry-run")
    count = 0 if command[0] == "requeue" else 2
    assert f"would ingest {count} landed objects" in would
    assert f"parcels: {count} landed objects" in run(*command)
    assert content_hash(lake, PARCELS) == before


def test_readers_are_where_the_dry_run_of_a_roll_back_says(lake: Lake) -> None:
    would = run("roll-back", "parcels", "--dry-run")
    run("roll-back", "parcels")
    state = published(lake, PARCELS)
    assert state is not None
    assert f"to {state.snapshot_id} (1 rows" in would


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_what_cannot_be_done_ends_with_1_and_says_why(lake: Lake, more: tuple[str, ...]) -> None:
    assert "expected snapshot 7" in run("roll-back", "parcels", "--snapshot", "7", *more, code=1)
    assert "found 'nothing'" in run("rebuild", "nothing", *more, code=1)
    backwards = ("--start", "2026-11-22T00:00:00Z", "--end", "2026-11-21T00:00:00Z")
    assert "expected a start before its end" in run("replay", "parcels", *backwards, *more, code=1)
    lake.store.delete([s.key for s in lake.store.list("landing/")])
    assert "expected every landed object" in run("rebuild", "parcels", *more, code=1)


@pytest.mark.parametrize("conflict", [CommitFailedException("another metadata file"), EntryConflict("another version")])
@pytest.mark.parametrize("command", [("replay", "parcels", *RANGE), ("rebuild", "parcels"), ("roll-back", "parcels")])
def test_a_quicker_writer_ends_it_with_1_and_a_word_of_what_to_do(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], conflict: Exception
) -> None:
    before = content_hash(lake, PARCELS)

    def overtaken(*arguments: object, **named: object) -> None:
        raise conflict

    for name in ("compact", "rebuild", "rollback"):
        monkeypatch.setattr(api, name, overtaken, raising=False)
    said = run(*command, code=1)
    assert "was quicker" in said
    assert f"Repeat the {command[0].replace('-', ' ')}" in said
    assert content_hash(lake, PARCELS) == before


@pytest.mark.parametrize("command", [("replay", "parcels", *RANGE), ("rebuild", "parcels")])
def test_it_begins_again_where_another_writer_was_quicker(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    before, races = content_hash(lake, PARCELS), iter([CommitFailedException("one"), EntryConflict("two")])
    publish = api.publish

    def overtaken(*arguments: object, **named: object) -> object:
        for conflict in races:
            raise conflict
        return publish(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "publish", overtaken, raising=False)
    said = run(*command)
    assert said.count("another writer was quicker, beginning again") == 2
    assert content_hash(lake, PARCELS) == before
