"""What production's files say of Dagster, for this machine: its instance, its tasks' commands, what they connect to.

Nothing of it is written a second time: `dagster.yaml`, `workspace.yaml` and `pipeline.yaml` of `deploy/` are read. What
differs: PostgreSQL is reached by a socket in place of TLS, and ports and addresses are this machine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from local.home import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
DATABASE = "dagster"
IN_IMAGE = "/opt/gavel/"


class _Template(yaml.SafeLoader):
    """Reads CloudFormation without its functions: what is read here has none."""


_Template.add_multi_constructor("!", lambda loader, tag, node: None)


def configuration(database: str) -> dict[str, Any]:
    """Production's `dagster.yaml` on a database of this machine."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "dagster.yaml").read_text("utf-8"))
    return {**found, "storage": {"postgres": {"postgres_url": database}}}


def write(home: Path, database: str, code_port: int) -> Path:
    """Write DAGSTER_HOME with production's instance, and its workspace; returns the workspace's path."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(configuration(database)), "utf-8")
    workspace = yaml.safe_load((DEPLOY / "workspace.yaml").read_text("utf-8"))
    (entry,) = workspace["load_from"]
    entry["grpc_server"]["port"] = code_port
    path = home / "workspace.yaml"
    path.write_text(yaml.safe_dump(workspace), "utf-8")
    return path


def commands(ports: Mapping[str, int], workspace: Path) -> dict[str, Sequence[str]]:
    """The command of each task of `deploy/pipeline.yaml`, by its name, with ports and workspace of this machine."""
    text = (DEPLOY / "pipeline.yaml").read_text("utf-8")
    tasks = yaml.load(text, Loader=_Template)["Mappings"]["Tasks"]  # noqa: S506 - a SafeLoader
    given = {IN_IMAGE + "deploy/workspace.yaml": str(workspace), "0.0.0.0": "127.0.0.1"}  # noqa: S104 - replaced
    return {
        name: [given.get(word, str(ports[name]) if word == str(task["Port"]) else word) for word in task["Command"]]
        for name, task in tasks.items()
        if name in ports
    }
