"""The doctor finds what is misconfigured, says what to do, and finds nothing in a healthy stack.

What the emulator can be misconfigured in is seeded there; what only AWS has is seeded in the answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from contracts import Contract, load_contracts
from lakehouse.storage.lake import Lake
from lakehouse.table.glue_tables import table_input
from lakehouse.table.schemas import TableShape, changes, compacted
from ops.command_line import app
from ops.doctor import access, catalog, dagster, functions, messaging, storage, versions
from ops.doctor.findings import Finding, Look, Patient
from ops.doctor.looking import LOOKS, examine
from ops.environment import Environment
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack


@dataclass
class Tampered:
    """A client whose answers to some operations are others."""

    client: Any
    answers: Mapping[str, Any]

    def __getattr__(self, operation: str) -> Any:
        if operation in self.answers:
            answer = self.answers[operation]
            return answer if callable(answer) else lambda **_: answer
        return getattr(self.client, operation)


class Account(Environment):
    """The stack as if it were on AWS: its parts have the names of the laptop's."""

    def resource(self, name: str) -> str:
        return f"gavel-local-{name}"


def patient(laptop: Laptop, name: str = "local", **tampered: Mapping[str, Any]) -> Patient:
    """The stack, with some answers of some services replaced; on AWS by any other name."""
    of = Environment if name == "local" else Account
    found = Patient(of(name, laptop.aws.client), laptop.contracts)
    for service, answers in tampered.items():
        found.clients[service] = Tampered(laptop.aws.client(service), answers)
    return found


@contextmanager
def seeded(seed: Callable[[], Any], heal: Callable[[], Any]) -> Iterator[None]:
    seed()
    try:
        yield
    finally:
        heal()


def test_a_healthy_stack_has_no_findings(laptop: Laptop) -> None:
    assert [str(finding) for finding in examine(patient(laptop))] == []


# ---- misconfigured in the emulator ---------------------------------------------------------------------------------


def seeds(laptop: Laptop) -> dict[str, tuple[Callable[[], Any], Callable[[], Any], str]]:
    """How each is seeded and healed, and what the finding is about."""
    aws, bucket = laptop.aws, laptop.bucket
    s3, sqs, lambdas, logs, glue, kms = (aws.client(s) for s in ("s3", "sqs", "lambda", "logs", "glue", "kms"))
    block = dict.fromkeys(storage.PUBLIC, True)
    inbound = sqs.get_queue_url(QueueName="gavel-local-inbound")["QueueUrl"]
    letters = sqs.get_queue_url(QueueName="gavel-local-fanout-dead-letters")["QueueUrl"]
    policy = sqs.get_queue_attributes(QueueUrl=inbound, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    mapping = lambdas.list_event_source_mappings(FunctionName="gavel-local-inbound:live")["EventSourceMappings"][0][
        "UUID"
    ]
    key = kms.describe_key(KeyId="alias/gavel-local")["KeyMetadata"]["KeyId"]
    landing = glue.get_table(DatabaseName="gavel_landing_local", Name="bids")["Table"]
    kept = {
        k: landing[k]
        for k in ("Name", "Description", "TableType", "PartitionKeys", "Parameters", "StorageDescriptor")
        if k in landing
    }
    fewer = {
        **kept,
        "StorageDescriptor": {**kept["StorageDescriptor"], "Columns": kept["StorageDescriptor"]["Columns"][1:]},
    }

    def versioning(status: str) -> Any:
        return s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def ends(prefix: str) -> Any:
        rule = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": 30}}
        return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})

    def enabled(on: bool) -> Any:
        return lambdas.update_event_source_mapping(UUID=mapping, Enabled=on)

    def keep(seconds: int) -> Any:
        return sqs.set_queue_attributes(QueueUrl=letters, Attributes={"MessageRetentionPeriod": str(seconds)})

    def redrive(text: str) -> Any:
        return sqs.set_queue_attributes(QueueUrl=inbound, Attributes={"RedrivePolicy": text})

    def table(of: Mapping[str, Any]) -> Any:
        return glue.update_table(DatabaseName="gavel_landing_local", TableInput=of)

    return {
        "versioning": (lambda: versioning("Suspended"), lambda: versioning("Enabled"), f"versioning of {bucket}"),
        "public access": (
            lambda: s3.put_public_access_block(
                Bucket=bucket, PublicAccessBlockConfiguration={**block, "BlockPublicPolicy": False}
            ),
            lambda: s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block),
            f"public access to {bucket}",
        ),
        "a rule that empties the lake": (
            lambda: ends("landing/"),
            lambda: s3.delete_bucket_lifecycle(Bucket=bucket),
            f"lifecycle of {bucket}",
        ),
        "redrive policy": (
            lambda: redrive(""),
            lambda: redrive(policy),
            "redrive policy of gavel-local-inbound",
        ),
        "retention of letters": (
            lambda: keep(3600),
            lambda: keep(1_209_600),
            "retention of gavel-local-fanout-dead-letters",
        ),
        "mapping that is off": (
            lambda: enabled(False),
            lambda: enabled(True),
            "event source mapping of gavel-local-inbound",
        ),
        "function that may not run": (
            lambda: lambdas.put_function_concurrency(FunctionName="gavel-local-relay", ReservedConcurrentExecutions=0),
            lambda: lambdas.delete_function_concurrency(FunctionName="gavel-local-relay"),
            "concurrency of gavel-local-relay",
        ),
        "log group": (
            lambda: logs.delete_log_group(logGroupName="/gavel/local/tracking"),
            lambda: (
                logs.create_log_group(logGroupName="/gavel/local/tracking"),
                logs.put_retention_policy(logGroupName="/gavel/local/tracking", retentionInDays=1),
            ),
            "log group /gavel/local/tracking",
        ),
        "logs for ever": (
            lambda: logs.delete_retention_policy(logGroupName="/gavel/local/api"),
            lambda: logs.put_retention_policy(logGroupName="/gavel/local/api", retentionInDays=1),
            "retention of /gavel/local/api",
        ),
        "landing table": (
            lambda: table(fewer),
            lambda: table(kept),
            f"column {kept['StorageDescriptor']['Columns'][0]['Name']} of gavel_landing_local.bids",
        ),
        "key": (lambda: kms.disable_key(KeyId=key), lambda: kms.enable_key(KeyId=key), "KMS key alias/gavel-local"),
    }


