"""What no resource of the template may lack, and what no role may hold: rules over everything that gets deployed.

They are about the expanded template, so that they also count for what a loop or SAM makes, and for what is added later.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore import xform_name
from botocore.session import Session

from contracts import Contracts
from lakehouse.erasure import proof
from realtime.bundle import FUNCTIONS, follow_imports
from tests.support.expanded import expanded

ALERTS = Path(__file__).parents[3] / "docs" / "operations.md"
ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "realtime" / "template.yaml"
WRITERS = {"ApiRole", "InboundRole"}
"""Roles that may write the operational table: only the API's functions."""

CANNOT_BE_NAMED = {
    "cloudwatch:GetMetricData",
    "dynamodb:ListStreams",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions for which AWS knows no resource; see the Service Authorization Reference."""

BEHIND_THE_CODE = {
    # What a function's mapping does in its name.
    *(f"dynamodb:{name}" for name in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")),
    *(f"sqs:{name}" for name in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")),
    "s3:PutObject",
    # What the services and the runtime do in its name.
    *("kms:Decrypt", "kms:GenerateDataKey", "logs:CreateLogStream", "logs:PutLogEvents"),
    *("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
    "s3:ListBucket",  # the relay's mapping looks for the bucket
}
NOT_CALLED = {
    "authorizer": {"dynamodb:Query"},  # the query of an address
    "inbound": {"dynamodb:Query"},  # the API's way to read lists
}
"""What a function's code names, but never calls."""

SAME_RIGHT = {"sqs:SendMessageBatch": "sqs:SendMessage", "s3:ListObjectsV2": "s3:ListBucket"}
PARTS_OF_A_TRANSACTION = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}

WRITES = re.compile(r"dynamodb:(Put|Update|Delete|BatchWrite|PartiQL(Insert|Update|Delete)|Import|Restore)\w*")
KEPT = ("AWS::Cognito::UserPool", "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SQS::Queue")

Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def resources() -> Resources:
    found: Resources = expanded("prod")["Resources"]
    return found


def of_type(resources: Resources, *types: str) -> Resources:
    found = {name: r for name, r in resources.items() if r["Type"] in types}
    assert found, f"no resource is of type {' or '.join(types)}"
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def refers_to(value: Any) -> set[str]:
    """The resources and parameters that a value names."""
    text = json.dumps(value)
    return {
        *re.findall(r'"Ref": "([\w:]+)"', text),
        *re.findall(r'"Fn::GetAtt": \["(\w+)"', text),
        *re.findall(r"\$\{(\w+)[.}]", text),
    }


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    return [s for p in role["Properties"].get("Policies", ()) for s in p["PolicyDocument"]["Statement"]]


