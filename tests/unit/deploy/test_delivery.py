"""Who may deploy without a person's credentials: jobs of one repository, branch and GitHub environment, and what they
may is no more than a deployment needs."""

from __future__ import annotations

import hashlib
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ops.deployment.parts import IN_A_REQUEST, template_argument
from ops.deployment.templates import FILES, declared, parsed
from ops.drift.resolving import Resolver
from tests.support.authorization import services
from tests.support.expanded import expanded, expanded_stack
from tests.support.policies import ACCOUNT, REGION, Statement, allowed, arns, documents, listed, resolved

ROOT = Path(__file__).parents[3]
AWS = services()
GITHUB = "token.actions.githubusercontent.com"
IAM = f"arn:aws:iam::{ACCOUNT}"
STACKS = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack"
EXECUTION = f"{IAM}:role/gavel-prod-cloudformation"
BOUNDARY = f"{IAM}:policy/gavel-prod-boundary"
NAMES = {
    "Environment": "prod",
    "Repository": "house/gavel",
    "Branch": "main",
    "Provider": f"{IAM}:oidc-provider/{GITHUB}",
    "ProviderArn": "",
    "ExecutionRole": EXECUTION,
    "Boundary": BOUNDARY,
}
RESOURCES = dict(expanded_stack("delivery", "prod")["Resources"])


def rights(role: str) -> list[Statement]:
    return [s for d in documents(RESOURCES[role], RESOURCES) for s in resolved(d["Statement"], NAMES)]


PLAN, DEPLOY, EXECUTE = rights("PlanRole"), rights("DeployRole"), rights("ExecutionRole")
REPAIR = list(resolved(RESOURCES["RepairPolicy"]["Properties"]["PolicyDocument"]["Statement"], NAMES))
BOUNDED = list(resolved(RESOURCES["Boundary"]["Properties"]["PolicyDocument"]["Statement"], NAMES))