SEEDED = (
    "versioning", "public access", "a rule that empties the lake", "redrive policy", "retention of letters",
    "mapping that is off", "function that may not run", "log group", "logs for ever", "landing table", "key",
)  # fmt: skip


@pytest.mark.parametrize("name", SEEDED)
def test_what_is_misconfigured_in_the_stack_is_found(laptop: Laptop, name: str) -> None:
    seed, heal, what = seeds(laptop)[name]
    with seeded(seed, heal):
        found = examine(patient(laptop))
    assert what in [finding.what for finding in found], found
    assert all(finding.do.endswith(".") and len(finding.do) > 20 for finding in found)
    assert examine(patient(laptop)) == []


# ---- misconfigured in the answers ----------------------------------------------------------------------------------


def refused(operation: str, code: str = "AccessDeniedException") -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": f"not authorized to perform {operation}"}}, operation)

    return call


def identity(at: datetime) -> dict[str, Any]:
    return {"Account": "000000000000", "ResponseMetadata": {"HTTPHeaders": {"date": f"{at:%a, %d %b %Y %H:%M:%S} GMT"}}}


class Pages:
    """A paginator with one page."""

    def __init__(self, page: Mapping[str, Any]) -> None:
        self.page = page

    def paginate(self, **_: Any) -> list[Mapping[str, Any]]:
        return [self.page]


def table_with(laptop: Laptop, **changes: Any) -> Callable[..., Any]:
    real = laptop.aws.client("dynamodb")

    def describe_table(TableName: str) -> Any:
        return {"Table": {**real.describe_table(TableName=TableName)["Table"], **changes}}

    return describe_table


