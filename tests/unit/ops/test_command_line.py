"""Operators' commands need AWS credentials alone, and say in a sentence what is missing."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from lakehouse.storage.store import ObjectMissing
from ops.command_line import app
from ops.commands.opening import plainly
from ops.environment import Environment


def commands(group: Any, *path: str) -> Iterator[str]:
    """Every command below a group, as it is typed."""
    for name, command in group.commands.items():
        yield from commands(command, *path, name) if hasattr(command, "commands") else [" ".join((*path, name))]


COMMANDS = list(commands(typer.main.get_command(app)))


def test_every_command_is_found() -> None:
    assert {"redrive", "dead-letters redrive", "recover lake"} < set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert len(result.output.split("Options")[0].split()) > 8


def test_the_commands_work_where_the_laptop_stack_is_not_installed() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('local', 'ministack', 'dagster', 'duckdb'), None))\n"
        "from ops.command_line import app\n"
        "import ops.redrive, ops.tenants, ops.dead_letters\n"
        "app(['--help'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, ops.command_line; assert not {'boto3', 'botocore', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("environment", [{}, {"GAVEL_ENV": ""}])
def test_an_environment_must_be_named(environment: dict[str, str]) -> None:
    result = CliRunner().invoke(app, ["redrive"], env={"GAVEL_ENV": None, **environment})
    assert result.exit_code == 1
    assert "--environment NAME (local, dev, test, prod)" in result.stderr
    assert result.stdout == "", "which a program may read"


def test_an_unknown_environment_is_refused() -> None:
    result = CliRunner().invoke(app, ["tenant", "list", "--environment", "production"])
    assert result.exit_code == 2
    assert "production" in result.output


def test_missing_credentials_are_reported_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    nowhere = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    result = CliRunner().invoke(
        app,
        ["tenant", "list", "--environment", "prod"],
        env={**nowhere, "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "eu-west-1"},
    )
    assert result.exit_code == 1
    assert "NoCredentialsError" in result.output


def test_whoever_mounts_the_commands_chooses_the_way_to_an_environment() -> None:
    requested: list[str | None] = []

    class Queues:
        def get_queue_url(self, *, QueueName: str) -> dict[str, str]:
            return {"QueueUrl": QueueName}

        def get_queue_attributes(self, **_: object) -> dict[str, dict[str, str]]:
            return {"Attributes": {"ApproximateNumberOfMessages": "4"}}

    def opener(name: str | None) -> Environment:
        requested.append(name)
        return Environment("local", lambda service: Queues())

    result = CliRunner().invoke(app, ["dead-letters", "list"], obj=opener, env={"GAVEL_ENV": None})
    assert result.output.split()[:2] == ["4", "gavel-local-inbound-dead-letters"]
    assert requested == [None]


@pytest.mark.parametrize("command", ["redrive", "dead-letters redrive"])
def test_a_range_without_offset_is_refused_before_anything_is_put_back(command: str) -> None:
    def no_client(service: str) -> object:
        raise AssertionError(f"expected no request to {service}")

    result = CliRunner().invoke(
        app, [*command.split(), "--since", "2026-11-21T00:00:00"], obj=lambda name: Environment("prod", no_client)
    )
    assert result.exit_code == 1
    assert "expected a moment with offset like 2026-11-21T00:00:00Z" in " ".join(result.output.split())


def test_a_terminal_obeys_nothing_that_is_in_a_line() -> None:
    shown = io.StringIO()
    plainly(Console(file=shown, force_terminal=True))("a\x1b]0;title\x07b\r\u202ec\udcff [red]ü\ny")
    assert shown.getvalue() == "a\\x1b]0;title\\x07b\\r\\u202ec\\udcff [red]ü\ny\n"


def test_a_file_of_the_lake_that_is_not_there_is_said_without_a_traceback() -> None:
    def opener(name: str | None) -> Environment:
        raise ObjectMissing("s3://bucket/metadata.json")

    result = CliRunner().invoke(app, ["doctor"], obj=opener)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ObjectMissing s3://bucket/metadata.json" in result.stderr


def test_a_defect_of_the_program_keeps_its_traceback() -> None:
    def opener(name: str | None) -> Environment:
        raise LookupError("a")

    assert isinstance(CliRunner().invoke(app, ["doctor"], obj=opener).exception, LookupError)
