"""Each service that works with a grant on one of our keys gets it, in the name of who deploys, and nobody else does.

Which services do, say their guides: DynamoDB ("Encryption at rest: usage notes"), RDS ("AWS KMS key management",
"Password management with Amazon RDS and AWS Secrets Manager"), ECR ("Encryption at rest"). Nothing here is on AWS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.expanded import CODEPIPELINE, expanded, expanded_file, expanded_stack
from tests.support.grants import Grant, may_make, may_retire, permits_with
from tests.support.iam import Request, Rights, Statement
from tests.support.policies import ACCOUNT, REGION, listed, resolved

STACKS = {
    "codepipeline": expanded_file(CODEPIPELINE)["Resources"],
    "realtime": expanded("prod")["Resources"],
    **{
        name: expanded_stack(name, "prod")["Resources"] for name in ("delivery", "foundation", "governance", "pipeline")
    },
}
DATA = frozenset(
    {"Decrypt", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo", "DescribeKey", "RetireGrant"}
)
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"


def through(service: str) -> str:
    return f"{service}.{REGION}.amazonaws.com"


def table(name: str) -> Grant:
    pairs = {"aws:dynamodb:tableName": name, "aws:dynamodb:subscriberId": ACCOUNT}
    return Grant(KEY, through("dynamodb"), DATA, pairs, retiring=through("dynamodb"))


def repository(name: str) -> Grant:
    """AWS does not say who the grantee is."""
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"
    return Grant(KEY, through("ecr"), frozenset({"Decrypt", "GenerateDataKey"}), {"aws:ecr:arn": arn})


def database(service: str) -> Grant:
    return Grant(KEY, through(service), DATA | {"CreateGrant"}, retiring=through(service))


WITH_GRANTS = {
    ("AWS::DynamoDB::Table", "KMSMasterKeyId"): ("dynamodb",),
    ("AWS::ECR::Repository", "KmsKey"): ("ecr",),
    ("AWS::RDS::DBInstance", "KmsKeyId"): ("rds", "secretsmanager"),  # of the instance, and of its secret
    ("AWS::RDS::DBInstance", "PerformanceInsightsKMSKeyId"): ("rds",),
}
"""What names a key, by type and property, and through which services grants on it are made."""
WITHOUT = {
    ("AWS::Athena::WorkGroup", "KmsKey"): "S3 encrypts results in the name of who queries",
    ("AWS::CodeBuild::Project", "EncryptionKey"): "S3 encrypts what a build leaves in the name of its role",
    ("AWS::CodePipeline::Pipeline", "EncryptionKey"): "S3 encrypts in the name of the pipeline's role",
    ("AWS::CloudTrail::Trail", "KMSKeyId"): "the key's policy names CloudTrail",
    ("AWS::Events::EventBus", "KmsKeyIdentifier"): "the key's policy names EventBridge",
    ("AWS::Logs::LogGroup", "KmsKeyId"): "the key's policy names CloudWatch Logs",
    ("AWS::S3::Bucket", "KMSMasterKeyID"): "S3 encrypts in the name of who writes",
    ("AWS::SNS::Topic", "KmsMasterKeyId"): "SNS encrypts in the name of who publishes, or the policy names the service",
    ("AWS::SQS::Queue", "KmsMasterKeyId"): "SQS encrypts in the name of who sends, or the policy names the service",
}
"""What names a key and works without grants, with how it does."""
KEY_PROPERTIES = frozenset({"kmskey", "kmskeyarn", "kmskeyid", "kmskeyidentifier", "kmsmasterkeyid", "keyarn",
    "performanceinsightskmskeyid", "encryptionkeyarn", "kmskeyaliasarn", "encryptionkey", "awskmskeyarn"})  # fmt: skip


def named(value: Any) -> Iterator[str]:
    """The properties in a resource that name a key."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name.lower() in KEY_PROPERTIES:
                yield name
            yield from named(part)
    elif isinstance(value, list):
        for part in value:
            yield from named(part)