OFF = {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"}}}
ON = {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}}
NO_TTL = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
MAPPING = {
    "State": "Disabled",
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "DestinationConfig": {"OnFailure": {"Destination": "s3"}},
}
AES = {
    "ServerSideEncryptionConfiguration": {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
}
LOST = {**MAPPING, "State": "Enabled", "DestinationConfig": {}}
KEYS_ONLY = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
FAILED = {"DeliveryStreamDescription": {"DeliveryStreamStatus": "CREATING_FAILED"}}
FEW = {"AccountLimit": {"UnreservedConcurrentExecutions": 10}}
GROUP = {"State": "ENABLED", "Configuration": {"ResultConfiguration": {"OutputLocation": "s3://elsewhere/"}}}
HOURLY = {"name": "hourly_reports", "scheduleState": {"status": "STOPPED"}}
DAGSTER = {
    "instance": {"daemonHealth": {"allDaemonStatuses": [{"daemonType": "SENSOR", "healthy": False, "required": True}]}},
    "workspaceOrError": {
        "locationEntries": [
            {"name": "gavel", "locationOrLoadError": {"repositories": [{"sensors": [], "schedules": [HOURLY]}]}},
            {"name": "other", "locationOrLoadError": {"message": "ImportError\nno module named x"}},
        ]
    },
}


def answered(laptop: Laptop) -> dict[str, tuple[Look, str, str, dict[str, Mapping[str, Any]]]]:
    """The look, the environment's name, what the finding is about, and the answers."""
    skewed = identity(datetime.now(UTC) - timedelta(minutes=7))
    return {
        "clock": (access.clock, "local", "clock of this machine", {"sts": {"get_caller_identity": lambda: skewed}}),
        "no rotation": (
            access.key,
            "local",
            "KMS key alias/gavel-local",
            {"kms": {"get_key_rotation_status": {"KeyRotationEnabled": False}}},
        ),
        "no key": (
            access.key,
            "local",
            "KMS key alias/gavel-local",
            {"kms": {"describe_key": refused("DescribeKey", "NotFoundException")}},
        ),
        "right to write": (
            access.rights,
            "local",
            "right s3:PutObject",
            {"s3": {"put_object": refused("PutObject", "AccessDenied")}},
        ),
        "right to metrics": (
            access.rights,
            "local",
            "right cloudwatch:GetMetricData",
            {"cloudwatch": {"get_metric_data": refused("GetMetricData")}},
        ),
        "quota": (
            access.quotas,
            "dev",
            "quota of concurrent functions",
            {"lambda": {"get_account_settings": lambda: FEW}},
        ),
        "encryption": (storage.bucket, "dev", f"encryption of {laptop.bucket}", {"s3": {"get_bucket_encryption": AES}}),
        "no lifecycle": (
            storage.lifecycle,
            "dev",
            f"lifecycle of {laptop.bucket}",
            {"s3": {"get_bucket_lifecycle_configuration": {"Rules": []}}},
        ),
        "stream off": (
            storage.table,
            "local",
            "stream of gavel-local",
            {"dynamodb": {"describe_table": table_with(laptop, StreamSpecification={"StreamEnabled": False})}},
        ),
        "keys only": (
            storage.table,
            "local",
            "stream of gavel-local",
            {"dynamodb": {"describe_table": table_with(laptop, StreamSpecification=KEYS_ONLY)}},
        ),
        "no index": (
            storage.table,
            "local",
            "indexes of gavel-local",
            {"dynamodb": {"describe_table": table_with(laptop, GlobalSecondaryIndexes=[])}},
        ),
        "no ttl": (
            storage.table,
            "local",
            "time to live of gavel-local",
            {"dynamodb": {"describe_time_to_live": NO_TTL}},
        ),
        "no recovery": (
            storage.other_tables,
            "dev",
            "point-in-time recovery of gavel-local-requests",
            {"dynamodb": {"describe_continuous_backups": OFF}},
        ),
        "no subscription": (
            messaging.topic,
            "dev",
            "subscriptions of gavel-local-alerts",
            {"sns": {"list_subscriptions_by_topic": {"Subscriptions": []}}},
        ),
        "rule off": (
            messaging.rules,
            "local",
            "rule gavel-local-x",
            {"events": {"list_rules": {"Rules": [{"Name": "gavel-local-x", "State": "DISABLED"}]}}},
        ),
        "relay off": (
            functions.mappings,
            "dev",
            "event source mapping of gavel-local-relay",
            {"lambda": {"list_event_source_mappings": {"EventSourceMappings": [MAPPING]}}},
        ),
        "failures lost": (
            functions.mappings,
            "dev",
            "event source mapping of gavel-local-fanout",
            {"lambda": {"list_event_source_mappings": {"EventSourceMappings": [LOST]}}},
        ),
        "function gone": (
            functions.functions,
            "local",
            "function gavel-local-api",
            {"lambda": {"get_function": refused("GetFunction", "ResourceNotFoundException")}},
        ),
        "Firehose gone": (
            functions.deliveries,
            "local",
            "Firehose gavel-local-orders",
            {"firehose": {"describe_delivery_stream": refused("Describe", "ResourceNotFoundException")}},
        ),
        "Firehose failed": (
            functions.deliveries,
            "local",
            "Firehose gavel-local-orders",
            {"firehose": {"describe_delivery_stream": FAILED}},
        ),
        "no limit": (
            catalog.workgroup,
            "dev",
            "limit of workgroup gavel-dev",
            {"athena": {"get_work_group": {"WorkGroup": GROUP}}},
        ),
        "results elsewhere": (
            catalog.workgroup,
            "dev",
            "results of workgroup gavel-dev",
            {"athena": {"get_work_group": {"WorkGroup": GROUP}}},
        ),
    }


ANSWERED = (
    "clock", "no rotation", "no key", "right to write", "right to metrics", "quota", "encryption", "no lifecycle",
    "stream off", "keys only", "no index", "no ttl", "no recovery", "no subscription", "rule off", "relay off",
    "failures lost", "function gone", "Firehose gone", "Firehose failed", "no limit", "results elsewhere",
)  # fmt: skip


@pytest.mark.parametrize("name", ANSWERED)
def test_what_aws_says_to_be_misconfigured_is_found(laptop: Laptop, name: str) -> None:
    look, environment, what, answers = answered(laptop)[name]
    found = examine(patient(laptop, environment, **answers), [look])
    assert what in [finding.what for finding in found], found
    assert all(finding.do.endswith(".") for finding in found)


def test_a_look_that_is_refused_is_a_finding_and_hides_no_other(laptop: Laptop) -> None:
    broken = {"describe_log_groups": None, "get_paginator": refused("DescribeLogGroups")}
    (finding,) = examine(patient(laptop, logs=broken))
    assert finding.what == "right to look at log groups"
    assert "DescribeLogGroups" in finding.found


def test_a_published_table_that_was_changed_by_hand_is_found(laptop: Laptop) -> None:
    """As an entry is in Glue once a first batch was published."""
    glue, names = laptop.aws.client("glue"), ("gavel_local", "gavel_work_local")
    contract = laptop.contracts["bids"]
    inputs = {shape.name: table_input_of(laptop, contract, shape) for shape in (compacted(contract), changes(contract))}
    with suppress(ClientError):
        for database in names:
            glue.create_database(DatabaseInput={"Name": database})
    put = [(database, table) for database in names for table in inputs.values()]
    there = []
    for database, table in put:
        with suppress(ClientError):  # another test may have published it
            glue.create_table(DatabaseName=database, TableInput=table)
            there.append((database, table["Name"]))
    try:
        assert examine(patient(laptop), [catalog.lake_tables]) == []
        table = inputs["bids"]
        columns = table["StorageDescriptor"]["Columns"]
        by_hand = [{**columns[0], "Type": "int"}, *columns[2:]]
        broken = {**table, "StorageDescriptor": {**table["StorageDescriptor"], "Columns": by_hand}}
        glue.update_table(DatabaseName="gavel_local", TableInput=broken)
        found = {finding.what for finding in examine(patient(laptop), [catalog.lake_tables])}
        assert found == {f"column {columns[n]['Name']} of gavel_local.bids" for n in (0, 1)}
        glue.update_table(DatabaseName="gavel_local", TableInput=table)
    finally:
        for database, name in there:
            glue.delete_table(DatabaseName=database, Name=name)


def table_input_of(laptop: Laptop, contract: Contract, shape: TableShape) -> dict[str, Any]:
    lake = Lake.of_environment("local", laptop.bucket, "eu-west-1", laptop.stack.endpoint)
    return table_input(lake, contract, shape, {"metadata_location": "s3://somewhere/metadata.json"})


def test_older_contracts_in_a_function_are_found(laptop: Laptop) -> None:
    newer = patient(laptop)
    from dataclasses import replace

    contracts = dict(load_contracts())
    contracts["orders"] = replace(contracts["orders"], version="99.0.0")
    newer.contracts = type(newer.contracts)(contracts)
    found = examine(newer, [versions.deployed_contracts])
    assert {f.what for f in found} >= {"contract orders of function gavel-local-relay"}
    assert examine(patient(laptop), [versions.deployed_contracts]) == []


def test_other_packages_than_the_lock_are_found(laptop: Laptop, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("pyarrow==1.0.0 \\\n    --hash=sha256:0\nnot-installed==3\n")
    monkeypatch.setattr(versions, "LOCK", lock)
    (finding,) = examine(patient(laptop), [versions.packages])
    assert (finding.what, finding.expected) == ("package pyarrow", "1.0.0")


def test_a_silent_daemon_and_what_is_switched_off_are_found(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dagster, "read", lambda ui_url: DAGSTER)
    looked = patient(laptop)
    looked.ui_url = "http://ui"
    found = examine(looked, [dagster.daemons, dagster.ticking])
    off = "state of schedule hourly_reports"
    assert [f.what for f in found] == ["Dagster's daemon SENSOR", off, "code location other"]


def test_the_command_ends_with_1_and_speaks_json_where_something_is_found(laptop: Laptop) -> None:
    def run(*arguments: str, of: Patient) -> Any:
        environment = of.environment
        return CliRunner().invoke(app, ["doctor", *arguments], obj=lambda name: environment, env={"GAVEL_UI_URL": ""})

    healthy = run("--json", of=patient(laptop))
    assert (healthy.exit_code, json.loads(healthy.output)) == (0, [])
    seed, heal, what = seeds(laptop)["logs for ever"]
    with seeded(seed, heal):
        ill = run("--json", of=patient(laptop))
        text = run(of=patient(laptop))
    assert (ill.exit_code, text.exit_code) == (1, 1)
    assert [Finding(**one).what for one in json.loads(ill.output)] == [what]
    assert f"- {what}: expected some days, found for ever." in text.output
    assert len(LOOKS) > 20
