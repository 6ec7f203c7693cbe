"""A Trino on the laptop's emulator, the stand-in for Athena before it, and lakes that both engines write to.

Started once per session. `GAVEL_TRINO_URL` names a Trino that runs already, and `GAVEL_TRINO_AWS` the AWS endpoint that
its catalog `awsdatacatalog` reads, see README.md.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from lakehouse.storage.athena import AthenaSettings
from lakehouse.storage.lake import Lake
from local import emulator
from local.aws import CREDENTIALS
from local.home import Home
from tests.conformance.support.athena_service import AthenaService, serving
from tests.conformance.support.trino_client import TrinoClient
from tests.conformance.support.trino_server import Trino, running_trino
from tests.support.lakes import Clock

REGION = CREDENTIALS["AWS_REGION"]
LakeMaker = Callable[[], Lake]


@pytest.fixture(scope="session")
def trino(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trino]:
    """A Trino whose catalog is an emulator's Glue and S3."""
    if url := os.environ.get("GAVEL_TRINO_URL"):
        endpoint = os.environ.get("GAVEL_TRINO_AWS")
        assert endpoint, "GAVEL_TRINO_URL needs GAVEL_TRINO_AWS: the AWS endpoint that this Trino's catalog reads"
        yield Trino(url, endpoint)
        return
    folder: Path = tmp_path_factory.mktemp("conformance")
    home = Home(folder / "home")
    with home.locked():
        started = emulator.start(home)
    try:
        with running_trino(started.stack.endpoint, REGION, folder / "trino") as running:
            yield running
    finally:
        emulator.halt(home, clean=False)


@pytest.fixture(scope="session")
def credentials() -> Iterator[None]:
    """The emulator's credentials in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def query(trino: Trino) -> TrinoClient:
    """Trino itself, to look at tables without the stand-in."""
    return TrinoClient(trino.url, trino.catalog)


@pytest.fixture(scope="session")
def athena_service(trino: Trino, query: TrinoClient, credentials: None) -> Iterator[AthenaService]:
    """The stand-in for Athena."""
    s3, glue = (boto3.client(name, region_name=REGION, endpoint_url=trino.aws_endpoint) for name in ("s3", "glue"))
    service = AthenaService(query, s3, glue)
    with serving(service):
        yield service


@pytest.fixture
def athena(athena_service: AthenaService) -> Iterator[AthenaService]:
    """The stand-in for Athena, as it is without anything that another test configured."""
    athena_service.executions.clear()
    yield athena_service
    athena_service.scan_limit, athena_service.before = None, lambda sql: None
    athena_service.refusals.clear()


@pytest.fixture
def make_lake(trino: Trino, athena: AthenaService) -> LakeMaker:
    """Makes empty lakes: a bucket and databases each, and the stand-in as their Athena."""

    def make() -> Lake:
        name = f"lake{uuid.uuid4().hex[:12]}"
        lake = Lake(
            bucket=name,
            landing_database=f"landing_{name}",
            work_database=f"work_{name}",
            published_database=f"published_{name}",
            region=REGION,
            endpoint=trino.aws_endpoint,
            now=Clock(),
            athena=AthenaSettings(endpoint=athena.endpoint),
        )
        lake.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return lake

    return make


@pytest.fixture
def lake(make_lake: LakeMaker) -> Lake:
    """An empty lake with an Athena."""
    return make_lake()


@pytest.fixture
def without_athena(lake: Lake) -> Lake:
    """The same lake, where there is no Athena."""
    return replace(lake, athena=None)
