"""What AWS documents in prose, and no linter knows: rules between resources, and limits of what is put together.

Each table says a limit as AWS's documentation of the service does. A rule about one literal property is the linter's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from ops.deployment.stacks import STACKS
from ops.deployment.templates import declared
from realtime.bundle import FUNCTIONS
from tests.support.iam import listed
from tests.support.made import FILLER, OF_NO_ENVIRONMENT, Made, made, of_kind, references, size, values
from tests.support.service_models import Seen, unfit

BOTH = pytest.mark.parametrize("environment", ["dev", "prod"])
"""The smallest environment and the largest: what mappings say differs."""


@cache
def schema(kind: str) -> Mapping[str, Any]:
    """What CloudFormation's registry says of a type, as cfn-lint brings it."""
    found: Mapping[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    return found


# ---- single properties whose value a mapping or a parameter gives ----------------------------------------------------

BUFFER = "ExtendedS3DestinationConfiguration.BufferingHints"
BOUNDS = {
    ("AWS::Athena::WorkGroup", "WorkGroupConfiguration.BytesScannedCutoffPerQuery"): (10_000_000, 10**18),
    ("AWS::CloudFront::Distribution", "DistributionConfig.Origins.*.CustomOriginConfig.OriginReadTimeout"): (1, 60),
    ("AWS::CodeBuild::Project", "TimeoutInMinutes"): (5, 2_160),
    ("AWS::ECS::TaskDefinition", "ContainerDefinitions.*.HealthCheck.Interval"): (5, 300),
    ("AWS::ECS::TaskDefinition", "ContainerDefinitions.*.HealthCheck.Retries"): (1, 10),
    ("AWS::ECS::TaskDefinition", "ContainerDefinitions.*.HealthCheck.StartPeriod"): (0, 300),
    ("AWS::ECS::TaskDefinition", "ContainerDefinitions.*.HealthCheck.Timeout"): (2, 60),
    ("AWS::ECS::TaskDefinition", "ContainerDefinitions.*.StopTimeout"): (0, 120),
    ("AWS::IAM::Role", "MaxSessionDuration"): (3_600, 43_200),
    # A stream that makes Parquet holds at least 64 MiB.
    ("AWS::KinesisFirehose::DeliveryStream", f"{BUFFER}.SizeInMBs"): (64, 128),
    ("AWS::KinesisFirehose::DeliveryStream", f"{BUFFER}.IntervalInSeconds"): (0, 900),
    ("AWS::Lambda::EventSourceMapping", "ScalingConfig.MaximumConcurrency"): (2, 1_000),
    ("AWS::RDS::DBInstance", "BackupRetentionPeriod"): (1, 35),
    ("AWS::SQS::Queue", "KmsDataKeyReusePeriodSeconds"): (60, 86_400),
    ("AWS::SQS::Queue", "MessageRetentionPeriod"): (60, 1_209_600),
    ("AWS::SQS::Queue", "VisibilityTimeout"): (0, 43_200),
    ("AWS::WAFv2::WebACL", "Rules.*.Statement.RateBasedStatement.Limit"): (10, 2_000_000_000),
}  # fmt: skip
"""The least and the most that AWS takes, by type and path."""


@BOTH
@pytest.mark.parametrize(("kind", "path"), BOUNDS)
def test_a_number_is_one_that_aws_takes(environment: str, kind: str, path: str) -> None:
    least, most = BOUNDS[kind, path]
    found = {one.label: [*values(one.properties, path)] for one in of_kind(environment, kind)}
    assert any(found.values()), "nothing has it: leave it out of the table"
    assert {n: v for n, v in found.items() if not all(least <= int(one) <= most for one in v)} == {}


FARGATE = {256: range(512, 2_049, 512), 512: range(1_024, 4_097, 1_024), 1_024: range(2_048, 8_193, 1_024),
    2_048: range(4_096, 16_385, 1_024), 4_096: range(8_192, 30_721, 1_024)}  # fmt: skip
"""The memory (MiB) that Fargate sells with a number of processors (1,024 is one)."""


def test_fargate_sells_processors_with_that_memory() -> None:
    for task in of_kind("prod", "AWS::ECS::TaskDefinition"):
        assert int(task.properties["Memory"]) in FARGATE[int(task.properties["Cpu"])], task.label


def test_what_a_template_gives_is_what_the_services_take() -> None:
    seen = Seen()
    assert [why for one in made("prod") for why in unfit(one, seen)] == []
    assert len(seen.paths) > 350


# ---- rules between properties and resources --------------------------------------------------------------------------


def test_a_service_that_never_has_more_tasks_than_it_needs_is_not_rebalanced() -> None:
    """Rebalancing is on where nothing is said, and starts a task more before it stops one."""
    for service in of_kind("prod", "AWS::ECS::Service"):
        if service.properties["DeploymentConfiguration"].get("MaximumPercent", 200) <= 100:
            assert service.properties.get("AvailabilityZoneRebalancing") == "DISABLED", service.label


def test_a_database_that_raises_its_minor_version_itself_names_none() -> None:
    """CloudFormation compares the version that is there with what is written as its beginning."""
    for database in of_kind("prod", "AWS::RDS::DBInstance"):
        properties = database.properties
        assert properties["AutoMinorVersionUpgrade"] is True
        assert re.fullmatch(r"\d+", properties["EngineVersion"]), database.label
        (settings,) = of_kind("prod", "AWS::RDS::DBParameterGroup")
        assert settings.properties["Family"] == f"{properties['Engine']}{properties['EngineVersion']}"


GATEWAY_WAITS = 29
"""Seconds that API Gateway waits for a function."""


def test_whoever_waits_for_an_answer_waits_longer_than_who_gives_it() -> None:
    (api,) = (one for one in of_kind("prod", "AWS::Lambda::Function") if one.name == "ApiFunction")
    assert api.properties["Timeout"] <= GATEWAY_WAITS
    (distribution,) = of_kind("prod", "AWS::CloudFront::Distribution")
    (waits,) = values(distribution.properties, "DistributionConfig.Origins.*.CustomOriginConfig.OriginReadTimeout")
    assert waits > GATEWAY_WAITS


def test_nothing_is_required_of_eventbridge_where_it_writes_to_a_topic() -> None:
    """AWS: there are no conditions for EventBridge in a topic's policy. What it does not send must not refuse it."""
    seen = 0
    for policy in of_kind("prod", "AWS::SNS::TopicPolicy"):
        for statement in policy.properties["PolicyDocument"]["Statement"]:
            if statement["Principal"] == {"Service": "events.amazonaws.com"} and statement["Effect"] == "Allow":
                seen += 1
                assert all(operator.endswith("IfExists") for operator in statement.get("Condition", {})), policy.label
    assert seen


DAY = 86_400


def test_an_alarm_looks_at_no_more_than_cloudwatch_keeps_in_mind() -> None:
    for alarm in of_kind("prod", "AWS::CloudWatch::Alarm"):
        metrics = alarm.properties.get("Metrics", ())
        periods = [int(one) for one in values(metrics, "*.MetricStat.Period")] or [int(alarm.properties["Period"])]
        assert all(period in (10, 20, 30) or period % 60 == 0 for period in periods), alarm.label
        assert max(periods) * alarm.properties["EvaluationPeriods"] <= DAY, alarm.label
        assert len([one for one in metrics if "MetricStat" in one]) <= 10, f"{alarm.label}: metrics"
        assert len([one for one in metrics if one.get("ReturnData", True)]) == (1 if metrics else 0), alarm.label
        assert len(alarm.properties.get("AlarmActions", ())) <= 5


def test_an_alarm_over_alarms_names_those_that_there_are() -> None:
    names = {one.properties["AlarmName"] for one in of_kind("prod", "AWS::CloudWatch::Alarm")}
    for alarm in of_kind("prod", "AWS::CloudWatch::CompositeAlarm"):
        rule = alarm.properties["AlarmRule"]
        named = re.findall(r'ALARM\("([^"]+)"\)', rule)
        assert set(named) <= names, alarm.label
        assert len(named) <= 100
        assert len(rule) <= 10_240


def test_a_mapping_has_no_more_patterns_than_lambda_takes() -> None:
    for mapping in of_kind("prod", "AWS::Lambda::EventSourceMapping"):
        patterns = [*values(mapping.properties, "FilterCriteria.Filters.*.Pattern")]
        assert len(patterns) <= 5, mapping.label
        assert all(len(one) <= 4_096 and isinstance(json.loads(one), dict) for one in patterns), mapping.label


WEIGHTS = {"AWSManagedRulesCommonRuleSet": 700, "AWSManagedRulesKnownBadInputsRuleSet": 200}
RATE, CUSTOM_KEY, BEGINS_WITH, TRANSFORMATION = 2, 30, 2, 10
MOST_WEIGHT = 1_500
"""Above it a request costs more."""


def weight(rule: Mapping[str, Any]) -> int:
    """Capacity units of a rule, as the WAF Developer Guide counts them; a statement that is not known raises."""
    ((kind, statement),) = rule.items()
    match kind:
        case "ManagedRuleGroupStatement":
            return WEIGHTS[statement["Name"]]
        case "RateBasedStatement":
            narrowed = statement.get("ScopeDownStatement")
            return RATE + CUSTOM_KEY * len(statement.get("CustomKeys", ())) + (weight(narrowed) if narrowed else 0)
        case "ByteMatchStatement":
            assert statement["PositionalConstraint"] == "STARTS_WITH"
            changed = [one for one in statement["TextTransformations"] if one["Type"] != "NONE"]
            return BEGINS_WITH + TRANSFORMATION * len(changed)
    raise AssertionError(f"what does {kind} weigh?")


def test_a_firewall_is_no_heavier_than_what_its_price_includes() -> None:
    for acl in of_kind("prod", "AWS::WAFv2::WebACL"):
        rules = acl.properties["Rules"]
        assert sum(weight(rule["Statement"]) for rule in rules) <= MOST_WEIGHT, acl.label
        assert sorted(rule["Priority"] for rule in rules) == [*range(len(rules))]


def test_a_function_takes_its_variables_and_whoever_may_call_it() -> None:
    """Its policy has a statement for each route."""
    functions = of_kind("prod", "AWS::Lambda::Function")
    assert len(functions) == len(FUNCTIONS)
    for function in functions:
        assert size(function.properties["Environment"]["Variables"]) <= 4_096, function.label
    sizes = Counter[str]()
    for permission in of_kind("prod", "AWS::Lambda::Permission"):
        sizes[json.dumps(permission.written["FunctionName"])] += size(statement_of(permission)) + len(",")
    assert max(sizes.values()) + 64 <= 20_480, "with what stands around the statements"


def statement_of(permission: Made) -> dict[str, Any]:
    """What Lambda adds to a function's policy for a permission."""
    return {
        "Sid": f"gavel-prod-{permission.name}-{'x' * 12}",
        "Effect": "Allow",
        "Principal": {"Service": permission.properties["Principal"]},
        "Action": permission.properties["Action"],
        "Resource": f"arn:aws:lambda:ap-southeast-1:{'1' * 12}:function:gavel-prod-authorizer:live",
        "Condition": {"ArnLike": {"AWS:SourceArn": permission.properties["SourceArn"].replace(FILLER, "x" * 10)}},
    }


# ---- policies --------------------------------------------------------------------------------------------------------


def test_iam_takes_the_policies_in_a_region_with_a_long_name() -> None:
    for policy in of_kind("prod", "AWS::IAM::ManagedPolicy"):
        assert size(policy.properties["PolicyDocument"]) <= 6_144, policy.label
    for role in of_kind("prod", "AWS::IAM::Role"):
        own = [policy["PolicyDocument"] for policy in role.properties.get("Policies", ())]
        assert sum(map(size, own)) <= 10_240, role.label
        assert len(role.properties.get("ManagedPolicyArns", ())) <= 10, role.label
        assert size(role.properties["AssumeRolePolicyDocument"]) <= 2_048, role.label


DOCUMENTS = {"AWS::KMS::Key": ("KeyPolicy", 32_768), "AWS::S3::BucketPolicy": ("PolicyDocument", 20_480),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", 30_720)}  # fmt: skip


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_resource_takes_its_policy(kind: str) -> None:
    name, most = DOCUMENTS[kind]
    assert {one.label for one in of_kind("prod", kind) if size(one.properties[name]) > most} == set()


# ---- names -----------------------------------------------------------------------------------------------------------

NAMES = {
    "AWS::ApiGateway::UsagePlan": ("UsagePlanName", 255),
    "AWS::Athena::WorkGroup": ("Name", 128),
    "AWS::Budgets::Budget": ("Budget.BudgetName", 100),
    "AWS::CloudFront::CachePolicy": ("CachePolicyConfig.Name", 128),
    "AWS::CloudFront::Function": ("Name", 64),
    "AWS::CloudFront::OriginAccessControl": ("OriginAccessControlConfig.Name", 64),
    "AWS::CloudFront::ResponseHeadersPolicy": ("ResponseHeadersPolicyConfig.Name", 128),
    "AWS::CloudTrail::Trail": ("TrailName", 128),
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::CloudWatch::CompositeAlarm": ("AlarmName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
    "AWS::CodeBuild::Project": ("Name", 150),
    "AWS::CodePipeline::Pipeline": ("Name", 100),
    "AWS::Cognito::UserPool": ("UserPoolName", 128),
    "AWS::DynamoDB::Table": ("TableName", 255),
    "AWS::ECR::Repository": ("RepositoryName", 256),
    "AWS::ECS::Cluster": ("ClusterName", 255),
    "AWS::ECS::Service": ("ServiceName", 255),
    "AWS::ECS::TaskDefinition": ("Family", 255),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": ("Name", 32),
    "AWS::Events::EventBus": ("Name", 256),
    "AWS::Events::Rule": ("Name", 64),
    "AWS::Glue::Database": ("DatabaseInput.Name", 255),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", 128),
    "AWS::IAM::Role": ("RoleName", 64),
    "AWS::KMS::Alias": ("AliasName", 256),
    "AWS::KinesisFirehose::DeliveryStream": ("DeliveryStreamName", 64),
    "AWS::LakeFormation::Tag": ("TagKey", 128),
    "AWS::Lambda::Function": ("FunctionName", 64),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::Logs::QueryDefinition": ("Name", 255),
    "AWS::RDS::DBInstance": ("DBInstanceIdentifier", 63),
    "AWS::S3::Bucket": ("BucketName", 63),
    "AWS::SNS::Topic": ("TopicName", 256),
    "AWS::SQS::Queue": ("QueueName", 80),
    "AWS::ServiceDiscovery::PrivateDnsNamespace": ("Name", 253),
    "AWS::WAFv2::WebACL": ("Name", 128),
}
"""Where a type has the name that is its own in the account, and how long it may be."""
OF_ITS_PARENT = {
    "AWS::ApiGateway::RestApi", "AWS::ApiGateway::Stage", "AWS::Athena::NamedQuery", "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolDomain", "AWS::Cognito::UserPoolGroup", "AWS::Glue::Table", "AWS::Lambda::Alias",
    "AWS::Logs::LogStream", "AWS::ServiceDiscovery::Service",
}  # fmt: skip
"""Types whose names need be unique within something of the environment alone, or not at all."""


NO_NAME = {("AWS::CodeDeploy::DeploymentGroup", "DeploymentConfigName"), ("AWS::EC2::VPCEndpoint", "ServiceName"),
    ("AWS::RDS::DBParameterGroup", "Family")}  # fmt: skip
"""Properties that are called so and name something else."""


def named(environment: str) -> Iterator[tuple[Made, str]]:
    """Every resource with a name of its own, and that name."""
    for one in made(environment):
        if one.kind in NAMES:
            for name in values(one.properties, NAMES[one.kind][0]):
                yield one, name


def test_every_type_that_takes_a_name_is_known() -> None:
    taking = {
        one.kind
        for one in made("prod")
        for name in one.properties
        if re.search(r"^(Name|Family|\w+Name|\w+Identifier)$", name)
        and (one.kind, name) not in NO_NAME
        and isinstance(one.properties[name], str)
        and references(one.written[name]) <= {"Environment", "AWS::AccountId", "AWS::Region", "AWS::Partition"}
    }
    assert taking - NAMES.keys() - OF_ITS_PARENT == set()


def test_names_fit_and_are_those_of_one_resource_of_one_environment() -> None:
    names = Counter((one.kind, name) for one, name in named("prod"))
    assert [key for key, times in names.items() if times > 1] == []
    for one, name in named("prod"):
        assert len(name) <= NAMES[one.kind][1], (one.label, name)
        own = one.stack != OF_NO_ENVIRONMENT
        assert bool(re.search(r"(^|\W|_)prod(\W|_|$)", name)) == own or f"-{one.stack}-" in f"-{name}-", (
            one.label,
            name,
        )


def test_an_environments_names_are_no_beginning_of_anothers() -> None:
    """Rights name what begins with gavel-<environment>."""
    (allowed,) = {tuple(environments(stack.key)) for stack in STACKS}
    assert {(a, b) for a in allowed for b in allowed if a != b and b.startswith(a)} == set()
    assert not any(OF_NO_ENVIRONMENT.startswith(one) for one in allowed)


def environments(stack: str) -> list[str]:
    """The environments that a template knows, but for that of the laptop."""
    return [one for one in declared(stack)["Environment"]["AllowedValues"] if one != "local"]


STAYS = {("pipeline.Database", "KmsKeyId"): "the key of the environment's data, which no deployment replaces"}
"""What a resource with a name of its own cannot have changed, although a parameter gives it."""
REVISIONS = {"AWS::ECS::TaskDefinition"}
"""Types of which several have one name."""


def test_no_parameter_replaces_what_has_a_name_of_its_own() -> None:
    """CloudFormation makes the new one first, and its name is taken: the update fails."""
    found = set()
    for one, _ in named("prod"):
        (name,) = values(one.written, NAMES[one.kind][0])
        parameters = set() if one.stack == OF_NO_ENVIRONMENT else declared(one.stack).keys() - {"Environment"}
        for property_ in schema(one.kind).get("createOnlyProperties", ()) if one.kind not in REVISIONS else ():
            for value in values(one.written, property_.removeprefix("/properties/").replace("/", ".")):
                if references(value) & parameters - references(name):
                    found.add((one.label, property_.rpartition("/")[2]))
    assert found == STAYS.keys()


# ---- tags ------------------------------------------------------------------------------------------------------------

KIND_OF = {
    ("cloudfront", "distribution"): "AWS::CloudFront::Distribution",
    ("cognito-idp", "userpool"): "AWS::Cognito::UserPool",
    ("kms", "key"): "AWS::KMS::Key",
}
"""What an ARN in a right that depends on tags is of."""
MADE_BY = {
    "cloudfront:CreateDistribution": "AWS::CloudFront::Distribution",
    "cognito-idp:CreateUserPool": "AWS::Cognito::UserPool",
    "kms:CreateKey": "AWS::KMS::Key",
}
OF_SERVICES = {"aws:rds:primaryDBInstanceArn"}
"""Tags that a service itself puts on what it makes."""


def statements(environment: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every statement of a role or a policy, with where it is."""
    for one in made(environment):
        documents = (
            [policy["PolicyDocument"] for policy in one.properties.get("Policies", ())] if "Role" in one.kind else []
        )
        if one.kind == "AWS::IAM::ManagedPolicy":
            documents.append(one.properties["PolicyDocument"])
        for document in documents:
            for statement in document["Statement"]:
                yield f"{one.label}.{statement.get('Sid')}", statement


def keys_of(statement: Mapping[str, Any], prefix: str) -> set[str]:
    """The tags that a statement's conditions name by a condition key."""
    keys = (key for operator in statement.get("Condition", {}).values() for key in operator)
    return {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}


def test_what_is_allowed_by_a_tag_is_of_a_type_that_gets_that_tag() -> None:
    """CloudFormation gives a stack's tags to types that take them, and its own (`aws:cloudformation:…`) to fewer."""
    kinds = {one.kind for one in made("prod")}
    seen = set()
    for label, statement in statements("prod"):
        tags = keys_of(statement, "aws:ResourceTag/") - OF_SERVICES
        if statement["Effect"] == "Deny" or not tags:
            continue
        for arn in listed(statement["Resource"]):
            _, _, service, _, _, rest = arn.split(":", 5)
            kind = KIND_OF[service, re.split("[/:]", rest)[0]]
            seen.add(kind)
            assert kind in kinds, label
            tagging = schema(kind)["tagging"]
            assert tagging["taggable"], label
            assert tagging["tagOnCreate"], label
            system = {tag for tag in tags if tag.startswith("aws:")}
            assert not system or tagging["cloudFormationSystemTags"], (label, system)
    assert seen == set(KIND_OF.values())


def test_what_is_made_by_its_tags_is_tagged_as_it_is_made() -> None:
    seen = set()
    for label, statement in statements("prod"):
        if keys_of(statement, "aws:RequestTag/") and "sts:" not in json.dumps(statement["Action"]):
            for action in set(listed(statement["Action"])) & MADE_BY.keys():
                seen.add(action)
                assert schema(MADE_BY[action])["tagging"]["tagOnCreate"], label
    assert seen == MADE_BY.keys()


BOUND_BY_NAME = {
    "AWS::Athena::NamedQuery", "AWS::Glue::Database", "AWS::Glue::Table", "AWS::IAM::ManagedPolicy", "AWS::KMS::Alias",
    "AWS::LakeFormation::PrincipalPermissions", "AWS::LakeFormation::Resource", "AWS::LakeFormation::Tag",
    "AWS::LakeFormation::TagAssociation", "AWS::Logs::QueryDefinition",
}  # fmt: skip
PART_OF_WHAT_HAS_TAGS = {
    "AWS::ApiGateway::Deployment", "AWS::Cognito::UserPoolClient", "AWS::Cognito::UserPoolDomain",
    "AWS::Cognito::UserPoolGroup", "AWS::EC2::Route", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCGatewayAttachment", "AWS::Lambda::Alias",
    "AWS::Lambda::Permission", "AWS::Lambda::Version", "AWS::Logs::LogStream", "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy", "AWS::WAFv2::WebACLAssociation",
}  # fmt: skip
OF_THE_ACCOUNT = {"AWS::ApiGateway::Account", "AWS::LakeFormation::DataLakeSettings"}
OPEN = {
    "AWS::CloudFront::CachePolicy",
    "AWS::CloudFront::OriginAccessControl",
    "AWS::CloudFront::ResponseHeadersPolicy",
}
"""What no name and no tag keeps apart: rules of caching and headers (deploy/wildcards.yaml says so)."""


def test_what_takes_no_tags_is_kept_apart_otherwise_or_known_to_be_open() -> None:
    """`NothingOfAnotherEnvironment` goes by tags: each type that gets none has its place in one of the lists."""
    bare = {one.kind for one in made("prod") if not takes_tags(one.kind)}
    lists = (BOUND_BY_NAME, PART_OF_WHAT_HAS_TAGS, OF_THE_ACCOUNT, OPEN)
    assert bare == set().union(*lists)
    assert sum(map(len, lists)) == len(bare)


def takes_tags(kind: str) -> bool:
    """Whether a stack's tags get to resources of a type; where the registry says nothing, whether it has any."""
    found = schema(kind)
    tagging = found.get("tagging")
    return bool(tagging["taggable"]) if tagging else "Tags" in found["properties"]


def test_a_tag_that_a_template_writes_is_what_the_stack_has() -> None:
    """It would win over the stack's, and put a resource into another environment."""
    seen = 0
    for one in made("prod"):
        written = one.properties.get(schema(one.kind).get("tagging", {}).get("tagProperty", "/Tags").rpartition("/")[2])
        tags = written if isinstance(written, dict) else {tag["Key"]: tag["Value"] for tag in written or ()}
        seen += "environment" in tags
        assert tags.get("application", "gavel") == "gavel", one.label
        assert tags.get("environment", "prod") == "prod", one.label
    assert seen > 20
