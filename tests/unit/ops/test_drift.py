"""What the command `drift` answers of what it could not read: that an earlier look could is no answer of now."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lakehouse.drift.findings import NIGHTLY, Report, Unread, key_of, written
from ops.command_line import app
from ops.drift import looking
from ops.environment import Environment
from tests.support.lakes import local_lake

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DENIED = Unread("tables", "gavel_test", "ClientError: AccessDenied")
UNKNOWN = Unread("definitions", "switches", "OSError: timed out")


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    found = Environment("test", dict[str, Any]().__getitem__)
    monkeypatch.setitem(found.__dict__, "lake", local_lake(tmp_path / "lake"))
    return found


def drift(where: Environment, *options: str) -> Result:
    return CliRunner().invoke(app, ["drift", *options, "--environment", "test"], obj=lambda name: where)


def test_what_cannot_be_read_now_is_said_though_the_nightly_run_could(
    where: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Report(NOON, ("tables",), (), (DENIED,))
    nightly = Report(NOON - timedelta(days=9), ("tables", "definitions"), (), (UNKNOWN,))
    where.lake.store.write(key_of(NIGHTLY), written(nightly))
    monkeypatch.setattr(looking, "look", lambda where: now)
    shown = drift(where)
    assert shown.exit_code == 3, shown.output
    assert "Not read: 2." in shown.output
    listed = json.loads(drift(where, "--json").stdout)["unread"]
    assert {one["unit"] for one in listed} == {DENIED.unit, UNKNOWN.unit}
    monkeypatch.setattr(looking, "look", lambda where: replace(now, unread=()))
    assert "Not read: 1." in drift(where).output


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"at": "yesterday", "parts": []}'])
def test_an_object_that_is_no_report_is_said_with_its_key(
    where: Environment, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(looking, "look", lambda where: Report(NOON, ("tables",)))
    where.lake.store.write(key_of(NIGHTLY), content)
    shown = drift(where)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "drift/nightly.json" in shown.stderr
    assert "remove it" in shown.stderr
