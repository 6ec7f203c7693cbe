"""An erasure on the laptop stack's S3, Glue and Secrets Manager, in a bucket that keeps versions."""

from __future__ import annotations

import zlib

import orjson
import pytest

from lakehouse.erasure import proof
from lakehouse.erasure.contents import holds
from lakehouse.erasure.needles import Needles
from lakehouse.storage.lake import Lake
from tests.support.lakes import Clock, Landing
from tests.support.laptop import Laptop
from tests.support.persons import PERSONS, SALES, erase, everything, ingest, person, sale

pytestmark = pytest.mark.stack


def test_a_person_is_erased_in_a_bucket_with_versions(
    laptop: Laptop, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in laptop.environment.items():
        monkeypatch.setenv(name, value)
    name = f"erasure{zlib.crc32(request.node.name.encode())}"
    region, endpoint = laptop.environment["AWS_REGION"], laptop.environment["AWS_ENDPOINT_URL"]
    clock = Clock()
    lake = Lake(
        bucket=name,
        landing_database=f"landing_{name}",
        work_database=f"work_{name}",
        published_database=f"published_{name}",
        region=region,
        endpoint=endpoint,
        now=clock,
    )
    s3 = lake.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    Landing(lake, PERSONS).land([person("p-1", version=1), person("p-2", version=1)])
    Landing(lake, SALES).land([sale("s-1", "p-1", "p-2", version=1), sale("s-2", "p-2", "p-3", version=1)])
    ingest(lake)

    made, finished = erase(lake, "p-1", clock)

    assert made.status == "done"
    assert finished.versions > 0
    for key, content in everything(lake).items():
        assert not holds(content, Needles("p-1", {"p-1@mail.example": 0})), key
    assert proof.verify(lake, orjson.loads(lake.store.read(finished.proof)))
    assert [r.objects for r in ingest(lake)] == [0, 0]
