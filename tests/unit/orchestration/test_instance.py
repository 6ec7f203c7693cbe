"""The Dagster instance of production: it loads on a real PostgreSQL, its logs go to the data bucket, it locks as a
laptop's does, and its runs are tasks of ECS."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import boto3
import dagster as dg
import pytest
import yaml
from dagster_aws.ecs import EcsRunLauncher, launcher
from dagster_aws.ecs.tasks import CurrentEcsTaskMetadata
from dagster_aws.s3 import S3ComputeLogManager
from dagster_postgres.utils import pg_url_from_config
from moto import mock_aws
from moto.ecs.models import ecs_backends

from local.dagster.prepare import INSTANCE_TEMPLATE
from local.home import REPOSITORY
from orchestration import run_launcher
from orchestration.private_dagster import CheckRunHealthResult
from tests.support.launching import heard, lines
from tests.support.postgres import Server
from tests.support.private_dagster import (
    DagsterDaemonScheduler,
    GrpcServerCodeLocationOrigin,
    JobPythonOrigin,
    LaunchRunContext,
    ModuleCodePointer,
    RepositoryPythonOrigin,
    WorkerStatus,
    location_origins_from_yaml_paths,
)

PRODUCTION = REPOSITORY / "deploy" / "dagster.yaml"
FAMILY, BUCKET = "gavel-prod-run", "gavel-prod-data-123456789012"
LOGS, STREAM = "/gavel/prod/dagster-run", "dagster"
CALLS = REPOSITORY / "tests" / "unit" / "deploy" / "recorded_calls.yaml"
STORED_ELSEWHERE = {"compute_logs", "storage"}
LAPTOP_ONLY = {"code_servers", "event_log_storage", "run_storage", "nux", "run_coordinator"}
OF_ITS_OWN = {"run_launcher", "run_monitoring"}


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: Server
) -> Iterator[Callable[[str], dg.DagsterInstance]]:
    """Gives the instance of a machine with this name; all of them share bucket and database, and no disk."""
    url = postgres_server.new_database()
    monkeypatch.setenv("DAGSTER_RUN_TASK", FAMILY)
    monkeypatch.setenv("GAVEL_BUCKET", BUCKET)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws(), ExitStack() as stack:
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

        def started(name: str) -> dg.DagsterInstance:
            home = tmp_path / name
            home.mkdir()
            configured = yaml.safe_load(PRODUCTION.read_text("utf-8"))
            configured["storage"]["postgres"] = {"postgres_url": url}  # a socket, in place of TLS to RDS
            (home / "dagster.yaml").write_text(yaml.safe_dump(configured), "utf-8")
            monkeypatch.setenv("DAGSTER_HOME", str(home))
            return stack.enter_context(dg.DagsterInstance.from_config(str(home)))

        yield started


def test_what_a_run_prints_is_read_on_another_machine(machine: Callable[[str], dg.DagsterInstance]) -> None:
    key = ["a-run", "compute_logs", "a-step"]
    with machine("one").compute_log_manager.capture_logs(key):
        print("3 rows", flush=True)
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="dagster-logs/")["Contents"]
    assert f"dagster-logs/storage/{'/'.join(key)}.out" in {stored["Key"] for stored in found}
    other = machine("other").compute_log_manager
    assert isinstance(other, S3ComputeLogManager)
    assert other.is_capture_complete(key)
    assert other.get_log_data(key).stdout == b"3 rows\n"


def test_pools_and_retries_are_those_of_a_laptop(machine: Callable[[str], dg.DagsterInstance]) -> None:
    laptop, production = (yaml.safe_load(file.read_text("utf-8")) for file in (INSTANCE_TEMPLATE, PRODUCTION))
    assert set(laptop) - set(production) == LAPTOP_ONLY
    assert set(production) - set(laptop) == STORED_ELSEWHERE
    assert {name: production[name] for name in (set(production) & set(laptop)) - OF_ITS_OWN} == {
        name: laptop[name] for name in (set(production) & set(laptop)) - OF_ITS_OWN
    }
    assert production["run_monitoring"] == {**laptop["run_monitoring"], "start_timeout_seconds": 300}
    instance = machine("one")
    assert isinstance(instance.scheduler, DagsterDaemonScheduler)
    assert instance.scheduler.max_tick_retries == 30, "a tick of the night is not lost to a database that restarts"
    pools = instance.get_concurrency_config().pool_config
    assert (pools.default_pool_limit, pools.pool_granularity and pools.pool_granularity.value) == (1, "op")


def test_the_address_of_the_database_comes_from_the_task_and_is_encrypted() -> None:
    storage = yaml.safe_load(PRODUCTION.read_text("utf-8"))["storage"]["postgres"]["postgres_db"]
    variables = {"DAGSTER_DB_USER": "dagster", "DAGSTER_DB_PASSWORD": "a/b c", "DAGSTER_DB_HOST": "db.internal"}
    given = {k: variables[v["env"]] if isinstance(v, dict) and "env" in v else v for k, v in storage.items()}
    url = pg_url_from_config({"postgres_db": given})
    assert url == "postgresql://dagster:a/b%20c@db.internal:5432/dagster?sslmode=require"


@pytest.fixture
def daemon(machine: Callable[[str], dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """The instance as the daemon has it: in a task of its own, beside the definition that runs are started from."""
    ecs, ec2 = boto3.client("ecs"), boto3.client("ec2")
    ecs.create_cluster(clusterName="gavel-prod")
    options = {"awslogs-group": LOGS, "awslogs-region": "eu-west-1", "awslogs-stream-prefix": STREAM}
    logging = {"logDriver": "awslogs", "options": options}
    for family, container in ((FAMILY, "run"), ("gavel-prod-daemon", "daemon")):
        ecs.register_task_definition(
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="512",
            memory="1024",
            containerDefinitions=[{"name": container, "image": "gavel", "memory": 512, "logConfiguration": logging}],
        )
    network = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=network, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.40.10.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=network)["GroupId"]
    placed = {"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": [group], "assignPublicIp": "DISABLED"}}
    task = ecs.run_task(
        cluster="gavel-prod", taskDefinition="gavel-prod-daemon", launchType="FARGATE", networkConfiguration=placed
    )["tasks"][0]
    here = CurrentEcsTaskMetadata(cluster="gavel-prod", task_arn=task["taskArn"])
    monkeypatch.setattr(launcher, "get_current_ecs_task_metadata", lambda: here)  # the machine would say it
    return machine("daemon")


@dg.job
def compaction() -> None: ...


def launched(
    daemon: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.NOT_STARTED
) -> dg.DagsterRun:
    """A run that is a task."""
    pointer = ModuleCodePointer("orchestration.definitions", "defs", None)
    repository = RepositoryPythonOrigin("python", pointer, None, ("dagster",), {})
    origin = JobPythonOrigin("compaction", repository)
    run = daemon.create_run_for_job(compaction, job_code_origin=origin, status=status)
    daemon.run_launcher.launch_run(LaunchRunContext(run, None))
    started = daemon.get_run_by_id(run.run_id)
    assert started is not None
    return started


def test_a_run_whose_task_ended_without_a_word_has_failed(daemon: dg.DagsterInstance) -> None:
    """A run worker ends with exit code 0, too, when the database does not answer while it writes how the run ended."""
    run = launched(daemon)
    assert daemon.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    boto3.client("ecs").stop_task(cluster="gavel-prod", task=run.tags["ecs/task_arn"])
    assert EcsRunLauncher.check_run_worker_health(daemon.run_launcher, run).status == WorkerStatus.SUCCESS
    found = daemon.run_launcher.check_run_worker_health(run)
    assert found.status == WorkerStatus.FAILED
    assert "without writing down" in str(found.msg)


def test_a_run_is_a_task_of_the_stacks_family_in_the_daemons_network(daemon: dg.DagsterInstance) -> None:
    started = run = launched(daemon)
    ecs = boto3.client("ecs")
    (task,) = ecs.describe_tasks(cluster="gavel-prod", tasks=[started.tags["ecs/task_arn"]])["tasks"]
    assert f"task-definition/{FAMILY}:1" in task["taskDefinitionArn"]
    (override,) = task["overrides"]["containerOverrides"]
    assert (override["name"], override["command"][:3]) == ("run", ["dagster", "api", "execute_run"])
    assert run.run_id in override["command"][3]
    (own,) = (t for t in ecs.list_tasks(cluster="gavel-prod")["taskArns"] if t != task["taskArn"])
    (before,) = ecs.describe_tasks(cluster="gavel-prod", tasks=[own])["tasks"]

    def subnets(one: Any) -> set[str]:
        return {d["value"] for a in one["attachments"] for d in a["details"] if d["name"] == "subnetId"}

    assert subnets(task) == subnets(before) != set()
    assert daemon.run_launcher.check_run_worker_health(started).status == WorkerStatus.RUNNING
    assert daemon.run_launcher.terminate(run.run_id)
    (task,) = ecs.describe_tasks(cluster="gavel-prod", tasks=[task["taskArn"]])["tasks"]
    assert task["lastStatus"] == "STOPPED"


def ends(run: dg.DagsterRun, code: int, text: str) -> None:
    """Let the task of a run end so, after it has printed a text."""
    cluster, task = str(run.tags["ecs/cluster"]), str(run.tags["ecs/task_arn"])
    logs, place = (
        boto3.client("logs"),
        {"logGroupName": LOGS, "logStreamName": f"{STREAM}/run/{task.rpartition('/')[2]}"},
    )
    logs.create_log_group(logGroupName=LOGS)
    logs.create_log_stream(**place)
    logs.put_log_events(**place, logEvents=[{"timestamp": int(time.time() * 1000), "message": text}])
    boto3.client("ecs").stop_task(cluster=cluster, task=task)
    ecs_backends["123456789012"]["eu-west-1"].tasks["gavel-prod"][task].containers[0].exitCode = code


def test_a_run_whose_task_ended_before_it_began_has_failed(daemon: dg.DagsterInstance) -> None:
    """Dagster's own monitoring looks at no task of a run that has not begun."""
    starting = dg.DagsterRunStatus.STARTING
    lost, living, begun = (launched(daemon, s) for s in (starting, starting, dg.DagsterRunStatus.STARTED))
    tasks = daemon.run_launcher
    assert isinstance(tasks, run_launcher.TaskRunLauncher)
    assert run_launcher.end_lost_starts(daemon, tasks) == []
    ends(lost, 137, "no memory is left")
    boto3.client("ecs").stop_task(cluster="gavel-prod", task=begun.tags["ecs/task_arn"])
    assert run_launcher.end_lost_starts(daemon, tasks) == [lost.run_id]
    assert run_launcher.end_lost_starts(daemon, tasks) == []
    states = [run and run.status for run in map(daemon.get_run_by_id, (lost.run_id, living.run_id, begun.run_id))]
    assert states == [dg.DagsterRunStatus.FAILURE, starting, dg.DagsterRunStatus.STARTED]
    (failure,) = daemon.all_logs(lost.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "before the run began" in failure.message
    assert "no memory is left" in failure.message


def test_a_run_that_began_while_its_task_was_looked_at_is_left_alone(
    daemon: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = launched(daemon, dg.DagsterRunStatus.STARTING)
    tasks = daemon.run_launcher
    assert isinstance(tasks, run_launcher.TaskRunLauncher)

    def ended_meanwhile(looked_at: dg.DagsterRun) -> CheckRunHealthResult:
        daemon.report_run_canceled(looked_at)
        return CheckRunHealthResult(WorkerStatus.FAILED, "")

    monkeypatch.setattr(tasks, "check_run_worker_health", ended_meanwhile)
    assert run_launcher.end_lost_starts(daemon, tasks) == []
    after = daemon.get_run_by_id(run.run_id)
    assert after is not None
    assert after.status is dg.DagsterRunStatus.CANCELED


def test_a_task_that_cannot_be_looked_at_holds_up_no_other(
    daemon: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [launched(daemon, dg.DagsterRunStatus.STARTING) for _ in range(3)]
    tasks = daemon.run_launcher
    assert isinstance(tasks, run_launcher.TaskRunLauncher)

    def look(run: dg.DagsterRun) -> CheckRunHealthResult:
        if run.run_id == runs[1].run_id:
            raise ConnectionError("throttled")
        return CheckRunHealthResult(WorkerStatus.FAILED, "")

    monkeypatch.setattr(tasks, "check_run_worker_health", look)
    assert set(run_launcher.end_lost_starts(daemon, tasks)) == {runs[0].run_id, runs[2].run_id}


def test_the_daemon_looks_again_and_again_whatever_a_look_meets(
    daemon: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first run on, until the instance is given back; what never launches a run looks at nothing."""
    looks: list[object] = []
    enough = Event()

    def look(instance: dg.DagsterInstance, launcher: object) -> None:
        looks.append(launcher)
        if len(looks) == 3:
            enough.set()
        raise ConnectionError("the database does not answer")

    monkeypatch.setattr(run_launcher, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(run_launcher, "end_lost_starts", look)
    before = {thread.name for thread in enumerate_threads()}
    launched(daemon)
    launched(daemon)
    assert enough.wait(60)
    (looking,) = (thread for thread in enumerate_threads() if thread.name not in before and "begin" in thread.name)
    daemon.run_launcher.dispose()
    looking.join(60)
    assert not looking.is_alive()


def test_what_daemon_and_web_server_ask_of_aws_is_recorded(
    machine: Callable[[str], dg.DagsterInstance], daemon: dg.DagsterInstance
) -> None:
    """What their roles may do is compared with that record, in `tests/unit/deploy/test_recorded_rights.py`."""
    with heard() as of_daemon:
        failed, running = launched(daemon), launched(daemon)
        assert daemon.run_launcher.check_run_worker_health(running).status == WorkerStatus.RUNNING
    ends(failed, 137, "no memory is left")
    with heard() as of_its_look:
        found = daemon.run_launcher.check_run_worker_health(failed)
        assert found.status == WorkerStatus.FAILED
        assert "no memory is left" in str(found.msg)
    key = [running.run_id, "compute_logs", "a-step"]
    with daemon.compute_log_manager.capture_logs(key):
        print("3 rows", flush=True)
    with heard() as of_web:
        web = machine("web")
        assert web.run_coordinator.cancel_run(running.run_id)
        manager = web.compute_log_manager
        assert manager.get_log_data(key).stdout == b"3 rows\n"
        assert manager.get_log_metadata(key).stdout_download_url
    calls = {
        role: sorted({line for operation in operations for line in lines(*operation)})
        for role, operations in (("DaemonRole", of_daemon + of_its_look), ("WebRole", of_web))
    }
    recorded = yaml.safe_load(CALLS.read_text("utf-8"))["calls"]
    assert calls == {role: recorded[role] for role in calls}, (
        f"if this is what they are to do, it goes into {CALLS.name}:\n{yaml.safe_dump(calls, width=1000)}"
    )


def test_web_server_and_daemon_find_the_code_server_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_CODE_HOST", "code.gavel-prod.internal")
    (origin,) = location_origins_from_yaml_paths([str(PRODUCTION.with_name("workspace.yaml"))])
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    assert (origin.host, origin.port, origin.location_name) == ("code.gavel-prod.internal", 4000, "gavel")
