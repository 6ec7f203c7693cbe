"""A task of production is replaced when its database does not know it any more, or Dagster does not answer."""

from __future__ import annotations

import subprocess

import psycopg
import pytest

from orchestration import alive
from tests.support.postgres import Server


@pytest.fixture(scope="module")
def variables(postgres_server: Server) -> dict[str, str]:
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE dagster")
    return {
        "DAGSTER_DB_HOST": str(postgres_server.folder),
        "DAGSTER_DB_USER": "gavel",
        "DAGSTER_DB_PASSWORD": "as it was when the task began",
    }


def test_a_task_is_alive_if_the_database_and_dagster_say_so(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "COMMANDS", {"daemon": ("true",)})
    alive.check("daemon", variables)
    monkeypatch.setattr(alive, "COMMANDS", {"daemon": ("false",)})
    with pytest.raises(subprocess.CalledProcessError):
        alive.check("daemon", variables)


def test_a_task_that_the_database_refuses_is_not_alive(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "COMMANDS", {"daemon": ("true",)})
    with pytest.raises(psycopg.OperationalError):
        alive.check("daemon", {**variables, "DAGSTER_DB_USER": "nobody-it-knows"})