def allowed(resources: Resources) -> Iterator[tuple[str, dict[str, Any], set[str], list[Any]]]:
    """Role or policy, statement, actions and resources of everything that a role, or who gets the policy, may do."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for statement in statements(role):
            yield name, statement, set(listed(statement["Action"])), listed(statement["Resource"])
    for name, policy in of_type(resources, "AWS::IAM::ManagedPolicy").items():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            yield name, statement, set(listed(statement["Action"])), listed(statement["Resource"])


# ---- roles ----------------------------------------------------------------------------------------------------------


def test_no_role_may_do_what_is_not_named(resources: Resources) -> None:
    for name, statement, actions, on in allowed(resources):
        assert not [a for a in actions if "*" in a or "?" in a], (name, statement)
        if "*" in on:
            assert actions <= CANNOT_BE_NAMED, (name, statement)
        for resource in on:
            text = resource if isinstance(resource, str) else json.dumps(resource)
            if text != "*" and "*" in text:
                # Below a prefix of ours, for what has no name yet: objects, an environment's Firehoses. CloudWatch
                # checks the right to look at alarms, even at one, on all of them.
                ours = r'(gavel[-_]\w*\$\{Environment\}[\w/-]*|Arn\}/[\w/-]+|Api\}/[\w/-]*|:alarm:)\*"?'
                assert re.search(ours, text), (
                    name,
                    text,
                )


def test_no_role_holds_a_policy_that_is_not_written_here_but_the_gateways(resources: Resources) -> None:
    others = {n for n, r in of_type(resources, "AWS::IAM::Role").items() if r["Properties"].get("ManagedPolicyArns")}
    assert others == {"GatewayRole"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_its_code_does_and_nothing_else(resources: Resources, function: str) -> None:
    role = f"{function.capitalize()}Role"
    granted = {a for name, _, actions, _ in allowed(resources) for a in actions if name == role}
    needed = actions_in_code(function) - NOT_CALLED.get(function, set())
    assert needed <= granted
    assert granted <= needed | BEHIND_THE_CODE


def actions_in_code(function: str) -> set[str]:
    """The rights that a function's code needs: the operations of its clients' services that it names."""
    modules, _ = follow_imports(FUNCTIONS[function])
    nodes = [node for path in modules for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    constants = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    names = constants | {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "client"]
    found = set()
    for service in {ast.literal_eval(call.args[0]) for call in calls if call.args}:
        operations = Session().get_service_model(service).operation_names
        found |= {f"{service}:{name}" for name in operations if xform_name(name) in names}
    if "dynamodb:TransactWriteItems" in found:
        found |= {f"dynamodb:{action}" for part, action in PARTS_OF_A_TRANSACTION.items() if part in constants}
    return {SAME_RIGHT.get(action, action) for action in found} - {"dynamodb:TransactWriteItems"}


def test_who_requests_exports_may_do_that_and_nothing_else(resources: Resources) -> None:
    """The table can neither be read nor written by it, and only what exports write can be put into the bucket."""
    granted = {a for name, _, actions, _ in allowed(resources) for a in actions if name == "ExportPolicy"}
    assert granted == {
        "dynamodb:DescribeTable",
        "dynamodb:DescribeExport",
        "dynamodb:ExportTableToPointInTime",
        "dynamodb:ListExports",
        "s3:AbortMultipartUpload",
        "s3:PutObject",
        "s3:PutObjectAcl",
        "kms:Decrypt",
        "kms:GenerateDataKey",
    }
    puts = [on for name, _, actions, on in allowed(resources) if name == "ExportPolicy" and "s3:PutObject" in actions]
    assert [one["Fn::Sub"] for on in puts for one in on] == ["${DataBucket.Arn}/exports/*"]


def test_who_takes_samples_may_read_the_table_alone(resources: Resources) -> None:
    granted = {a for name, _, actions, _ in allowed(resources) for a in actions if name == "SamplePolicy"}
    assert granted == {"dynamodb:BatchGetItem", "dynamodb:Scan", "kms:Decrypt"}


def glue_rights(resources: Resources, policy: str) -> dict[str, set[str]]:
    """What a policy allows in Glue, by database: the catalog itself aside."""
    rights: dict[str, set[str]] = {}
    for name, _, actions, on in allowed(resources):
        for resource in on if name == policy else ():
            found = re.search(r":(?:database|table)/(\w+?\$\{Environment\})", json.dumps(resource))
            if found:
                rights.setdefault(found[1], set()).update(a for a in actions if a.startswith("glue:"))
    return rights


def databases_of_models() -> set[str]:
    """The databases that dbt builds models in, published ones by their names without the environment."""
    manifest = yaml.safe_load((ROOT / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8"))
    ephemeral = {"intermediate"}
    found = {m["+schema"] for m in manifest["models"]["gavel"].values() if isinstance(m, dict) and "+schema" in m}
    for model in (ROOT / "dbt_project" / "models").rglob("*.sql"):
        found |= set(re.findall(r"schema *= *'(\w+)'", model.read_text(encoding="utf-8")))
    for properties in (ROOT / "dbt_project" / "models").rglob("*.yml"):
        found |= set(re.findall(r"\bschema: (\w+)", properties.read_text(encoding="utf-8")))
    return found - ephemeral


ENTRIES = {f"glue:{name}" for name in ("CreateTable", "DeleteTable", "GetTable", "UpdateTable")}


def test_who_builds_marts_has_the_work_databases_and_those_of_readers(resources: Resources) -> None:
    rights = glue_rights(resources, "BuildsPolicy")
    layers = databases_of_models()
    assert "marts" in layers
    work = {f"gavel_work_{layer}_${{Environment}}" for layer in layers}
    published = {f"gavel_{layer}_${{Environment}}" for layer in layers}
    others = {f"gavel_{name}${{Environment}}" for name in ("", "work_", "quality_")}
    assert set(rights) == work | published | others
    for database, granted in rights.items():
        assert granted >= ENTRIES | {"glue:CreateDatabase"}, database
        assert "glue:DeleteDatabase" not in granted


def test_who_reads_marts_sees_nothing_that_is_not_published(resources: Resources) -> None:
    rights = glue_rights(resources, "ReadersPolicy")
    assert set(rights) == {"gavel_marts_${Environment}", "gavel_reports_${Environment}"}
    for granted in rights.values():
        assert granted == {"glue:GetDatabase", "glue:GetDatabases", "glue:GetTable", "glue:GetTables"}
    everything = {a for name, _, actions, _ in allowed(resources) for a in actions if name == "ReadersPolicy"}
    assert not everything & {"s3:ListBucket", "s3:DeleteObject", "glue:UpdateTable"}
    for name, _, actions, on in allowed(resources):
        if name == "ReadersPolicy" and "s3:PutObject" in actions:
            assert [one["Fn::Sub"] for one in on] == ["${DataBucket.Arn}/athena-results/readers/*"]
        if name == "ReadersPolicy" and actions == {"s3:GetObject"}:  # files lie where the build wrote them
            assert {one["Fn::Sub"].split("/")[1] for one in on} == {"marts"}
            assert not [one for one in on if "personal" in one["Fn::Sub"]]


def test_iam_takes_every_managed_policy(resources: Resources) -> None:
    """A managed policy has at most 6,144 characters, those between its parts aside."""
    names = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "1" * 12, "Environment": "local"}
    arns = dict.fromkeys(
        ("DataBucket", "Table", "Key", "SigningKey"), "arn:aws:kms:eu-central-1:111111111111:key/" + "1" * 36
    )
    for name, policy in of_type(resources, "AWS::IAM::ManagedPolicy").items():
        text = json.dumps(policy["Properties"]["PolicyDocument"], separators=(",", ":"))
        text = re.sub(r"\$\{([\w:]+)(?:\.Arn)?\}", lambda found: (names | arns)[found[1]], text)
        assert len(text) <= 6_144, name


def test_only_who_builds_may_use_a_work_database(resources: Resources) -> None:
    for name, statement, _, on in allowed(resources):
        if name != "BuildsPolicy":
            glue = [one for one in on if ":glue:" in json.dumps(one)]
            assert "gavel_work_" not in json.dumps(glue), (name, statement)


def test_analysts_queries_leave_their_results_apart(resources: Resources) -> None:
    configuration = resources["ReadersWorkgroup"]["Properties"]["WorkGroupConfiguration"]
    assert configuration["EnforceWorkGroupConfiguration"] is True
    location = configuration["ResultConfiguration"]["OutputLocation"]
    assert location == {"Fn::Sub": "s3://${DataBucket}/athena-results/readers/"}
    assert configuration["BytesScannedCutoffPerQuery"] == {"Ref": "QueryLimitBytes"}


def test_one_policy_signs_proofs_and_auditors_only_verify_them(resources: Resources) -> None:
    on_key = {name: actions for name, _, actions, on in allowed(resources) if "SigningKey" in refers_to(on)}
    assert on_key == {
        "SigningPolicy": {"kms:GetPublicKey", "kms:Sign"},
        "AuditorsPolicy": {"kms:DescribeKey", "kms:GetPublicKey", "kms:Verify"},
    }
    signers = {name for name, _, actions, _ in allowed(resources) if "kms:Sign" in actions}
    assert signers == {"SigningPolicy"}
    reads = [
        on for name, _, actions, on in allowed(resources) if name == "AuditorsPolicy" and "s3:GetObject" in actions
    ]
    assert [one["Fn::Sub"] for on in reads for one in on] == ["${DataBucket.Arn}/erasures/*.json"]


def test_the_key_of_proofs_signs_only_and_for_one_role(resources: Resources) -> None:
    key = resources["SigningKey"]["Properties"]
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    assert resources["SigningKeyAlias"]["Properties"]["AliasName"] == {
        "Fn::Sub": proof.signing_key("${Environment}", {})
    }
    condition, denial, otherwise = key["KeyPolicy"]["Statement"][1]["Fn::If"]
    assert (condition, otherwise) == ("HasPipelineRole", {"Ref": "AWS::NoValue"})
    assert (denial["Effect"], denial["Principal"], denial["Action"]) == ("Deny", "*", "kms:Sign")
    assert denial["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": {"Ref": "PipelineRole"}}}


def test_only_the_apis_functions_write_the_operational_table(resources: Resources) -> None:
    writers = {
        name
        for name, _, actions, on in allowed(resources)
        if "Table" in refers_to(on) and any(WRITES.match(a) for a in actions)
    }
    assert writers <= WRITERS
    assert "ApiRole" in writers


def test_no_function_reads_or_empties_the_whole_table(resources: Resources) -> None:
    for name, statement, actions, _ in allowed(resources):
        if name == "SamplePolicy":  # of whoever runs the pipeline, which reads a page of it
            continue
        assert not actions & {
            "dynamodb:Scan",
            "dynamodb:DeleteTable",
            "dynamodb:DeleteItem",
        } or "Table" not in refers_to(statement["Resource"]), name


def test_the_key_is_used_only_through_the_services_that_hold_the_data(resources: Resources) -> None:
    for name, statement, actions, on in allowed(resources):
        if any(a.startswith("kms:") for a in actions) and refers_to(on) != {"SigningKey"}:
            condition = statement.get("Condition", {}).get("StringEquals", {})
            assert "kms:ViaService" in condition, (name, statement["Sid"])


def test_a_function_has_a_role_of_its_own_and_writes_its_own_log_only(resources: Resources) -> None:
    roles = [f["Properties"]["Role"]["Fn::GetAtt"][0] for f in of_type(resources, "AWS::Lambda::Function").values()]
    assert sorted(roles) == sorted(f"{name.capitalize()}Role" for name in FUNCTIONS)
    for name, _, actions, on in allowed(resources):
        if "logs:CreateLogStream" in actions:
            assert refers_to(on) == {name.removesuffix("Role") + "Logs"}


def test_a_role_is_for_one_service(resources: Resources) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert set(trust["Principal"]) == {"Service"}, name
        assert isinstance(trust["Principal"]["Service"], str), name


# ---- data -----------------------------------------------------------------------------------------------------------


def test_what_holds_data_outlives_the_stack(resources: Resources) -> None:
    for name, resource in of_type(resources, *KEPT).items():
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert resource["UpdateReplacePolicy"] == "Retain", name


def test_every_table_can_be_restored_and_is_encrypted_with_our_key(resources: Resources) -> None:
    for name, table in of_type(resources, "AWS::DynamoDB::Table").items():
        properties = table["Properties"]
        assert properties["BillingMode"] == "PAY_PER_REQUEST", name
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}, name
        assert properties["SSESpecification"]["KMSMasterKeyId"] == {"Fn::GetAtt": ["Key", "Arn"]}, name
        assert properties["DeletionProtectionEnabled"] is True, name


def test_every_bucket_is_private_and_versioned(resources: Resources) -> None:
    for name, bucket in of_type(resources, "AWS::S3::Bucket").items():
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}, name
        assert "Key" in refers_to(properties["BucketEncryption"]), name


def test_every_log_topic_and_queue_is_encrypted_with_our_key(resources: Resources) -> None:
    properties = {
        "AWS::Logs::LogGroup": "KmsKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::SQS::Queue": "KmsMasterKeyId",
    }
    for name, resource in of_type(resources, *properties).items():
        assert "Key" in refers_to(resource["Properties"][properties[resource["Type"]]]), name


def test_no_log_is_kept_for_ever(resources: Resources) -> None:
    for name, group in of_type(resources, "AWS::Logs::LogGroup").items():
        assert group["Properties"]["RetentionInDays"] == 365, name


# ---- watching -------------------------------------------------------------------------------------------------------


def alarms_on(resources: Resources, metric: str) -> list[dict[str, Any]]:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm").values()
    return [a["Properties"] for a in alarms if a["Properties"].get("MetricName") == metric]


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_is_watched(resources: Resources, metric: str) -> None:
    alarms = [a["Dimensions"] for a in alarms_on(resources, metric)]
    watched = {json.dumps(of[0]["Value"]) for of in alarms if len(of) == 1}  # of all its versions
    functions = of_type(resources, "AWS::Lambda::Function")
    assert watched == {json.dumps(f["Properties"]["FunctionName"]) for f in functions.values()}


def test_every_firehose_is_watched(resources: Resources, contracts: Contracts) -> None:
    watched = {json.dumps(a["Dimensions"][0]["Value"]) for a in alarms_on(resources, "DeliveryToS3.DataFreshness")}
    streams = of_type(resources, "AWS::KinesisFirehose::DeliveryStream")
    assert watched == {json.dumps(s["Properties"]["DeliveryStreamName"]) for s in streams.values()}
    assert len(streams) == len(list(contracts.of_origin("stream")))


def test_a_queue_that_is_read_keeps_what_fails_and_is_watched_for_delay(resources: Resources) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    delayed = {
        name for a in alarms_on(resources, "ApproximateAgeOfOldestMessage") for name in refers_to(a["Dimensions"])
    }
    for queue, mapping in readers(resources).items():
        properties = resources[queue]["Properties"]
        assert "deadLetterTargetArn" in properties["RedrivePolicy"], queue
        (alias,) = refers_to(mapping["FunctionName"])
        function = resources[alias]["Properties"]["FunctionName"]["Ref"]
        # Six times the function's time, as AWS advises, so that nothing is handed out again while it is worked on.
        assert properties["VisibilityTimeout"] >= 6 * functions[function]["Properties"]["Timeout"], queue
        assert queue in delayed


def test_a_queue_that_nobody_reads_is_watched_for_messages(resources: Resources) -> None:
    watched = {
        name for a in alarms_on(resources, "ApproximateNumberOfMessagesVisible") for name in refers_to(a["Dimensions"])
    }
    unread = set(of_type(resources, "AWS::SQS::Queue")) - set(readers(resources))
    assert unread
    assert unread <= watched
    for queue in unread:
        assert resources[queue]["Properties"]["MessageRetentionPeriod"] == 1_209_600, "as long as AWS keeps messages"


def readers(resources: Resources) -> Resources:
    """The mapping that reads each queue, by the queue."""
    queues = set(of_type(resources, "AWS::SQS::Queue"))
    mappings = [m["Properties"] for m in of_type(resources, "AWS::Lambda::EventSourceMapping").values()]
    return {name: m for m in mappings for name in refers_to(m["EventSourceArn"]) & queues}


def test_a_rule_keeps_what_it_cannot_hand_over(resources: Resources) -> None:
    """EventBridge drops silently what a target refuses, and counts it in a metric that somebody must look at."""
    for name, rule in of_type(resources, "AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            assert refers_to(target["DeadLetterConfig"]), name
    (bus,) = of_type(resources, "AWS::Events::EventBus").values()
    assert refers_to(bus["Properties"]["DeadLetterConfig"])
    to_topic = {
        name
        for name, rule in of_type(resources, "AWS::Events::Rule").items()
        if any("AlertTopic" in refers_to(t["Arn"]) for t in rule["Properties"]["Targets"])
    }
    assert to_topic
    assert {n for a in alarms_on(resources, "FailedInvocations") for n in refers_to(a["Dimensions"])} == to_topic


def statements_for(resources: Resources, service: str) -> list[dict[str, Any]]:
    key = resources["Key"]
    statements = key["Properties"]["KeyPolicy"]["Statement"]
    return [s for s in statements if s["Principal"].get("Service") == service]


@pytest.mark.parametrize(
    ("context", "place"),
    [
        ("kms:EncryptionContext:aws:sns:topicArn", "AlertTopic"),
        ("kms:EncryptionContext:aws:sqs:arn", "EventsDeadLetters"),
        ("kms:EncryptionContext:aws:sqs:arn", "TrackingQueue"),
        ("kms:EncryptionContext:aws:sqs:arn", "TrackingDeadLetters"),
        ("kms:EncryptionContext:aws:events:event-bus:arn", "EventBus"),
    ],
)
def test_eventbridge_can_use_the_key_of_what_it_writes_to(resources: Resources, context: str, place: str) -> None:
    """It sends no source account to KMS, so that a condition on one refuses it: the encryption context bounds it."""
    properties = resources[place]["Properties"]
    name = next(properties[n] for n in ("TopicName", "QueueName", "Name") if n in properties)["Fn::Sub"]
    patterns = [
        json.dumps(condition)
        for statement in statements_for(resources, "events.amazonaws.com")
        for condition in statement.get("Condition", {}).values()
        if context in condition
    ]
    assert any(name in p or f"{name.partition('-')[0]}-${{Environment}}-*" in p for p in patterns), patterns
    for statement in statements_for(resources, "events.amazonaws.com"):
        assert "aws:SourceAccount" not in json.dumps(statement)
        assert statement.get("Condition") or statement["Action"] == "kms:DescribeKey"


def test_every_firehose_has_the_log_stream_that_it_names(resources: Resources) -> None:
    """Firehose writes its errors only to a stream that is there."""
    there = {
        (json.dumps(s["Properties"]["LogGroupName"]), json.dumps(s["Properties"]["LogStreamName"]))
        for s in of_type(resources, "AWS::Logs::LogStream").values()
    }
    for name, firehose in of_type(resources, "AWS::KinesisFirehose::DeliveryStream").items():
        options = firehose["Properties"]["ExtendedS3DestinationConfiguration"]["CloudWatchLoggingOptions"]
        assert (json.dumps(options["LogGroupName"]), json.dumps(options["LogStreamName"])) in there, name


def test_throttling_of_the_table_and_of_each_index_rings(resources: Resources) -> None:
    """AWS reports what an index refuses under the index only."""
    for name, table in of_type(resources, "AWS::DynamoDB::Table").items():
        indexes = [i["IndexName"] for i in table["Properties"].get("GlobalSecondaryIndexes", ())]
        for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
            dimensions = [json.dumps(a["Dimensions"]) for a in alarms_on(resources, metric)]
            for index in indexes:
                assert any(f'"{index}"' in d and f'"{name}"' in d for d in dimensions), (name, index, metric)


def test_what_failed_does_not_lie_in_the_bucket_for_ever(resources: Resources) -> None:
    """Whole records, with personal data; an alert reported them when they came."""
    buckets = of_type(resources, "AWS::S3::Bucket").values()
    rules = [r for b in buckets for r in b["Properties"]["LifecycleConfiguration"]["Rules"]]
    days = {r["Prefix"]: r["ExpirationInDays"] for r in rules if "ExpirationInDays" in r}
    failures = ("relay-failures/", "aws/lambda/", "firehose-errors/", "export-failures/", "parity-details/")
    assert {p: days.get(p) for p in failures} == dict.fromkeys(failures, 90)
    assert days["exports/"] == 35  # as long as the table itself can be restored
    assert any("NoncurrentVersionExpiration" in r for r in rules)


def test_a_mapping_fails_in_parts_and_keeps_what_it_gives_up(resources: Resources) -> None:
    for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").items():
        properties = mapping["Properties"]
        assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name
        if "StreamArn" in json.dumps(properties["EventSourceArn"]):
            assert properties["BisectBatchOnFunctionError"] is True, name
            assert properties["MaximumRetryAttempts"] == 3, name
            assert properties["StartingPosition"] == "TRIM_HORIZON", name
            assert refers_to(properties["DestinationConfig"]["OnFailure"]["Destination"]), name


def test_every_queue_bucket_and_topic_takes_tls_only(resources: Resources) -> None:
    secured = {
        name
        for policy in of_type(
            resources, "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy"
        ).values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for name in refers_to(statement["Resource"])
    }
    assert secured == set(of_type(resources, "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::S3::Bucket"))


def test_every_function_is_traced(resources: Resources) -> None:
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        assert function["Properties"]["TracingConfig"] == {"Mode": "Active"}, name
        role = function["Properties"]["Role"]["Fn::GetAtt"][0]
        assert "xray:PutTraceSegments" in {a for n, _, actions, _ in allowed(resources) if n == role for a in actions}


def test_every_alarm_tells_somebody_and_says_what_it_means(resources: Resources) -> None:
    composite = of_type(resources, "AWS::CloudWatch::CompositeAlarm")
    parts = {name for alarm in composite.values() for name in alarm["DependsOn"]}
    for name, alarm in (of_type(resources, "AWS::CloudWatch::Alarm") | composite).items():
        notified = alarm["Properties"].get("AlarmActions")
        assert notified == (None if name in parts else [{"Ref": "AlertTopic"}]), name
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert alarm["Properties"]["AlarmDescription"].endswith("."), name
        assert alarm["Properties"]["TreatMissingData"] in ("notBreaching", "breaching"), name


def test_the_runbook_has_every_alarm(template: dict[str, Any]) -> None:
    """By its name without the environment; a loop's variable is written `<like this>` there."""
    runbook = ALERTS.read_text(encoding="utf-8").lower()
    names = re.findall(r"AlarmName: !Sub \"?gavel-\$\{Environment\}-([^\"\s]+)", TEMPLATE.read_text(encoding="utf-8"))
    assert names
    numbered = [re.sub(r"^\w+-version-\$\{[\w.]+\}", "${function}-version-${number}", name) for name in names]
    written = [re.sub(r"\$\{(\w+)\}", r"<\1>", name).lower() for name in numbered]
    assert [name for name in written if f"alarm `{name}`" not in runbook] == []


