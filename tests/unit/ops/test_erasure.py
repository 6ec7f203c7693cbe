"""What operators do about erasures: request one, see how far it is, verify its proof, set and lift holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from ops import erasure
from ops.command_line import app
from ops.environment import Environment, OpsError


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        make: Any = boto3.client
        made = Environment("dev", make)
        place = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3").create_bucket(Bucket=made.data_bucket, CreateBucketConfiguration=place)
        yield made


def test_a_request_names_nobody_and_a_second_one_is_the_same(environment: Environment) -> None:
    made = erasure.request(environment, "c-000123", at_once=False)
    assert erasure.request(environment, "c-000123", at_once=True).id == made.id
    assert [line.split()[:2] for line in erasure.states(environment)] == [[made.id, "open"]]
    store = erasure.lake_of(environment).store
    for stored in store.list(""):
        assert b"c-000123" not in store.read(stored.key)
    with pytest.raises(OpsError, match="expected a proof at"):
        erasure.verify(environment, made.id)


def test_a_hold_is_set_and_lifted(environment: Environment) -> None:
    assert erasure.hold(environment, "c-1", "a case before the court")
    with pytest.raises(OpsError, match="legal hold"):
        erasure.request(environment, "c-1", at_once=False)
    assert erasure.hold(environment, "c-1", None)
    assert not erasure.hold(environment, "c-1", None)
    assert erasure.request(environment, "c-1", at_once=True).grace == 0


def test_the_command_prompts_for_the_person(environment: Environment) -> None:
    said = CliRunner().invoke(app, ["erase", "--environment", "dev"], input="c-7\n")
    assert said.exit_code == 0, said.output
    assert "open; the pipeline goes on with it" in said.output
    listed = CliRunner().invoke(app, ["erasure", "list", "--environment", "dev"])
    assert "open since" in listed.output
    both = CliRunner().invoke(app, ["erasure", "hold", "--environment", "dev", "--subject", "c-7"])
    assert both.exit_code == 2
