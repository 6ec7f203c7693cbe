"""The command line explains itself, starts quickly, and tells a person what to do when something is wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from local.command_line import app, mapping_options
from local.status import Model, age, model_lines

COMMANDS = ("up", "down", "demo", "dev", "simulate", "replay", "refresh", "status", "generate", "ops")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert len(result.output.split("Options")[0].split()) > 8


def test_the_overview_names_every_command() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    assert all(command in output for command in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, local.command_line\n"
        "heavy = {'boto3', 'dagster', 'duckdb', 'pyarrow', 'pandas', 'dbt', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_options_of_a_mapping_are_given_by_their_names() -> None:
    assert mapping_options(["--start-date", "2025-01-01", "--fee=2"]) == {"start_date": "2025-01-01", "fee": "2"}


@pytest.mark.parametrize("arguments", [["date"], ["--date"], ["--", "x"], ["-d", "x"]])
def test_an_option_that_is_none_is_named(arguments: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="--name value"):
        mapping_options(arguments)


NEED_A_HOME = ["up", "down", "demo", "dev", "status", "token", "refresh", "simulate", "ops redrive"]


@pytest.mark.parametrize("command", NEED_A_HOME)
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nothing", "/dev/null"])
def test_a_home_that_cannot_be_written_is_reported_in_a_sentence(command: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(app, command.split(), env={"GAVEL_HOME": str(tmp_path / place)})
    reported = result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "gavel up" in reported or "GAVEL_HOME" in reported or "not running" in reported
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EMFILE])
def test_what_the_machine_refuses_is_reported_without_a_traceback(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr("local.stack.down", refuse)
    result = CliRunner().invoke(app, ["down"], env={"GAVEL_HOME": str(tmp_path)})
    assert result.exit_code == 1
    assert os.strerror(number) in result.output


def test_status_and_down_of_a_stack_that_never_ran_say_so(tmp_path: Path) -> None:
    environment = {"GAVEL_HOME": str(tmp_path / "home")}
    status = CliRunner().invoke(app, ["status"], env=environment)
    assert status.exit_code == 0
    assert "gavel up" in status.output
    down = CliRunner().invoke(app, ["down"], env=environment)
    assert down.exit_code == 0
    assert "not running" in down.output


def test_what_needs_a_running_stack_says_how_to_start_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["refresh"], env={"GAVEL_HOME": str(tmp_path / "home")})
    assert result.exit_code == 1
    assert "gavel up" in result.output


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (-3, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 days")]
)
def test_ages_are_reported_in_the_unit_that_fits(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text


def test_the_status_says_which_reports_are_late_and_which_change_waits_longest() -> None:
    now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    hour = timedelta(hours=1)
    models = [
        Model("fct_bids", hour, now - timedelta(minutes=5), now - timedelta(minutes=30)),
        Model("rpt_old", hour, now - 3 * hour, now - 3 * hour),
        Model("rpt_none", hour, None, None),
        Model("rpt_just", hour, now - hour, None),
    ]
    assert model_lines(models, now) == [
        "Marts and reports: 2 of 4 are as fresh as their readers need them.",
        "2 lack published changes; the oldest arrived 3 h ago, for rpt_old.",
        "  late: rpt_old is true for 3 h ago; accepted are 60 min.",
        "  late: rpt_none is true for no time; accepted are 60 min.",
    ]
    assert model_lines(models[3:], now) == ["Marts and reports: 1 of 1 are as fresh as their readers need them."]
