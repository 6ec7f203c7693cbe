"""The template: valid, in step with the contracts and the functions, and without a permission that nobody needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from contracts import Contracts
from realtime.bundle import FUNCTIONS

TEMPLATE = Path(__file__).parents[3] / "realtime" / "template.yaml"
OUTPUTS = {
    "ApiUrl",
    "TenantApiUrl",
    "UserPoolId",
    "UserPoolClientId",
    "TableName",
    "TableStreamArn",
    "DataBucketName",
    "RelayFunctionName",
    "ApiFunctionName",
    "AlertTopicArn",
}


def statements(template: dict[str, Any], role: str) -> list[dict[str, Any]]:
    policies = template["Resources"][role]["Properties"]["Policies"]
    return [s for p in policies for s in p["PolicyDocument"]["Statement"]]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_cloudformation_accepts_the_template() -> None:
    from cfnlint.api import lint_file

    assert lint_file(TEMPLATE) == []


def test_every_index_of_the_contracts_is_an_index_of_the_table(template: dict[str, Any], contracts: Contracts) -> None:
    table = template["Resources"]["Table"]["Properties"]
    defined = {
        index["IndexName"]: [k["AttributeName"] for k in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    wanted = {
        i.name: [f"{i.prefix}_pk", f"{i.prefix}_sk"]
        for c in contracts.of_origin("stream")
        if c.keys is not None
        for i in c.keys.indexes
    }
    assert defined == wanted


def test_the_table_keeps_both_images_and_can_be_restored(template: dict[str, Any]) -> None:
    table = template["Resources"]["Table"]["Properties"]
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    environments = template["Mappings"]["Environments"]
    assert [name for name, e in environments.items() if e["TableProtected"]] == ["prod"]


def test_the_stream_is_never_lost_by_its_mapping(template: dict[str, Any]) -> None:
    mapping = template["Resources"]["RelayMapping"]
    assert mapping["Condition"] == "IsOnAws"
    properties = mapping["Properties"]
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert properties["BisectBatchOnFunctionError"] is True
    assert properties["MaximumRetryAttempts"] == 3
    assert properties["StartingPosition"] == "TRIM_HORIZON"
    assert properties["DestinationConfig"]["OnFailure"]["Destination"] == {"GetAtt": "DataBucket.Arn"}


def test_no_entity_is_named_in_the_template(contracts: Contracts) -> None:
    # `orders` is a route of the API's own; every other entity comes through the parameter.
    text = re.sub(r"#.*", "", TEMPLATE.read_text(encoding="utf-8"))
    named = [name for name in contracts if name != "orders" and re.search(rf"\b{name}\b", text)]
    assert named == []


def test_every_bundle_is_a_function_with_a_name_a_role_and_a_log_of_its_own(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    functions = {n: r for n, r in resources.items() if ":" not in n and r["Type"] == "AWS::Serverless::Function"}
    assert set(functions) == {f"{name.capitalize()}Function" for name in FUNCTIONS}
    for name, module in FUNCTIONS.items():
        logical = name.capitalize()
        properties = functions[f"{logical}Function"]["Properties"]
        assert properties["Handler"] == f"{module}.handle"
        assert properties["FunctionName"] == {"Sub": f"gavel-${{Environment}}-{name}"}
        assert properties["CodeUri"]["Key"] == {"Ref": f"{logical}Bundle"}
        assert properties["Role"] == {"GetAtt": f"{logical}Role.Arn"}
        assert properties["LoggingConfig"]["LogGroup"] == {"Ref": f"{logical}Logs"}
        log = resources[f"{logical}Logs"]["Properties"]
        assert log["LogGroupName"] == {"Sub": f"/gavel/${{Environment}}/{name}"}
        assert log["KmsKeyId"] == {"GetAtt": "Key.Arn"}
        assert "RetentionInDays" in log


def test_every_function_has_its_alarms(template: dict[str, Any]) -> None:
    _, names, alarms = template["Resources"]["Fn::ForEach::FunctionAlarms"]
    assert set(names) == set(FUNCTIONS)
    assert {a["Properties"]["MetricName"] for a in alarms.values()} == {"Errors", "Throttles"}


def test_cloudformation_can_read_the_template() -> None:
    # It refuses YAML aliases; AWS says so below "template formats".
    aliases = [e for e in yaml.parse(TEMPLATE.read_text(encoding="utf-8")) if isinstance(e, yaml.AliasEvent)]
    assert aliases == []


def test_the_outputs_are_what_the_laptop_stack_reads(template: dict[str, Any]) -> None:
    assert set(template["Outputs"]) == OUTPUTS


def test_no_role_has_a_wildcard_where_a_name_can_be(template: dict[str, Any]) -> None:
    cannot_be_named = {"dynamodb:ListStreams", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
    for role in ("ApiRole", "RelayRole", "FirehoseRole"):
        for statement in statements(template, role):
            actions = listed(statement["Action"])
            assert not [a for a in actions if "*" in a], role
            assert "*" not in listed(statement["Resource"]) or set(actions) <= cannot_be_named, role


def test_only_the_api_writes_the_table(template: dict[str, Any]) -> None:
    for role in ("RelayRole", "FirehoseRole"):
        actions = {a for s in statements(template, role) for a in listed(s["Action"])}
        assert not [a for a in actions if re.match(r"dynamodb:(Put|Update|Delete|Batch|Partiql)", a)]
    api = {a for s in statements(template, "ApiRole") for a in listed(s["Action"])}
    assert "dynamodb:Scan" not in api
    assert "dynamodb:DeleteItem" not in api


def test_the_bucket_is_private_encrypted_versioned_and_takes_tls_only(template: dict[str, Any]) -> None:
    bucket = template["Resources"]["DataBucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    refused = template["Resources"]["DataBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert {s["Effect"] for s in refused} == {"Deny"}
    assert [s["Condition"] for s in refused] == [
        {"Bool": {"aws:SecureTransport": "false"}},
        {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
    ]


def test_every_route_needs_a_signed_in_user(template: dict[str, Any]) -> None:
    api = template["Resources"]["Api"]["Properties"]
    assert api["Auth"]["DefaultAuthorizer"] == "Users"
    events = template["Resources"]["ApiFunction"]["Properties"]["Events"].values()
    assert not [e for e in events if "Auth" in e["Properties"]]
