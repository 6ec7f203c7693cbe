"""The archive from the command line: questions and their parameters, an answer in a file, the log of questions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from lakehouse.storage.lake import Lake
from ops.command_line import app
from ops.environment import Environment
from tests.support.lakes import local_lake


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    lake = local_lake(tmp_path / "lake")
    caller: Any = SimpleNamespace(get_caller_identity=lambda: {"Arn": "arn:aws:iam::1:user/ann"})
    monkeypatch.setattr(Environment, "lake", lake)
    monkeypatch.setattr(Environment, "of_credentials", lambda name: Environment(name, lambda service: caller))
    return lake


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["archive", *arguments, "--environment", "test"])
    assert result.exit_code == code, result.output
    return result.output


def test_the_questions_and_their_parameters_are_listed() -> None:
    said = run("list")
    assert "order_as_of: An order as it was (for auditor, staff)" in said
    assert "--set order_id=…  the order" in said


def test_an_answer_is_a_page_or_rows_and_the_log_finds_the_party(lake: Lake, tmp_path: Path) -> None:
    page, rows = tmp_path / "answer.html", tmp_path / "answer.json"
    assert "Party: 0 rows" in run("ask", "party_history", "--set", "party=c-1", "--to", str(page))
    assert "No party with this identity is known." in page.read_text("utf-8")
    run("ask", "changes_of_an_item", "--set", "entity=lots", "--set", "key=l=1", "--to", str(rows), "--personal")
    assert json.loads(rows.read_bytes()) == {"Lots": []}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = run("log", "--day", today).splitlines()
    assert ["arn:aws:iam::1:user/ann" in line for line in lines] == [True, True]
    assert lines[1].endswith("changes_of_an_item(key_1=l=1, entity=lots)  0 rows, personal")
    (about,) = run("log", "--day", today, "--party", "c-1").splitlines()
    assert "party_history(party=person-" in about
    assert run("log", "--day", today, "--party", "c-2") == ""


def test_a_question_that_cannot_be_put_is_refused_in_a_sentence(lake: Lake, tmp_path: Path) -> None:
    said = run("ask", "order_as_of", "--set", "order_id=o-1", "--to", str(tmp_path / "x.html"), code=1)
    assert "at: missing" in said
    page, right = str(tmp_path / "x.html"), ("--set", "order_id=o-1", "--set", "at=2026-01-01T00:00:00Z")
    for wrong in (("--set", "order_id"), ("--set", "order_id=a", "--set", "order_id=b")):
        assert "expected each parameter once" in run("ask", "order_as_of", *wrong, "--to", page, code=1)
    assert "expected a file that can be written" in run("ask", "order_as_of", *right, "--to", str(tmp_path), code=1)
    assert "nothing was published yet" in run("ask", "order_as_of", *right, "--to", page)
