"""What an erasure asks of AWS: versions of a bucket, a secret, a key of KMS that signs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from moto import mock_aws

from lakehouse.erasure import proof
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectMissing


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        lake = Lake.of_environment("unit", "data", "eu-west-1")
        s3 = lake.client("s3")
        s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
        yield lake


def test_every_version_is_listed_read_and_deleted_for_good(lake: Lake) -> None:
    store = lake.store
    store.write("a/one", b"first")
    store.write("a/one", b"second")
    store.write("a/two", b"gone")
    store.delete(["a/two"])
    found = list(store.versions("a/"))
    assert [(v.key, v.latest, v.marker) for v in found if v.latest] == [("a/one", True, False), ("a/two", True, True)]
    assert {store.read_version(v.key, v.version) for v in found if not v.marker} == {b"first", b"second", b"gone"}
    earlier = [v for v in found if not v.latest]
    store.delete_versions(earlier)
    store.delete_versions(earlier)
    assert [v.key for v in store.versions("a/") if not v.marker] == ["a/one"]
    assert store.read("a/one") == b"second"
    with pytest.raises(ObjectMissing):
        store.read_version("a/one", earlier[0].version)


def test_an_object_keeps_its_key_in_another_storage_class_and_is_moved_once(lake: Lake) -> None:
    lake.store.write("landing/x", b"content")
    assert lake.store.transition("landing/x", "GLACIER_IR") is not None
    assert lake.store.transition("landing/x", "GLACIER_IR") is None
    assert lake.store.read("landing/x") == b"content"


def test_the_secret_is_made_once_for_an_environment(lake: Lake) -> None:
    assert len(lake.erasure_secret) == 32
    assert replace(lake).erasure_secret == lake.erasure_secret
    assert Lake.of_environment("other", "data", "eu-west-1").erasure_secret != lake.erasure_secret


def test_a_key_of_kms_signs_and_no_other_is_believed(lake: Lake) -> None:
    kms = lake.client("kms")
    one, other = (
        kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"] for _ in range(2)
    )
    signing = replace(lake, signing_key=one)
    signed = proof.sign(signing, {"request": "r", "scan": {"found": []}})
    assert proof.verify(signing, signed)
    assert not proof.verify(signing, {**signed, "request": "another"})
    assert not proof.verify(replace(lake, signing_key=other), signed)
    assert not proof.verify(lake, signed)
    own = proof.sign(lake, {"request": "r"})
    assert proof.verify(lake, own)
    assert proof.verify(signing, own)  # of before there was a key
