"""The Dagster instance of production: it loads, its logs go to the data bucket, and it locks as a laptop's does."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import dagster as dg
import pytest
import yaml
from dagster_aws.s3 import S3ComputeLogManager
from moto import mock_aws

from local.dagster.prepare import INSTANCE_TEMPLATE
from local.home import REPOSITORY

PRODUCTION = REPOSITORY / "orchestration" / "dagster.yaml"
STORED_ELSEWHERE = {"compute_logs"}
LAPTOP_ONLY = {"event_log_storage", "run_storage", "run_launcher", "nux", "run_queue"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], dg.DagsterInstance]]:
    """Gives the instance of a machine with this name; all of them share the bucket and no disk."""
    monkeypatch.setenv("GAVEL_BUCKET", "gavel-prod-data")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws(), ExitStack() as stack:
        boto3.client("s3").create_bucket(
            Bucket="gavel-prod-data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

        def started(name: str) -> dg.DagsterInstance:
            home = tmp_path / name
            home.mkdir()
            (home / "dagster.yaml").write_text(PRODUCTION.read_text("utf-8"), "utf-8")
            monkeypatch.setenv("DAGSTER_HOME", str(home))
            return stack.enter_context(dg.DagsterInstance.from_config(str(home)))

        yield started


def test_what_a_run_prints_is_read_on_another_machine(machine: Callable[[str], dg.DagsterInstance]) -> None:
    key = ["a-run", "compute_logs", "a-step"]
    with machine("one").compute_log_manager.capture_logs(key):
        print("3 rows", flush=True)
    found = boto3.client("s3").list_objects_v2(Bucket="gavel-prod-data", Prefix="dagster-logs/")["Contents"]
    assert f"dagster-logs/storage/{'/'.join(key)}.out" in {stored["Key"] for stored in found}
    other = machine("other").compute_log_manager
    assert isinstance(other, S3ComputeLogManager)
    assert other.is_capture_complete(key)
    assert other.get_log_data(key).stdout == b"3 rows\n"


def test_pools_and_retries_are_those_of_a_laptop(machine: Callable[[str], dg.DagsterInstance]) -> None:
    laptop, production = (yaml.safe_load(file.read_text("utf-8")) for file in (INSTANCE_TEMPLATE, PRODUCTION))
    assert set(laptop) - set(production) == LAPTOP_ONLY
    assert set(production) - set(laptop) == STORED_ELSEWHERE
    assert {name: production[name] for name in set(production) & set(laptop)} == {
        name: laptop[name] for name in set(production) & set(laptop)
    }
    pools = machine("one").get_concurrency_config().pool_config
    assert (pools.default_pool_limit, pools.pool_granularity and pools.pool_granularity.value) == (1, "op")
