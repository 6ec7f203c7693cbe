"""What the pages tell a reader to type to AWS's command line exists, and all that code makes on AWS is said to stay.

Operations and their options are those of the models that the AWS CLI is made of, too. What the CLI adds by itself is
listed here.
"""

from __future__ import annotations

import re
import shlex
from functools import cache

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from local.home import REPOSITORY
from ops.deployment.templates import FILES
from tests.support.documents import aws_commands

GLOBAL = {"region", "output", "query", "profile", "cli-input-json", "no-cli-pager"}
OF_THE_CLI = {"cloudformation deploy", "cloudformation wait", "ecr get-login-password", "ecs wait"}
"""Commands that are no operation of an API."""
MADE = {
    "create_api_key": "gavel ops tenant remove",
    "create_secret": "the secret of erasures, which code makes",
    "create_lf_tag": "aws lakeformation delete-lf-tag",
    "create_data_cells_filter": "aws lakeformation delete-lf-tag",
    "create_lake_formation_opt_in": "aws lakeformation delete-lf-tag",
    "start_asset_bundle_import_job": "QuickSight",
    "create_database": "Glue databases, with tables",
    "create_table": "Glue databases, with tables",
}
"""What code makes by AWS's operations, and by which words the page of deployments says what becomes of it."""
GONE = {"create_change_set", "create_connection", "create_ingestion", "create_invalidation", "create_usage_plan_key"}
GONE |= {"create_policy_version"}
"""What is no resource, or goes with one; and what others than AWS call so."""
SERVICES = ("apigateway", "lakeformation", "quicksight", "secretsmanager", "cognito-idp", "glue", "kms", "sqs", "sns")
SERVICES += ("s3", "dynamodb", "lambda", "events", "logs", "cloudformation", "cloudfront", "athena", "iam", "ecr")


@cache
def service(name: str) -> ServiceModel:
    """AWS's description of a service."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


def operation(words: list[str]) -> tuple[str, set[str]]:
    """An operation as the CLI spells it, with the options that it takes; raises StopIteration if there is none."""
    model = service({"s3api": "s3"}.get(words[0], words[0]))
    name = next(n for n in model.operation_names if xform_name(n, "-") == words[1])
    shape = model.operation_model(name).input_shape
    members = shape.members if shape is not None else {}
    flags = {xform_name(member, "-") for member in members}
    return name, flags | {f"no-{xform_name(m, '-')}" for m, of in members.items() if of.type_name == "boolean"}


@pytest.mark.parametrize(("where", "command"), sorted(set(aws_commands())))
def test_a_command_of_aws_exists_with_its_options(where: str, command: str) -> None:
    words = shlex.split(re.sub(r"\$\([^)]*\)", "x", command).replace("…", "x"))[1:]
    while words[0] == "--region":
        words = words[2:]
    given = {word[2:].partition("=")[0] for word in words if word.startswith("--")} - GLOBAL
    if " ".join(words[:2]) in OF_THE_CLI:
        return
    _, known = operation(words)
    assert given <= known, f"{where}: {command}"


@pytest.mark.parametrize(("text", "right"), [("kms delete-key", False), ("kms schedule-key-deletion", True)])
def test_an_operation_that_is_not_there_is_found(text: str, right: bool) -> None:
    if right:
        assert "pending-window-in-days" in operation(text.split())[1]
        return
    with pytest.raises(StopIteration):
        operation(text.split())


def test_what_code_makes_is_said_to_stay_or_to_go() -> None:
    page = (REPOSITORY / "docs" / "deploy.md").read_text("utf-8").partition("## Back to an empty account")[2]
    known = {xform_name(n) for name in SERVICES for n in service(name).operation_names}
    folders = ("ops", "lakehouse", "orchestration", "realtime", "retrieval", "warehouse", "reporting")
    files = [f for folder in folders for f in (REPOSITORY / folder).rglob("*.py")]
    used = {name for f in files for name in re.findall(r"\b(?:create|start)_[a-z_]+", f.read_text("utf-8"))} & known
    makes = {name for name in used if name.startswith("create_") or name in MADE} - GONE
    assert makes <= MADE.keys()
    assert [words for name, words in MADE.items() if name in makes and words not in page] == []


@pytest.mark.parametrize(
    ("stack", "sign", "group"),
    [
        (
            "pipeline",
            "EnableCloudwatchLogsExports: [postgresql]",
            "/aws/rds/instance/gavel-<environment>-dagster/postgresql",
        ),
        ("pipeline", "MonitoringInterval: 60", "RDSOSMetrics"),
        (
            "pipeline",
            "Name: containerInsights, Value: enabled",
            "/aws/ecs/containerinsights/gavel-<environment>/performance",
        ),
    ],
)
def test_a_log_group_that_aws_makes_by_itself_is_said_to_stay(stack: str, sign: str, group: str) -> None:
    assert sign in FILES[stack].read_text("utf-8")
    assert f"`{group}`" in (REPOSITORY / "docs" / "deploy.md").read_text("utf-8")


def test_no_stack_makes_aws_write_logs_elsewhere() -> None:
    """The gateway's own logs, and those of a firewall, would be in groups outside of any stack."""
    for file in FILES.values():
        assert not re.search(r"LoggingLevel|aws-waf-logs", file.read_text("utf-8")), file.name


def test_an_output_that_a_page_names_is_one() -> None:
    pages = [*(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / ".github" / "workflows").glob("*.yaml")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    named = set(re.findall(r"[Oo]utput `?([A-Z]\w+[a-z])`?", text))
    made = {
        name
        for file in FILES.values()
        for name in re.findall(r"^  (\w+):", file.read_text("utf-8").partition("\nOutputs:\n")[2], re.MULTILINE)
    }
    assert {"ImagesUri", "DistributionDomain", "DriftRoleArn"} <= named <= made
