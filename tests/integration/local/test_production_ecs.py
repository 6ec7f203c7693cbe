"""The emulated ECS starts processes as tasks, says how they ended, and refuses what ECS refuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.production import ecs

DEFINITION = f"arn:aws:ecs:eu-west-1:000000000000:task-definition/{ecs.FAMILY}:1"
LONG, SHORT = "import time; print(1, flush=True); time.sleep(600)", "raise SystemExit({})"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ecs.Cluster]:
    image = ecs.Image(tmp_path, dict(os.environ))
    made = ecs.Cluster(image, tmp_path / "log", Path(sys.executable).parent)
    yield made
    while made.kill_one():
        continue


@pytest.fixture
def client(cluster: ecs.Cluster) -> Iterator[Any]:
    with ecs.serving(cluster) as port:
        yield boto3.Session().client(
            "ecs",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="eu-west-1",
            aws_access_key_id="a",
            aws_secret_access_key="a",
        )


def start(client: Any, code: str) -> str:
    override = {"name": ecs.CONTAINER, "command": [Path(sys.executable).name, "-c", code]}
    answer = client.run_task(
        cluster=ecs.CLUSTER, taskDefinition=DEFINITION, overrides={"containerOverrides": [override]}
    )
    return str(answer["tasks"][0]["taskArn"])


def ended(client: Any, cluster: ecs.Cluster, arn: str) -> tuple[str, int | None]:
    process = cluster.tasks[arn].process
    assert process is not None
    process.wait(60)
    (task,) = client.describe_tasks(cluster=ecs.CLUSTER, tasks=[arn])["tasks"]
    return task["lastStatus"], task["containers"][0].get("exitCode")


@pytest.mark.parametrize("code", [0, 3])
def test_a_task_says_how_it_ended(client: Any, cluster: ecs.Cluster, code: int) -> None:
    assert ended(client, cluster, start(client, SHORT.format(code))) == ("STOPPED", code)


def test_a_killed_task_ends_as_one_without_memory(client: Any, cluster: ecs.Cluster) -> None:
    arn = start(client, LONG)
    (task,) = client.describe_tasks(cluster=ecs.CLUSTER, tasks=[arn])["tasks"]
    assert task["lastStatus"] == "RUNNING"
    assert cluster.kill_one()
    assert ended(client, cluster, arn) == ("STOPPED", 137)
    assert not cluster.kill_one(), "none runs"


def test_a_task_may_be_stopped(client: Any, cluster: ecs.Cluster) -> None:
    arn = start(client, LONG)
    client.stop_task(cluster=ecs.CLUSTER, task=arn)
    assert ended(client, cluster, arn)[0] == "STOPPED"


def test_a_task_that_is_withheld_never_starts_and_the_next_does(client: Any, cluster: ecs.Cluster) -> None:
    cluster.stall = 1
    held = start(client, SHORT.format(0))
    (task,) = client.describe_tasks(cluster=ecs.CLUSTER, tasks=[held])["tasks"]
    assert (task["lastStatus"], cluster.tasks[held].process) == ("PENDING", None)
    assert ended(client, cluster, start(client, SHORT.format(0))) == ("STOPPED", 0)
    assert cluster.ran(cluster.image.folder) == 1


def test_what_ecs_refuses_is_refused(client: Any) -> None:
    with pytest.raises(ClientError, match="at most 8192"):
        start(client, "#" * 9000)
    with pytest.raises(ClientError, match="no ListClusters"):
        client.list_clusters()
