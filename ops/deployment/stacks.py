"""The stacks of an environment, one row each, in the order in which they are deployed.

A row says where a stack's template is and where each parameter comes from that no person fills in; the others are in
`deploy/parameters/<environment>.json` under the stack's key. A new stack is a new row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("staging", "marts", "reports", "personal")
"""The layers of the dbt project that have databases; a test compares them with the project."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate has to be: it is for the domain that the parameter `domain` names, in `region` (empty: in that
    of the stack)."""

    domain: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """One CloudFormation stack of every environment.

    `fixed` are parameters whose values follow from the environment, with {environment}, {account} and {partition} in
    them; `outputs` are those that an earlier stack gives, as "stack.Output". With `functions` it gets the bundles of
    the functions; `image` is the parameter that takes the pipeline's image. A stack that is not there is left for later
    as long as the parameter `waits_for` ("stack.Parameter") is empty, or the stack whose roles it names
    (`names_roles_of`) waits itself. `region` is where AWS takes it alone, empty for the environment's. `protected`: it
    refuses to be deleted. `strict` are values
    that parameters have in test and prod, whatever else the template allows. `bounded`: its parameter `Boundary` takes
    the policy that bounds its roles. `administrators`: it is deployed by itself, and never by what it gives rights to.
    `alarms`, by their names with {environment}, at most five: when one begins to ring, an update is taken back.
    `own_rights`: CloudFormation makes it with the rights of who deploys, never by the role of deployments.
    `shown` are the outputs that a person needs, `then` what is left to do by hand, with {Output} and {Parameter} in it.
    """

    key: str
    template: Path
    ending: str
    """Of the stack's name, behind gavel-<environment>."""
    capabilities: tuple[str, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    functions: bool = False
    image: str = ""
    waits_for: str = ""
    names_roles_of: str = ""
    region: str = ""
    protected: bool = False
    strict: Mapping[str, str] = field(default_factory=dict)
    bounded: bool = False
    administrators: bool = False
    own_rights: bool = False
    alarms: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    then: tuple[str, ...] = ()

    def name(self, environment: str) -> str:
        """The stack's name in CloudFormation."""
        return f"gavel-{environment}{self.ending}"


STACKS = (
    Stack(
        key="foundation",
        template=ROOT / "deploy" / "foundation.yaml",
        ending="-foundation",
        fixed={"Environment": "{environment}"},
        shown=("CodeBucketName", "ImagesUri"),
    ),
    Stack(
        key="lake",
        template=ROOT / "deploy" / "lake.yaml",
        ending="-lake",
        capabilities=("CAPABILITY_AUTO_EXPAND",),
        fixed={"Environment": "{environment}", "Layers": ",".join(LAYERS)},
    ),
    Stack(
        key="realtime",
        template=ROOT / "realtime" / "template.yaml",
        ending="",
        capabilities=("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
        fixed={
            "Environment": "{environment}",
            "PipelineRole": "arn:{partition}:iam::{account}:role/gavel-{environment}-runs",  # nobody else signs proofs
        },
        outputs={"CodeBucket": "foundation.CodeBucketName"},
        functions=True,
        protected=True,
        strict={"Mfa": "ON", "Firewall": "ON"},
        alarms=(
            "gavel-{environment}-api-answers-5xx",
            "gavel-{environment}-tenant-api-answers-5xx",
            "gavel-{environment}-relay-fails",
            "gavel-{environment}-inbound-fails",
            "gavel-{environment}-fanout-fails",
        ),
        bounded=True,
        shown=("ApiUrl", "TenantApiUrl", "UserPoolId", "UserPoolClientId", "DataBucketName"),
    ),
    Stack(
        key="pipeline",
        template=ROOT / "deploy" / "pipeline.yaml",
        ending="-pipeline",
        capabilities=("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
        fixed={"Environment": "{environment}"},
        outputs={"DataKey": "realtime.KeyArn"},
        certificates={"CertificateArn": Certificate(domain="UiDomain")},
        image="Image",
        waits_for="pipeline.Image",
        bounded=True,
        shown=("UiAddress", "OperatorsPoolId"),
        then=(
            "Let {UiDomain} be a CNAME of {UiAddress}.",
            "Make yourself a user in the pool {OperatorsPoolId} and open https://{UiDomain}.",
        ),
    ),
    Stack(
        key="governance",
        template=ROOT / "deploy" / "governance.yaml",
        ending="-governance",
        capabilities=("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
        fixed={
            "Environment": "{environment}",
            "PipelineRole": "arn:{partition}:iam::{account}:role/gavel-{environment}-runs",
        },
        outputs={"DataKey": "realtime.KeyArn"},
        waits_for="governance.IdentityProvider",
        names_roles_of="pipeline",
        own_rights=True,  # who may read what, an administrator of the lake says
        shown=("ResultsBucketName", "TrailBucketName"),
        then=("Tag the tables that are there: gavel-ops governance apply --environment {Environment}",),
    ),
    Stack(
        key="firewall",
        template=ROOT / "deploy" / "firewall.yaml",
        ending="-firewall",
        region="us-east-1",
        fixed={"Environment": "{environment}"},
        waits_for="dashboard.Domain",
    ),
    Stack(
        key="dashboard",
        template=ROOT / "deploy" / "dashboard.yaml",
        ending="-dashboard",
        fixed={"Environment": "{environment}"},
        outputs={
            "WebAclArn": "firewall.WebAclArn",
            "ApiUrl": "realtime.ApiUrl",
            "UserPoolId": "realtime.UserPoolId",
        },
        certificates={"CertificateArn": Certificate(domain="Domain", region="us-east-1")},
        waits_for="dashboard.Domain",
        shown=("DashboardUrl", "DistributionDomain"),
        then=(
            "Let {Domain} be a CNAME of {DistributionDomain}.",
            "Bring the files: make dashboard, then gavel-ops dashboard publish --environment {Environment}",
        ),
    ),
    Stack(
        key="delivery",
        template=ROOT / "deploy" / "delivery.yaml",
        ending="-delivery",
        capabilities=("CAPABILITY_NAMED_IAM",),
        fixed={"Environment": "{environment}"},
        administrators=True,
        shown=("PlanRoleArn", "DriftRoleArn", "DeployRoleArn", "ExecutionRoleArn", "BoundaryArn"),
        then=("Deploy the other stacks once: their roles get the boundary.",),
    ),
)

HOLDS_DATA = frozenset(
    {
        "AWS::Cognito::UserPool",
        "AWS::DynamoDB::Table",
        "AWS::ECR::Repository",
        "AWS::Glue::Database",
        "AWS::Glue::Table",
        "AWS::KMS::Key",
        "AWS::Logs::LogGroup",
        "AWS::RDS::DBInstance",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
    }
)
"""Types of resources with which something is lost that no deployment brings back. A test compares them with what the
templates keep when a stack goes."""