def trust(role: str, **parameters: str) -> Any:
    """The conditions under which a job takes a role on, as CloudFormation fills them in."""
    document = parsed(FILES["delivery"].read_text("utf-8"))
    given = {n: str(p.get("Default", "")) for n, p in document["Parameters"].items()}
    resolver = Resolver(document, {**given, "Environment": "prod", "Repository": "house/gavel", **parameters}, {}, {})
    (trusted,) = document["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    return resolver.value(trusted["Condition"])


@pytest.mark.parametrize(
    ("role", "environment"), [("PlanRole", "prod-plan"), ("DriftRole", "prod-plan"), ("DeployRole", "prod")]
)
def test_a_job_is_known_by_repository_branch_and_environment(role: str, environment: str) -> None:
    (trusted,) = RESOURCES[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert list(trusted["Principal"]) == ["Federated"]
    assert trust(role) == {
        "StringEquals": {
            f"{GITHUB}:aud": "sts.amazonaws.com",
            f"{GITHUB}:sub": f"repo:house/gavel:environment:{environment}",
            f"{GITHUB}:repository": "house/gavel",
            f"{GITHUB}:ref": "refs/heads/main",
        }
    }
    assert RESOURCES["Provider"]["Properties"] == {"Url": f"https://{GITHUB}", "ClientIdList": ["sts.amazonaws.com"]}


@pytest.mark.parametrize(
    ("role", "environment"), [("PlanRole", "prod-plan"), ("DriftRole", "prod-plan"), ("DeployRole", "prod")]
)
def test_a_repository_that_github_names_with_its_ids_is_known_by_them_and_no_longer_by_names_alone(
    role: str, environment: str
) -> None:
    """A name may be somebody else's one day; the claim `repository` goes on having names."""
    found = trust(role, RepositoryInSubject="house@12/gavel@34")["StringEquals"]
    assert found[f"{GITHUB}:sub"] == f"repo:house@12/gavel@34:environment:{environment}"
    assert found[f"{GITHUB}:repository"] == "house/gavel"


def test_no_subject_can_be_a_pattern() -> None:
    """`StringEquals` has none; nor does a parameter let one in, should somebody write `StringLike`."""
    for name in ("Repository", "RepositoryInSubject", "Branch"):
        pattern = declared("delivery")[name]["AllowedPattern"]
        assert not [text for text in ("house/*", "house/gave?", "*/*", "house/gavel:x") if re.fullmatch(pattern, text)]


def test_there_is_no_key_and_cloudformation_alone_takes_on_its_role() -> None:
    kinds = {r["Type"] for r in RESOURCES.values()}
    assert kinds == {"AWS::IAM::OIDCProvider", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"}
    (trusted,) = RESOURCES["ExecutionRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "cloudformation.amazonaws.com"}
    assert set(trusted["Condition"]) == {"StringEqualsIfExists", "ArnLikeIfExists"}


def test_a_plan_has_the_rights_that_the_page_lists() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    text = page[page.index("**Rights of who runs it.**") :].split("\n\n", 1)[0]
    written = set(re.findall(r"`(\w+:\w+)`", text)) - {"sts:GetCallerIdentity", "cloudformation:DeleteStack"}
    granted = {a for s in PLAN if s["Effect"] == "Allow" for a in listed(s["Action"])}
    assert granted - written == {"glue:GetTable", "s3:ListBucket"}  # of the plan of schemas, and of the models' state
    assert written <= granted


@pytest.mark.parametrize(("dry", "who"), [(True, "PlanRole"), (False, "DeployRole")])
def test_a_template_is_written_where_only_who_approved_it_may_write(dry: bool, who: str) -> None:
    """A plan, which nobody approves, could else put another one under the name that a deployment is about to read."""
    written: list[str] = []

    class Bucket:
        meta = SimpleNamespace(endpoint_url="https://s3")

        def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
            written.append(f"arn:aws:s3:::{Bucket}/{Key}")

    argument = template_argument(Bucket(), f"gavel-prod-code-{ACCOUNT}", "x" * (IN_A_REQUEST + 1), dry)
    assert argument is not None
    assert argument["TemplateURL"].endswith(written[0].removeprefix("arn:aws:s3:::"))
    assert allowed(rights(who), "s3:PutObject", written[0])
    assert allowed(rights(who), "s3:GetObject", written[0])
    assert allowed(PLAN, "s3:PutObject", written[0]) is dry


UNDER, TO_LAMBDA = {"iam__PermissionsBoundary": BOUNDARY}, {"iam__PassedToService": "lambda.amazonaws.com"}
TO_CODEDEPLOY = {"iam__PassedToService": "codedeploy.amazonaws.com"}
SHIFTS, CANARY = f"arn:aws:codedeploy:{REGION}:{ACCOUNT}", "CodeDeployDefault.LambdaCanary10Percent5Minutes"
CHANGE_SET, NEW = "cloudformation:CreateChangeSet", f"{STACKS}/gavel-prod/1"
DATA = f"arn:aws:s3:::gavel-prod-data-{ACCOUNT}"
CODE = f"arn:aws:s3:::gavel-prod-code-{ACCOUNT}"
POOL = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/a"
BALANCER = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
RECORD = "route53__ChangeResourceRecordSetsNormalizedRecordNames"
RECORDS, ZONE = "route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/Z1"
TAGGED = {"aws__ResourceTag/application": "gavel", "aws__ResourceTag/environment": "prod"}
OF_TEST = {**TAGGED, "aws__ResourceTag/environment": "test"}
NEWLY = {"aws__RequestTag/application": "gavel", "aws__RequestTag/environment": "prod"}
SIGN_IN, API = "cognito-idp:UpdateUserPool", f"arn:aws:apigateway:{REGION}::/restapis/a/stages/prod"
SITE = f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
ACL = f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl"
TO_DYNAMODB = {"kms__ViaService": f"dynamodb.{REGION}.amazonaws.com", "kms__GrantIsForAWSResource": "true"}
THROUGH_S3 = {"kms__ViaService": f"s3.{REGION}.amazonaws.com"}


@pytest.mark.parametrize(
    ("who", "action", "resource", "context", "may"),
    [
        (PLAN, CHANGE_SET, NEW, {}, True),
        (PLAN, "cloudformation:ExecuteChangeSet", NEW, {}, False),
        (PLAN, CHANGE_SET, f"{STACKS}/gavel-test/1", {}, False),
        (PLAN, "iam:PassRole", EXECUTION, {"iam__PassedToService": "cloudformation.amazonaws.com"}, False),
        (PLAN, "s3:GetObject", f"{DATA}/warehouse/orders/metadata/1.json", {}, True),
        (PLAN, "s3:GetObject", f"{DATA}/warehouse/orders/data/1.parquet", {}, False),
        (PLAN, "s3:PutObject", f"{CODE}/bundles/api.zip", {}, False),
        (PLAN, "s3:PutObject", f"{CODE}/templates/0a", {}, False),
        (DEPLOY, "s3:PutObject", f"{CODE}/templates/0a", {}, True),
        (DEPLOY, CHANGE_SET, NEW, {"cloudformation__RoleArn": EXECUTION}, True),
        (DEPLOY, CHANGE_SET, NEW, {}, False),
        (DEPLOY, CHANGE_SET, NEW, {"cloudformation__RoleArn": f"{IAM}:role/admin"}, False),
        (DEPLOY, "cloudformation:ExecuteChangeSet", NEW, {}, True),
        (DEPLOY, "cloudformation:ExecuteChangeSet", f"{STACKS}/gavel-prod-delivery/1", {}, False),
        (DEPLOY, "cloudformation:DeleteStack", NEW, {}, False),
        (DEPLOY, "iam:PassRole", EXECUTION, {"iam__PassedToService": "cloudformation.amazonaws.com"}, True),
        (DEPLOY, "iam:PassRole", EXECUTION, TO_LAMBDA, False),
        (DEPLOY, "s3:PutObject", f"{CODE}/bundles/api.zip", {}, True),
        (DEPLOY, "s3:GetObject", f"{DATA}/warehouse/orders/data/1.parquet", {}, False),
        (DEPLOY, "s3:GetObject", f"{DATA}/marts/gavel_work_marts_prod/fct_orders/1/data/1.parquet", {}, True),
        (DEPLOY, "s3:GetObject", f"{DATA}/marts/gavel_work_marts_prod/dim_customer/1/data/1.parquet", {}, False),
        (DEPLOY, "cognito-idp:AdminCreateUser", POOL, {"aws__ResourceTag/application": "gavel"}, False),
        (DEPLOY, "cognito-idp:AdminCreateUser", POOL, TAGGED, True),
        (DEPLOY, "cognito-idp:AdminGetUser", POOL, TAGGED, False),
        (EXECUTE, "iam:CreateRole", f"{IAM}:role/gavel-prod-runs", UNDER, True),
        (EXECUTE, "iam:CreateRole", f"{IAM}:role/gavel-prod-runs", {}, False),
        (EXECUTE, "iam:CreateRole", f"{IAM}:role/admin", UNDER, False),
        (EXECUTE, "iam:PutRolePolicy", f"{IAM}:role/gavel-prod-runs", {}, False),
        (EXECUTE, "iam:AttachRolePolicy", f"{IAM}:role/gavel-prod-deploy", UNDER, False),
        (EXECUTE, "iam:UpdateAssumeRolePolicy", f"{IAM}:role/gavel-prod-runs", {}, True),
        (EXECUTE, "iam:UpdateAssumeRolePolicy", EXECUTION, {}, False),
        (EXECUTE, "iam:CreatePolicyVersion", f"{IAM}:policy/gavel-prod-builds", {}, True),
        (EXECUTE, "iam:CreatePolicyVersion", BOUNDARY, {}, False),
        (EXECUTE, "iam:CreatePolicyVersion", f"{IAM}:policy/gavel-prod-cloudformation-roles", {}, False),
        (EXECUTE, "iam:DeleteRolePermissionsBoundary", f"{IAM}:role/gavel-prod-runs", {}, False),
        (EXECUTE, "iam:PassRole", f"{IAM}:role/gavel-prod-runs", TO_LAMBDA, True),
        (EXECUTE, "iam:PassRole", f"{IAM}:role/gavel-prod-deploy", TO_LAMBDA, False),
        (EXECUTE, "iam:CreateUser", f"{IAM}:user/gavel-prod-x", {}, False),
        (EXECUTE, "codedeploy:CreateDeployment", f"{SHIFTS}:deploymentgroup:gavel-prod-app/gavel-prod-api", {}, True),
        (EXECUTE, "codedeploy:GetDeploymentConfig", f"{SHIFTS}:deploymentconfig:{CANARY}", {}, True),
        (EXECUTE, "codedeploy:CreateDeployment", f"{SHIFTS}:deploymentgroup:gavel-test-app/gavel-test-api", {}, False),
        (EXECUTE, "iam:PassRole", f"{IAM}:role/gavel-prod-RolloutRole-1", TO_CODEDEPLOY, True),
        (DEPLOY, "codedeploy:GetDeployment", f"{SHIFTS}:deploymentgroup:gavel-prod-app/gavel-prod-api", {}, True),
        (DEPLOY, "codedeploy:CreateDeployment", f"{SHIFTS}:deploymentgroup:gavel-prod-app/gavel-prod-api", {}, False),
        (DEPLOY, "lambda:UpdateAlias", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:gavel-prod-api", {}, False),
        (EXECUTE, "lambda:DeleteFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:gavel-prod-api:7", {}, True),
        (EXECUTE, "s3:GetObject", f"{CODE}/bundles/api.zip", {}, True),
        (EXECUTE, "s3:GetObject", f"{DATA}/landing/orders/1.parquet", {}, False),
        (EXECUTE, "s3:PutBucketPolicy", DATA, {}, True),
        (EXECUTE, "s3:PutBucketPolicy", "arn:aws:s3:::another", {}, False),
        (EXECUTE, "s3:PutBucketPolicy", f"arn:aws:s3:::gavel-prod-trail-{ACCOUNT}", {}, False),
        (EXECUTE, "cloudwatch:DescribeAlarms", "*", {}, True),  # AWS shows composite alarms to nobody with less
        (EXECUTE, "elasticloadbalancing:DeleteRule", f"{BALANCER}:listener-rule/app/gavel-prod/1/2/3", {}, True),
        (EXECUTE, "rds:CreateDBInstance", f"arn:aws:rds:{REGION}:{ACCOUNT}:og:default:postgres-17", {}, True),
        (EXECUTE, "wafv2:GetWebACLForResource", f"arn:aws:apigateway:{REGION}::/restapis/a/stages/prod", {}, True),
        (EXECUTE, RECORDS, ZONE, {RECORD: "code.gavel-prod.internal"}, True),
        (EXECUTE, RECORDS, ZONE, {RECORD: "www.house.example"}, False),
        (EXECUTE, "dynamodb:UpdateTable", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/gavel-prod", {}, True),
        (EXECUTE, "dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/gavel-prod", {}, False),
        (EXECUTE, "cognito-idp:AdminCreateUser", f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/a", {}, False),
        (EXECUTE, "kms:ScheduleKeyDeletion", KEY, {}, False),
        (EXECUTE, "kms:PutKeyPolicy", KEY, TAGGED, True),
        (EXECUTE, "kms:TagResource", KEY, {**OF_TEST, **NEWLY}, False),  # it would then be ours
        (EXECUTE, "kms:TagResource", KEY, NEWLY, True),
        (EXECUTE, "kms:Decrypt", KEY, {**OF_TEST, **THROUGH_S3}, False),
        (EXECUTE, "kms:Decrypt", KEY, THROUGH_S3, True),
        (EXECUTE, "kms:CreateGrant", KEY, THROUGH_S3, False),
        (EXECUTE, "kms:CreateGrant", KEY, {**THROUGH_S3, "kms__GrantIsForAWSResource": "true"}, False),
        (EXECUTE, "kms:CreateGrant", KEY, {**OF_TEST, **TO_DYNAMODB}, False),
        (EXECUTE, "kms:CreateGrant", KEY, TO_DYNAMODB, True),
        (EXECUTE, SIGN_IN, POOL, TAGGED, True),
        (EXECUTE, SIGN_IN, POOL, OF_TEST, False),
        (EXECUTE, SIGN_IN, POOL, {}, False),
        (EXECUTE, "cognito-idp:TagResource", POOL, {**OF_TEST, **NEWLY}, False),
        (EXECUTE, "cognito-idp:CreateUserPool", "*", {}, False),
        (EXECUTE, "apigateway:DELETE", API, TAGGED, True),
        (EXECUTE, "apigateway:DELETE", API, OF_TEST, False),
        (EXECUTE, "apigateway:POST", f"arn:aws:apigateway:{REGION}::/apikeys", {}, False),
        (EXECUTE, "cloudfront:UpdateDistribution", SITE, TAGGED, True),
        (EXECUTE, "cloudfront:UpdateDistribution", SITE, OF_TEST, False),
        (EXECUTE, "cloudfront:UpdateDistribution", SITE, {}, False),
        (EXECUTE, "cloudfront:CreateDistribution", "*", NEWLY, True),
        (EXECUTE, "cloudfront:CreateDistribution", "*", {}, False),
        (EXECUTE, "cloudfront:UpdateFunction", f"arn:aws:cloudfront::{ACCOUNT}:function/gavel-test-dashboard-api", {},
         False),
        (EXECUTE, "wafv2:UpdateWebACL", f"{ACL}/gavel-prod-api/1", {}, True),
        (EXECUTE, "wafv2:UpdateWebACL", f"{ACL}/gavel-test-api/1", {}, False),
        (EXECUTE, "ec2:DeleteVpc", f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/vpc-1", TAGGED, True),
        (EXECUTE, "ec2:DeleteVpc", f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/vpc-1", OF_TEST, False),
        (EXECUTE, "ec2:CreateTags", f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/vpc-1", {**OF_TEST, **NEWLY}, False),
        (EXECUTE, "ecs:RunTask", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/gavel-prod-run:1", {}, False),
        (EXECUTE, "rds:ModifyDBSnapshotAttribute", f"arn:aws:rds:{REGION}:{ACCOUNT}:snapshot:gavel-prod-1", {}, False),
        (EXECUTE, "s3:PutReplicationConfiguration", DATA, {}, False),
        (EXECUTE, "ecr:PutImage", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/gavel-prod", {}, False),
        (DEPLOY, "cloudformation:UpdateTerminationProtection", f"{STACKS}/gavel-prod-delivery/1", {}, False),
        (DEPLOY, "cloudformation:UpdateTerminationProtection", NEW, {}, True),
    ],
)  # fmt: skip
def test_each_may_do_its_part(who: Any, action: str, resource: str, context: dict[str, str], may: bool) -> None:
    assert allowed(who, action, resource, **context) == may


def unbounded() -> set[str]:
    """The ARNs of the roles that have no boundary, and of the policies that they have."""
    found = set()
    for stack in ("delivery", "governance"):
        for resource in expanded_stack(stack, "prod")["Resources"].values():
            properties = resource["Properties"]
            if resource["Type"] == "AWS::IAM::Role" and "PermissionsBoundary" not in properties:
                found.add(f"{IAM}:role/{named(properties['RoleName'])}")
            if resource["Type"] == "AWS::IAM::ManagedPolicy":
                found.add(f"{IAM}:policy/{named(properties['ManagedPolicyName'])}")
    return found


def named(name: Any) -> str:
    """A name as a template forms it of the environment, and of a person's kind."""
    text, values = name["Fn::Sub"] if isinstance(name["Fn::Sub"], list) else (name["Fn::Sub"], {})
    return str(text).replace("${Environment}", "prod").replace("${Name}", str(values.get("Name")))


@pytest.mark.parametrize("arn", sorted(unbounded()))
def test_a_template_cannot_widen_a_role_without_a_boundary(arn: str) -> None:
    """Who may change its trust or its policies could give it, and so himself, every right of the account."""
    assert arn.startswith((f"{IAM}:role/gavel-prod-", f"{IAM}:policy/gavel-prod-"))
    for action in ("CreatePolicyVersion", "UpdateAssumeRolePolicy", "PutRolePolicy", "AttachRolePolicy", "DeleteRole"):
        assert not allowed(EXECUTE, f"iam:{action}", arn, **UNDER), action
    assert not allowed(EXECUTE, "iam:PassRole", arn, **TO_LAMBDA)


OF_OTHERS = {
    "gavel-prod-readers": "f551234c41805eda",  # pragma: allowlist secret
    "gavel-prod-auditors": "f751453b77203509",  # pragma: allowlist secret
}
"""What others give to roles of their own, by the digest of what it allows. Other rights have another name, so that who
gives them looks at them: a number goes to its end."""


def test_a_template_cannot_widen_what_roles_of_others_have() -> None:
    """No boundary holds such a role, so whoever may change a policy that it has could give it every right."""
    in_pipeline = json.dumps(expanded_stack("pipeline", "prod"))
    found = {}
    for resource in expanded("prod")["Resources"].values():
        if resource["Type"] == "AWS::IAM::ManagedPolicy" and not resource["Properties"].get("Roles"):
            name = named(resource["Properties"]["ManagedPolicyName"])
            if f"policy/{name.replace('-prod-', '-${Environment}-')}" not in in_pipeline:
                document = json.dumps(resource["Properties"]["PolicyDocument"], sort_keys=True)
                found[name] = hashlib.sha256(document.encode()).hexdigest()[:16]
    for name in found:
        for action in ("CreatePolicyVersion", "SetDefaultPolicyVersion"):
            assert not allowed(EXECUTE, f"iam:{action}", f"{IAM}:policy/{name}"), f"{action} of {name}"
        assert allowed(EXECUTE, "iam:CreatePolicy", f"{IAM}:policy/{name}"), "the first time"
    assert found == OF_OTHERS


@pytest.mark.parametrize("policy", [n for n, r in RESOURCES.items() if r["Type"] == "AWS::IAM::ManagedPolicy"])
def test_iam_takes_the_policy_and_knows_its_actions(policy: str) -> None:
    document = resolved(RESOURCES[policy]["Properties"]["PolicyDocument"], NAMES)
    assert len(json.dumps(document, separators=(",", ":"))) <= 6_144
    for statement in document["Statement"]:
        for action in listed(statement.get("Action", statement.get("NotAction"))):
            if action == "*":
                assert statement["Effect"] == "Deny"
                continue
            service, _, name = action.partition(":")
            assert any(fnmatchcase(known, name.lower()) for known in AWS[service]["Actions"]), action


def test_a_look_for_drift_reads_and_writes_its_report_alone() -> None:
    reading = ("Describe", "Detect", "Get", "List", "Lookup")
    policy = resolved(RESOURCES["DriftPolicy"]["Properties"]["PolicyDocument"], NAMES)
    for statement in policy["Statement"]:
        for action in listed(statement["Action"]):
            if not action.partition(":")[2].startswith(reading):
                assert action in ("s3:PutObject", "kms:Decrypt", "kms:GenerateDataKey"), action
            if action in ("s3:GetObject", "s3:PutObject"):
                assert "/drift/" in statement["Resource"], action


def test_a_repair_reaches_the_environment_alone_and_no_role_that_could_give_it_more() -> None:
    """Whoever may set roles back could make himself more of them: those under the boundary, and no more."""
    for action in ("PutRolePolicy", "DetachRolePolicy", "UpdateAssumeRolePolicy"):
        assert allowed(REPAIR, f"iam:{action}", f"{IAM}:role/gavel-prod-runs", **UNDER), action
        for arn in sorted({*unbounded(), f"{IAM}:role/gavel-test-runs", f"{IAM}:policy/gavel-prod-repair"}):
            assert not allowed(REPAIR, f"iam:{action}", arn, **UNDER), (action, arn)
    looks = [*resolved(RESOURCES["DriftPolicy"]["Properties"]["PolicyDocument"]["Statement"], NAMES), *REPAIR]
    for arn in sorted(unbounded()):  # a repair begins with a look, by somebody who has both policies
        for action in ("GetRole", "ListRolePolicies") if ":role/" in arn else ("GetPolicy", "GetPolicyVersion"):
            assert allowed(looks, f"iam:{action}", arn), (action, arn)
    assert not allowed(REPAIR, "iam:PutRolePolicy", f"{IAM}:role/gavel-prod-runs")
    for action in ("iam:CreateRole", "iam:DeleteRole", "iam:PassRole", "glue:DeleteTable", "s3:DeleteBucket"):
        assert not allowed(REPAIR, action, "*", **UNDER), action
    policy = RESOURCES["RepairPolicy"]
    attached = [
        r for r in RESOURCES.values() if {"Ref": "RepairPolicy"} in r["Properties"].get("ManagedPolicyArns", ())
    ]
    assert (policy["Type"], attached) == ("AWS::IAM::ManagedPolicy", []), "a person has it, and no job of a workflow"


SERVICES = {"ElasticLoadBalancingV2": "elasticloadbalancing", "KinesisFirehose": "firehose", "Cognito": "cognito-idp",
    "ServiceDiscovery": "servicediscovery", "WAFv2": "wafv2", "Serverless": "lambda"}  # fmt: skip


def test_cloudformations_role_has_rights_for_each_kind_of_resource() -> None:
    """A service of a template's resources that the role knows nothing of would end the first deployment."""
    kinds = {r["Type"] for r in expanded("prod")["Resources"].values()}
    for stack in FILES.keys() - {"realtime", "delivery", "governance"}:
        kinds |= {r["Type"] for r in expanded_stack(stack, "prod")["Resources"].values()}
    needed = {SERVICES.get(k.split("::")[1], k.split("::")[1].lower()) for k in kinds}
    granted = {a.partition(":")[0] for s in EXECUTE if s["Effect"] == "Allow" for a in listed(s["Action"])}
    assert {"lambda", "kms", "iam", "ec2"} <= needed <= granted


VERBS = ("Create", "Delete", "Deregister", "Describe", "Get", "Put", "Register", "Update")


def test_what_aws_names_afterwards_is_made_with_no_resource_named() -> None:
    """For these AWS compares with `*` alone: a right on ARNs of the account makes none of them."""
    kinds = {r["Type"] for r in expanded("prod")["Resources"].values()}
    for stack in FILES.keys() - {"realtime", "delivery", "governance"}:
        kinds |= {r["Type"] for r in expanded_stack(stack, "prod")["Resources"].values()}
    bare = set()
    for kind in kinds:
        _, space, name = kind.split("::")
        service = SERVICES.get(space, space.lower())
        for verb in VERBS:
            known = AWS.get(service, {"Actions": {}})["Actions"].get(f"{verb}{name}".lower())
            if known is not None and not known.get("Resources"):
                bare.add(f"{service}:{verb}{name}")
    assert {"cloudfront:CreateDistribution", "cognito-idp:CreateUserPool"} <= bare
    relay = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:gavel-prod-relay"
    given = {
        "aws__RequestTag/application": "gavel",
        "aws__RequestTag/environment": "prod",
        "lambda__FunctionArn": relay,
    }
    assert {action for action in bare if not allowed(EXECUTE, action, "*", **given)} == set()


def of_roles() -> list[tuple[str, Statement]]:
    """Each statement of each role and policy of the stacks."""
    found = []
    for stack in (expanded("prod"), expanded_stack("pipeline", "prod")):
        resources = stack["Resources"]
        names = arns(resources, NAMES)
        for name, resource in resources.items():
            properties = (
                resource["Properties"] if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy") else {}
            )
            own = [p["PolicyDocument"] for p in properties.get("Policies", ())]
            own += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
            found += [(name, s) for d in own for s in resolved(d["Statement"], names)]
    return found


OF_DATABASE = "aws__ResourceTag/aws:rds:primaryDBInstanceArn"


def known_of(action: str, resource: str) -> dict[str, str]:
    """What AWS knows of a call that a role of the stacks makes."""
    given = {"iam__PassedToService": "ecs-tasks.amazonaws.com"} if action == "iam:PassRole" else {}
    if ":secret:rds!" in resource:
        given[OF_DATABASE] = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:gavel-prod-dagster"
    return given | (TAGGED if ":kms:" in resource else {})


def test_the_boundary_takes_nothing_away_from_the_roles_of_the_stacks() -> None:
    beyond = set()
    for name, statement in of_roles():
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                given = known_of(action, resource)
                if statement["Effect"] == "Allow" and not allowed(BOUNDED, action, resource, **given):
                    beyond.add((name, action, resource))
    assert beyond == set()


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:CreateRole", f"{IAM}:role/gavel-prod-x"),
        ("sts:AssumeRole", f"{IAM}:role/admin"),
        ("iam:PassRole", f"{IAM}:role/gavel-prod-deploy"),
        ("s3:GetObject", "arn:aws:s3:::another/a"),
        ("s3:PutObject", f"{CODE}/bundles/api.zip"),
        ("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/another"),
        ("cloudformation:CreateChangeSet", NEW),
        ("lambda:UpdateFunctionCode", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:gavel-prod-api"),
        ("lambda:UpdateAlias", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:another:live"),
    ],
)
def test_no_role_of_the_stacks_gets_beyond_the_environment(action: str, resource: str) -> None:
    assert not allowed(BOUNDED, action, resource, iam__PassedToService="ecs-tasks.amazonaws.com")


@pytest.mark.parametrize(
    ("action", "resource", "ours", "others"),
    [
        ("kms:Sign", KEY, TAGGED, OF_TEST),
        ("kms:Sign", KEY, TAGGED, {}),
        ("kms:Decrypt", KEY, {}, OF_TEST),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:rds!db-1",
         {OF_DATABASE: f"arn:aws:rds:{REGION}:{ACCOUNT}:db:gavel-prod-dagster"},
         {OF_DATABASE: f"arn:aws:rds:{REGION}:{ACCOUNT}:db:gavel-test-dagster"}),
    ],
)  # fmt: skip
def test_no_role_of_the_stacks_uses_keys_and_secrets_of_another_environment(
    action: str, resource: str, ours: dict[str, str], others: dict[str, str]
) -> None:
    assert allowed(BOUNDED, action, resource, **ours)
    assert not allowed(BOUNDED, action, resource, **others)


@pytest.mark.parametrize("group", ["/gavel/test/dagster-run", "/aws/rds/instance/a/postgresql"])
def test_no_role_of_the_stacks_reads_logs_of_others(group: str) -> None:
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
    assert allowed(BOUNDED, "logs:GetLogEvents", f"{arn}/gavel/prod/dagster-run:log-stream:1")
    assert not allowed(BOUNDED, "logs:GetLogEvents", f"{arn}{group}:log-stream:1")


def test_what_is_not_named_has_its_reason() -> None:
    """Statements that allow something on more than the environment's names: tags bound them, or a reason says why."""
    reasons = yaml.safe_load((ROOT / "deploy" / "wildcards.yaml").read_text("utf-8"))["deployments"]
    wide = set()
    for name, resource in RESOURCES.items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            for statement in resolved(resource["Properties"]["PolicyDocument"]["Statement"], NAMES):
                bounded = any("aws:ResourceTag/environment" in keys for keys in statement.get("Condition", {}).values())
                unnamed = any("*" in arn and "gavel" not in arn for arn in listed(statement.get("Resource", "")))
                if statement["Effect"] == "Allow" and unnamed and not bounded:
                    wide.add(f"{name}.{statement['Sid']}")
    assert wide == set(reasons)
    assert all(len(reason) > 40 for reason in reasons.values())


def test_every_role_of_the_stacks_is_under_the_boundary() -> None:
    for stack in (expanded("prod"), expanded_stack("pipeline", "prod")):
        roles = {n: r["Properties"] for n, r in stack["Resources"].items() if r["Type"] == "AWS::IAM::Role"}
        assert roles
        for name, properties in roles.items():
            bound = properties.get("PermissionsBoundary")
            assert bound == {"Fn::If": ["HasBoundary", {"Ref": "Boundary"}, {"Ref": "AWS::NoValue"}]}, name