def uses() -> set[tuple[str, str]]:
    return {
        (resource["Type"], name)
        for resources in STACKS.values()
        for resource in resources.values()
        for name in named(resource.get("Properties", {}))
    }


def test_of_everything_that_is_encrypted_with_our_keys_it_is_known_whether_it_needs_grants() -> None:
    assert uses() == {*WITH_GRANTS, *WITHOUT}


KEYS = dict.fromkeys(("DataKey", "Key", "SigningKey"), KEY)
PIPELINE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/gavel-prod-runs"
ANY = {name: f"arn:aws:iam::{ACCOUNT}:role/{name}" for resources in STACKS.values() for name in resources}
"""Of other resources only a name is needed: rights on keys are what counts here."""
NAMES = {**ANY, **KEYS, "Environment": "prod", "PipelineRole": PIPELINE_ROLE, "ProviderArn": "arn:aws:iam::1:x"}
Policy = list[Statement]


def plain(value: Any) -> Any:
    """A part of a template with what a stack of production takes of its conditions."""
    if isinstance(value, dict):
        return plain(value["Fn::If"][1]) if "Fn::If" in value else {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


def of_keys(document: Mapping[str, Any]) -> Policy:
    """The statements of a policy that may be about keys."""
    statements = [s for s in plain(document["Statement"]) if s != {"Ref": "AWS::NoValue"}]
    about = [
        s
        for s in statements
        if "NotAction" in s or any(a == "*" or a.lower().startswith("kms:") for a in listed(s["Action"]))
    ]
    found: Policy = resolved(about, NAMES)
    return found


def key(name: str) -> Policy:
    """What the policy of one of our keys says, by stack and name."""
    stack, _, resource = name.partition(".")
    return of_keys(STACKS[stack][resource]["Properties"]["KeyPolicy"])


def policies() -> dict[str, Policy]:
    """Every policy of roles and people in the stacks, by stack and name."""
    found = {}
    for stack, resources in STACKS.items():
        for name, resource in resources.items():
            own = resource.get("Properties", {})
            if resource["Type"] == "AWS::IAM::ManagedPolicy":
                found[f"{stack}.{name}"] = of_keys(own["PolicyDocument"])
            if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::RolePolicy"):
                for policy in plain(own.get("Policies", [own] if "PolicyDocument" in own else [])):
                    found[f"{stack}.{name}.{policy['PolicyName']}"] = of_keys(policy["PolicyDocument"])
    return found


POLICIES = policies()
DEPLOYS = f"arn:aws:iam::{ACCOUNT}:role/gavel-prod-cloudformation"
ROOM = [n for n, r in STACKS["delivery"].items() if r["Type"] == "AWS::IAM::ManagedPolicy" and n.startswith("Makes")]
EXECUTE: Policy = [s for name in ROOM for s in POLICIES[f"delivery.{name}"]]
ENCRYPTING = sorted(
    f"{stack}.{name}"
    for stack, resources in STACKS.items()
    for name, resource in resources.items()
    if resource["Type"] == "AWS::KMS::Key" and "KeySpec" not in resource["Properties"]
)
GRANTS = {
    "dynamodb": table("gavel-prod"),
    "ecr": repository("gavel-prod"),
    "rds": database("rds"),
    "secretsmanager": database("secretsmanager"),
}
OTHERS = ("athena", "backup", "ec2", "elasticfilesystem", "events", "firehose", "glue", "kinesis", "lambda", "redshift",
    "s3", "sagemaker", "sns", "sqs", "ssm")  # fmt: skip


def deploys(name: str) -> Rights:
    """CloudFormation's role, before one of our keys."""
    return Rights(EXECUTE, of_resource=key(name), principal=DEPLOYS)


def test_the_services_that_need_a_grant_get_it_in_the_name_of_cloudformation() -> None:
    needed = {service for services in WITH_GRANTS.values() for service in services}
    assert needed == set(GRANTS)
    for service, grant in GRANTS.items():
        name = "foundation.Key" if service == "ecr" else "realtime.Key"
        assert may_make(deploys(name), grant, through(service)), service
        assert not may_make(deploys(name), grant, through(service).replace(REGION, "us-east-1")), service


@pytest.mark.parametrize("name", ENCRYPTING)
def test_cloudformation_gives_no_grant_to_another_service_and_none_to_anybody(name: str) -> None:
    assert len(ENCRYPTING) == 4
    for service in OTHERS:
        assert not may_make(deploys(name), Grant(KEY, through(service), DATA), through(service)), service
    for grantee in (DEPLOYS, f"arn:aws:iam::{ACCOUNT}:role/gavel-prod-runs", "arn:aws:iam::999999999999:root"):
        assert not may_make(deploys(name), Grant(KEY, grantee, frozenset({"Decrypt"}))), grantee


def test_no_other_policy_lets_anybody_make_or_end_a_grant() -> None:
    assert len(POLICIES) > 30
    leaving = key("foundation.Key")  # it leaves all to policies of the account
    for holder, statements in POLICIES.items():
        rights = Rights(statements, of_resource=leaving, principal=f"arn:aws:iam::{ACCOUNT}:role/somebody")
        for service in ("", *GRANTS, *OTHERS) if statements else ():
            grant, by = Grant(KEY, through("dynamodb"), DATA), through(service) if service else ""
            done = (may_make(rights, grant, by), may_retire(rights, grant, by))
            mine = holder == "delivery.MakesUnnamed"
            assert done == (mine and service in GRANTS, mine and service == "ecr"), (holder, service)


def test_a_repository_that_goes_takes_its_grant_along() -> None:
    """ECR ends it in the name of who deletes the repository; DynamoDB and RDS are named in theirs."""
    assert may_retire(deploys("foundation.Key"), GRANTS["ecr"], through("ecr"))
    assert not may_retire(deploys("foundation.Key"), GRANTS["ecr"])
    for service in ("dynamodb", "rds"):
        own = Rights([], of_resource=key("realtime.Key"), principal=through(service))
        assert may_retire(own, GRANTS[service])


@pytest.mark.parametrize("service", ["dynamodb", "rds"])
def test_what_a_service_asks_for_before_it_has_its_grant_is_allowed(service: str) -> None:
    """DynamoDB lists these; RDS needs them of an instance's key as well."""
    needed = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext", "DescribeKey")  # fmt: skip
    for action in needed:
        request = Request(f"kms:{action}", KEY, {"kms:ViaService": through(service)})
        assert permits_with(deploys("realtime.Key"), [], request), action
    assert not permits_with(deploys("realtime.Key"), [], Request("kms:ReEncryptFrom", KEY))


def test_with_its_grant_a_service_uses_the_key_for_its_own_table_alone() -> None:
    service = Rights([], of_resource=key("realtime.Key"), principal=through("dynamodb"))
    pairs = {f"kms:EncryptionContext:{name}": value for name, value in (table("gavel-prod").subset or {}).items()}
    decrypt = Request("kms:Decrypt", KEY, pairs)
    assert permits_with(service, [table("gavel-prod")], decrypt)
    assert not permits_with(service, [table("gavel-prod-requests")], decrypt)
    assert not permits_with(service, [], decrypt)


def test_no_grant_lets_anybody_sign_proofs_but_runs() -> None:
    """The key's policy forbids it to all others, and no grant beats that."""
    signing = key("realtime.SigningKey")
    request = Request("kms:Sign", KEY)
    for who, may in (("gavel-prod-runs", True), ("administrator", False)):
        principal = f"arn:aws:iam::{ACCOUNT}:role/{who}"
        grant = Grant(KEY, principal, frozenset({"Sign"}))
        assert permits_with(Rights([], of_resource=signing, principal=principal), [grant], request) is may
    service = Rights([], of_resource=signing, principal=through("lambda"))
    assert not permits_with(service, [Grant(KEY, through("lambda"), frozenset({"Sign"}))], request)
