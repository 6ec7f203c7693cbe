"""What runs here is what the files of production say, but for addresses."""

from __future__ import annotations

from pathlib import Path

import yaml

from local.production.instance import DEPLOY, commands, configuration, write

PORTS = {"web": 3111, "code": 4111, "daemon": 0}


def test_only_the_databases_address_differs_from_production() -> None:
    production = yaml.safe_load((DEPLOY / "dagster.yaml").read_text("utf-8"))
    here = configuration("postgresql://gavel@/dagster?host=/tmp/x")
    assert here.pop("storage") == {"postgres": {"postgres_url": "postgresql://gavel@/dagster?host=/tmp/x"}}
    assert set(production.pop("storage")) == {"postgres"}
    assert here == production
    assert here["run_launcher"]["class"] == "TaskRunLauncher"
    assert here["telemetry"] == {"enabled": False}
    assert here["run_monitoring"]["start_timeout_seconds"] == 300


def test_tasks_have_the_commands_of_the_template() -> None:
    found = commands(PORTS, Path("/home/workspace.yaml"))
    assert found == {
        "web": ["dagster-webserver", "--host", "127.0.0.1", "--port", "3111", "--workspace", "/home/workspace.yaml"],
        "daemon": ["dagster-daemon", "run", "--workspace", "/home/workspace.yaml"],
        "code": ["dagster", "api", "grpc", "--host", "127.0.0.1", "--port", "4111", "--module-name",
                 "orchestration.definitions"],
    }  # fmt: skip


def test_the_code_server_is_one_process() -> None:
    """`dagster code-server` is two: when the one that has the code dies, the other says for ever that all is well."""
    assert "code-server" not in commands(PORTS, Path("w"))["code"]


def test_the_workspace_names_this_machines_port(tmp_path: Path) -> None:
    workspace = write(tmp_path, "postgresql://x", 4111)
    (entry,) = yaml.safe_load(workspace.read_text("utf-8"))["load_from"]
    assert entry["grpc_server"] == {"host": {"env": "DAGSTER_CODE_HOST"}, "port": 4111, "location_name": "gavel"}
    assert yaml.safe_load((tmp_path / "dagster.yaml").read_text("utf-8")) == configuration("postgresql://x")