# ---- the gateway ----------------------------------------------------------------------------------------------------


def test_every_stage_is_traced_logged_and_throttled(resources: Resources) -> None:
    for name, stage in of_type(resources, "AWS::ApiGateway::Stage").items():
        properties = stage["Properties"]
        assert properties["TracingEnabled"] is True, name
        form = json.loads(properties["AccessLogSetting"]["Format"])
        assert not [v for v in form.values() if re.search(r"identity|authorizer|\$context\.path\b", v)], name
        (settings,) = properties["MethodSettings"]
        assert {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= set(settings), name


def test_no_route_is_open(resources: Resources) -> None:
    for name, api in of_type(resources, "AWS::ApiGateway::RestApi").items():
        for path, methods in api["Properties"]["Body"]["paths"].items():
            for method, operation in methods.items():
                assert operation.get("security"), (name, path, method)


def test_a_firewall_stands_before_both_apis_and_limits_each_caller() -> None:
    """A limit that is counted by token, because CloudFront brings all users of the dashboard from its own addresses."""
    found: Resources = expanded("prod")["Resources"]
    apis = {next(iter(refers_to(a["Properties"]["ResourceArn"]) & {"Api", "TenantApi"}), None) for a in of_type(
        found, "AWS::WAFv2::WebACLAssociation").values()}  # fmt: skip
    assert apis == set(of_type(found, "AWS::ApiGateway::RestApi"))
    (acl,) = of_type(found, "AWS::WAFv2::WebACL").values()
    rules = {rule["Name"]: rule for rule in acl["Properties"]["Rules"]}
    limits = {name: s for name, rule in rules.items() if (s := rule["Statement"].get("RateBasedStatement"))}
    assert [name for name, rule in rules.items() if name not in limits and rule["OverrideAction"] != {"None": {}}] == []
    assert {rules[name]["Action"]["Block"]["CustomResponse"]["ResponseCode"] for name in limits} == {429}
    caller = limits["requests-of-a-caller"]
    assert [key["Header"]["Name"] for key in caller["CustomKeys"]] == ["authorization"]
    assert caller["ScopeDownStatement"]["ByteMatchStatement"]["SearchString"] == {"Fn::Sub": "${Api}."}
    assert limits["requests-of-an-address"]["AggregateKeyType"] == "IP"
    (hidden,) = acl["Properties"]["DataProtectionConfig"]["DataProtections"]
    assert hidden["Field"]["FieldKeys"] == ["authorization"], "no token in samples of requests"
    default = {name: p["Default"] for name, p in expanded("prod")["Parameters"].items()}
    stages = of_type(found, "AWS::ApiGateway::Stage").values()
    assert default["Firewall"] == "ON"
    per_second = {name: default[name] / 300 for name in ("RequestsPerCaller", "RequestsPerAddress")}
    assert per_second["RequestsPerCaller"] < per_second["RequestsPerAddress"] < min(map(rate, stages)), (
        "one takes no other's share"
    )


def rate(stage: dict[str, Any]) -> float:
    """Requests a second that a stage takes, on AWS."""
    (settings,) = stage["Properties"]["MethodSettings"]
    return float(settings["ThrottlingRateLimit"]["Fn::If"][2])


# ---- what grows -----------------------------------------------------------------------------------------------------


def test_what_aws_keeps_for_us_ends(resources: Resources) -> None:
    rules = resources["DataBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    ends = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "Prefix" in rule}
    kept_for_a_time = {
        "relay-failures/",
        "aws/lambda/",
        "firehose-errors/",
        "imports/",
        "athena-results/",
        "dagster-logs/",
    }
    assert kept_for_a_time <= set(ends)
    assert ends["relay-failures/"] == ends["aws/lambda/"] == ends["firehose-errors/"] == 90
    assert any(rule.get("NoncurrentVersionExpiration") == {"NoncurrentDays": 30} for rule in rules)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
    for name, queue in of_type(resources, "AWS::SQS::Queue").items():
        assert 0 < queue["Properties"]["MessageRetentionPeriod"] <= 1_209_600, name
    assert "AWS::Events::Archive" not in {resource["Type"] for resource in resources.values()}
    assert all("TimeToLiveSpecification" in resources[t]["Properties"] for t in ("RequestsTable", "TrackingTable"))


def test_every_log_stream_of_firehose_is_made_beside_it(resources: Resources, contracts: Contracts) -> None:
    streams = of_type(resources, "AWS::Logs::LogStream").values()
    assert {s["Properties"]["LogStreamName"] for s in streams} == {c.name for c in contracts.of_origin("stream")}
