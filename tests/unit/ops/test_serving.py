"""Served tables from the command line: a dry run writes nothing, a difference ends with 1, a repair puts it right."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts import Contracts
from lakehouse.api import compact, publish
from lakehouse.intake.landing import Scope
from ops.command_line import app
from ops.environment import Environment
from tests.support.lakes import PARCELS, Landing, change, local_lake
from tests.support.postgres import Server, rows
from tests.support.postgres import run as execute


@pytest.fixture
def url(tmp_path: Path, postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty database that shall follow a lake with two parcels."""
    lake = local_lake(tmp_path / "lake")
    Landing(lake, PARCELS).land([change("p-1", version=1), change("p-2", version=1)])
    compact(lake, PARCELS, Scope.everything())
    publish(lake, PARCELS)
    wanted = tmp_path / "serving.yaml"
    wanted.write_text("schema: shop\ntables:\n  parcels:\n")
    url = postgres_server.new_database()
    monkeypatch.setattr(Environment, "lake", lake)
    monkeypatch.setattr(Environment, "contracts", lambda self: Contracts({"parcels": PARCELS}))
    monkeypatch.setenv("GAVEL_SERVING", str(wanted))
    monkeypatch.setenv("GAVEL_SERVING_URL", url)
    return url


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["serve", *arguments, "--environment", "test"])
    assert result.exit_code == code, result.output
    return result.output


def prices(url: str) -> list[str]:
    return [str(row["price"]) for row in rows(url, "SELECT price FROM shop.parcels ORDER BY parcel_id")]


def test_a_table_is_brought_compared_and_repaired(url: str) -> None:
    run("--dry-run")
    assert rows(url, "SELECT 1 FROM information_schema.tables WHERE table_schema = 'shop'") == []
    run()
    run("--check")
    assert prices(url) == ["10.50", "10.50"]
    execute(url, "UPDATE shop.parcels SET price = 7 WHERE parcel_id = 'p-2'")
    said = run("--check", code=1)
    assert "unequal" in said
    assert "p-2" in said
    assert prices(url) == ["10.50", "7.00"], "a comparison writes nothing"
    run("--repair")
    assert prices(url) == ["10.50", "10.50"]
    run("parcels", "--check")


def test_what_is_missing_or_unknown_is_said(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "expected entities that" in run("orders", code=1)
    assert "expected one of --check" in run("--check", "--repair", code=2)
    monkeypatch.delenv("GAVEL_SERVING_URL")
    assert "expected the variables GAVEL_SERVING" in run(code=1)
