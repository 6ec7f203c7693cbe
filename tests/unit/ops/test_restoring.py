"""A table that was deleted comes back with its items and with every setting that the template gives it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from ops.command_line import app
from ops.environment import Environment, OpsError
from ops.restoring import TABLES, Backup, newest_backup, restore
from tests.support.expanded import expanded

ITEMS = [{"pk": {"S": f"ORDER#o-{number}"}, "sk": {"S": "ORDER"}} for number in range(3)]


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        dynamodb = boto3.client("dynamodb", region_name="eu-west-1")
        clients: dict[str, Any] = {"dynamodb": dynamodb}
        make(dynamodb, "gavel-prod")
        monkeypatch.setattr(
            Environment, "of_credentials", classmethod(lambda cls, name: cls(name, clients.__getitem__))
        )
        yield Environment("prod", clients.__getitem__)


def make(dynamodb: Any, name: str) -> None:
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    for item in ITEMS:
        dynamodb.put_item(TableName=name, Item=item)


class Recorded:
    """A client whose backups say of a table what AWS says, which moto leaves out."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def describe_backup(self, **request: Any) -> Any:
        said = self._client.describe_backup(**request)
        said["BackupDescription"]["SourceTableFeatureDetails"] = {
            "StreamDescription": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            "TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"},
        }
        return said


def test_a_deleted_table_comes_back_whole(where: Environment) -> None:
    dynamodb = Recorded(where.client("dynamodb"))
    where = Environment("prod", lambda service: dynamodb)
    old = dynamodb.create_backup(TableName="gavel-prod", BackupName="old")["BackupDetails"]["BackupArn"]
    dynamodb.create_backup(TableName="gavel-prod", BackupName="new")
    dynamodb.delete_table(TableName="gavel-prod")
    backup = newest_backup(where, "entities")
    assert backup.arn != old
    said: list[str] = []
    restore(where, backup, said.append, pause=lambda seconds: None)
    assert sorted(dynamodb.scan(TableName="gavel-prod")["Items"], key=str) == ITEMS
    table = dynamodb.describe_table(TableName="gavel-prod")["Table"]
    assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["DeletionProtectionEnabled"]
    lives = dynamodb.describe_time_to_live(TableName="gavel-prod")["TimeToLiveDescription"]
    assert lives == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    kept = dynamodb.describe_continuous_backups(TableName="gavel-prod")["ContinuousBackupsDescription"]
    assert kept["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    tags = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"application": "gavel", "environment": "prod"}
    assert [text for text in said if "stream of NEW_AND_OLD_IMAGES" in text]
    dynamodb.create_backup(TableName="gavel-prod", BackupName="of what was restored")
    again: list[str] = []
    restore(where, same := newest_backup(where, "entities"), again.append, pause=lambda seconds: None)
    assert not [text for text in again if "stream" in text], "what is done stays"
    assert same == backup, "the one that it is from, and none of later"
    with pytest.raises(OpsError, match=f"restored from {backup.arn}"):
        newest_backup(where, "entities", old)


class Unfinished(Recorded):
    """A client that says of the newest backup that it is being made, as just after a table was deleted."""

    def get_paginator(self, name: str) -> Any:
        assert name == "list_backups"
        return self

    def paginate(self, **request: Any) -> Any:
        for page in self._client.get_paginator("list_backups").paginate(**request):
            newest = max(page["BackupSummaries"], key=lambda backup: backup["BackupCreationDateTime"])
            newest["BackupStatus"] = "CREATING"
            yield page


def test_an_older_backup_does_not_stand_in_for_one_that_is_being_made(where: Environment) -> None:
    """What was written between the two would be lost, and nobody would hear of it."""
    dynamodb = Unfinished(where.client("dynamodb"))
    where = Environment("prod", lambda service: dynamodb)
    old = dynamodb.create_backup(TableName="gavel-prod", BackupName="old")["BackupDetails"]["BackupArn"]
    dynamodb.create_backup(TableName="gavel-prod", BackupName="new")
    dynamodb.delete_table(TableName="gavel-prod")
    with pytest.raises(OpsError, match="CREATING: it may be the newest"):
        newest_backup(where, "entities")
    assert newest_backup(where, "entities", old).arn == old


def test_a_table_that_is_there_is_replaced_by_nothing(where: Environment) -> None:
    where.client("dynamodb").create_backup(TableName="gavel-prod", BackupName="one")
    with pytest.raises(OpsError, match="a restore replaces nothing"):
        newest_backup(where, "entities")


def test_what_cannot_be_restored_is_said(where: Environment) -> None:
    dynamodb = where.client("dynamodb")
    make(dynamodb, "gavel-dev")
    other = dynamodb.create_backup(TableName="gavel-dev", BackupName="one")["BackupDetails"]["BackupArn"]
    with pytest.raises(OpsError, match="expected a backup of gavel-prod-requests"):
        newest_backup(where, "requests")
    dynamodb.delete_table(TableName="gavel-prod")
    with pytest.raises(OpsError, match="expected a backup of gavel-prod, found one of gavel-dev"):
        newest_backup(where, "entities", other)
    gone = Environment("prod", lambda service: Vanishing(dynamodb))
    with pytest.raises(OpsError, match="somebody deleted it"):
        restore(gone, Backup("gavel-prod", other, datetime.now(UTC), None, None, None), print)


class Vanishing(Recorded):
    """A client of a table that goes while it is restored."""

    def restore_table_from_backup(self, **request: Any) -> None:
        """Nothing comes of it."""


def test_a_dry_run_says_from_which_backup_and_restores_nothing(where: Environment) -> None:
    dynamodb = where.client("dynamodb")
    arn = dynamodb.create_backup(TableName="gavel-prod", BackupName="one")["BackupDetails"]["BackupArn"]
    dynamodb.delete_table(TableName="gavel-prod")
    result = CliRunner().invoke(app, ["recover", "table", "--dry-run", "--environment", "prod"])
    assert (result.exit_code, arn in result.output) == (0, True)
    assert dynamodb.list_tables()["TableNames"] == []
    refused = CliRunner().invoke(app, ["recover", "table", "orders", "--environment", "prod"])
    assert refused.exit_code == 1


def test_every_table_of_the_template_can_be_named_and_prod_alone_is_protected() -> None:
    resources = expanded("prod")["Resources"].values()
    names = {str(r["Properties"]["TableName"]) for r in resources if r["Type"] == "AWS::DynamoDB::Table"}
    assert {name.partition("}")[2].removesuffix("'}") for name in names} == {*TABLES.values()}
