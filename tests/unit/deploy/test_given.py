"""A deployment says everything that is wrong with what it was given before it begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoRegionError

from ops.deployment import given
from ops.deployment.given import PARAMETERS, NotReadyError, Wanted, complaint, plan
from ops.environment import Environment

ACCOUNT, REGION = "111122223333", "eu-west-1"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/gavel-dev@sha256:{'a' * 64}"
GOOD: dict[str, dict[str, Any]] = {
    "aws": {"account": ACCOUNT, "region": REGION},
    "foundation": {"AlertEmail": "", "MonthlyUsd": "400"},
    "realtime": {"AlertEmail": "", "Mfa": "OPTIONAL"},
    "pipeline": {
        "CertificateArn": CERTIFICATE,
        "UiDomain": "dagster.gavel.example",
        "SignInPrefix": "gavel-dev-operators",
        "AllowedCidr": "192.0.2.0/24",
    },
    "governance": {"IdentityProvider": "", "Administrator": ""},
    "firewall": {"RequestsPerAddress": "10000"},
    "dashboard": {"Domain": "", "CertificateArn": "", "SignInPrefix": "gavel-dev-staff"},
}


class Account:
    """Answers of the services that are looked at before a deployment."""

    def __init__(self) -> None:
        self.certificate: dict[str, Any] = {"Status": "ISSUED", "DomainName": "*.gavel.example"}
        self.stacks: dict[str, str] = {}
        self.outputs: dict[str, str] = {}
        self.images = {"sha256:" + "a" * 64}
        self.meta = self
        self.region_name = REGION

    def __call__(self, service: str) -> Any:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": ACCOUNT, "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/me"}

    def describe_certificate(self, *, CertificateArn: str) -> dict[str, Any]:
        assert CertificateArn.endswith(":certificate/1")
        return {"Certificate": self.certificate}

    def describe_images(self, *, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        if repositoryName != "gavel-dev" or imageIds[0]["imageDigest"] not in self.images:
            raise ClientError({"Error": {"Code": "ImageNotFoundException", "Message": "no image"}}, "DescribeImages")
        return {"imageDetails": imageIds}

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:
        if StackName not in self.stacks:
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "does not exist"}}, "DescribeStacks")
        outputs = [{"OutputKey": name, "OutputValue": value} for name, value in self.outputs.items()]
        return {"Stacks": [{"StackStatus": self.stacks[StackName], "Outputs": outputs}]}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(given, "PARAMETERS", tmp_path)
    monkeypatch.setattr(given, "ROOT", tmp_path)

    def written(document: Any) -> None:
        (tmp_path / "dev.json").write_text(json.dumps(document), "utf-8")

    written(GOOD)
    return written


def problems(account: Account, wanted: Wanted) -> str:
    with pytest.raises(NotReadyError) as raised:
        plan(Environment("dev", account), wanted)
    return str(raised.value)


def changed(**values: Any) -> dict[str, dict[str, Any]]:
    """`stack__Parameter=value` in what is good."""
    document = json.loads(json.dumps(GOOD))
    for name, value in values.items():
        stack, _, parameter = name.partition("__")
        document[stack][parameter] = value
    return dict(document)


def test_values_come_from_file_environment_and_image(account: Account, write: Any) -> None:
    made = plan(Environment("dev", account), Wanted(image=IMAGE))
    values = {one.stack.key: one.values for one in made.stacks}
    assert list(values) == ["foundation", "lake", "realtime", "pipeline"]
    assert values["realtime"]["PipelineRole"] == f"arn:aws:iam::{ACCOUNT}:role/gavel-dev-runs"
    assert values["pipeline"] == {**GOOD["pipeline"], "Environment": "dev", "Boundary": "", "Image": IMAGE}
    assert (made.place.region, made.place.partition) == (REGION, "aws")


def test_where_there_are_rights_for_deployments_cloudformation_gets_them_and_roles_their_boundary(
    account: Account, write: Any
) -> None:
    account.stacks["gavel-dev-delivery"] = "CREATE_COMPLETE"
    account.outputs = {
        "ExecutionRoleArn": "the-role",
        "BoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/gavel-dev-boundary",
    }
    made = plan(Environment("dev", account), Wanted(image=IMAGE))
    assert made.role == "the-role"
    bounded = {one.stack.key: one.values["Boundary"] for one in made.stacks if "Boundary" in one.values}
    assert bounded == dict.fromkeys(("realtime", "pipeline"), account.outputs["BoundaryArn"])


def test_the_stack_of_administrators_is_deployed_by_itself_with_their_own_rights(account: Account, write: Any) -> None:
    account.stacks["gavel-dev-delivery"] = "CREATE_COMPLETE"
    account.outputs = {"ExecutionRoleArn": "the-role"}
    made = plan(Environment("dev", account), Wanted(delivery=True))
    assert [one.stack.key for one in made.stacks] == ["delivery"]
    assert made.role == ""


def test_the_files_as_they_are_in_the_repository_have_to_be_filled_in(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = problems(account, Wanted(image=IMAGE))
    for name in ("aws.account", "aws.region", "CertificateArn", "UiDomain", "AllowedCidr"):
        assert name in found
    assert "empty placeholder" in found
    assert "deploy/parameters/dev.json" in found


def test_all_that_is_wrong_is_said_at_once(account: Account, write: Any) -> None:
    document = changed(
        aws__account="999999999999",
        aws__region="us-east-1",
        realtime__Mfa="SOMETIMES",
        foundation__MonthlyUsd="0",
        foundation__Owner="me",
        pipeline__UiDomain="nowhere",
        pipeline__SignInPrefix=7,
    )
    del document["pipeline"]["AllowedCidr"]
    write(document | {"storage": {}})
    found = problems(account, Wanted(image="gavel:latest")).splitlines()[1:]
    assert [line.split()[0].rstrip(":") for line in found] == [
        "pipeline.SignInPrefix", "aws.account", "aws.region", "storage", "foundation.Owner", "foundation.MonthlyUsd",
        "realtime.Mfa", "pipeline.Image", "pipeline.UiDomain", "pipeline.SignInPrefix", "pipeline.AllowedCidr",
    ]  # fmt: skip


def test_what_protects_test_and_prod_cannot_be_left_out(account: Account, write: Any, tmp_path: Path) -> None:
    for environment in ("test", "prod"):
        file = tmp_path / f"{environment}.json"
        for name, value in (("Mfa", "OPTIONAL"), ("Mfa", "OFF"), ("Firewall", "OFF")):
            document = changed(**{"realtime__Mfa": "ON", f"realtime__{name}": value})
            file.write_text(json.dumps(document), "utf-8")
            with pytest.raises(
                NotReadyError, match=rf"realtime\.{name}: expected ON in {environment}, found '{value}'"
            ):
                plan(Environment(environment, account), Wanted(without_pipeline=True))
        file.write_text(json.dumps(changed(realtime__Mfa="ON")), "utf-8")
        assert plan(Environment(environment, account), Wanted(without_pipeline=True)).stacks
    for environment, mfa in (("dev", "OPTIONAL"), ("test", "ON"), ("prod", "ON")):
        written = json.loads((PARAMETERS / f"{environment}.json").read_text("utf-8"))
        assert written["realtime"]["Mfa"] == mfa


@pytest.mark.parametrize("value", [None, 7, 1.5, True, [], {}, ["a"]])
def test_what_is_no_text_is_refused_wherever_it_stands(account: Account, write: Any, value: Any) -> None:
    """Null too: it would keep a value that a new stack does not have."""
    for name in ("aws__account", "realtime__Mfa", "pipeline__UiDomain", "dashboard__Domain"):
        write(changed(**{name: value}))
        assert f"{name.replace('__', '.')}: expected text in quotes" in problems(account, Wanted(image=IMAGE))
    for document in (value, {**GOOD, "lake": value}, {**GOOD, "aws": value}):
        if not isinstance(value, dict):
            write(document)
            assert "expected a JSON object, found" in problems(account, Wanted(image=IMAGE))


def test_credentials_that_lead_nowhere_are_one_problem_among_others(write: Any) -> None:
    def no_client(service: str) -> Any:
        raise NoRegionError()

    write(changed(realtime__Mfa="SOMETIMES"))
    with pytest.raises(NotReadyError, match=r"(?s)AWS_REGION.*realtime\.Mfa"):
        plan(Environment("dev", no_client), Wanted(without_pipeline=True))


@pytest.mark.parametrize(
    ("certificate", "arn", "expected"),
    [
        ({"Status": "PENDING_VALIDATION"}, CERTIFICATE, "PENDING_VALIDATION"),
        ({"DomainName": "gavel.example"}, CERTIFICATE, "expected a certificate for dagster.gavel.example"),
        ({}, CERTIFICATE.replace(REGION, "us-east-1"), "expected a certificate of eu-west-1"),
        ({}, CERTIFICATE.replace(ACCOUNT, "999999999999"), "found eu-west-1 and 999999999999"),
    ],
)
def test_a_certificate_that_the_load_balancer_cannot_take(
    account: Account, write: Any, certificate: dict[str, Any], arn: str, expected: str
) -> None:
    account.certificate |= certificate
    write(changed(pipeline__CertificateArn=arn))
    assert expected in problems(account, Wanted(image=IMAGE))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (IMAGE.replace("a" * 64, "b" * 64), "expected an image that was pushed"),
        (IMAGE.replace(ACCOUNT, "999999999999"), "expected an image in ECR of eu-west-1 in the account 111122223333"),
        (f"docker.io/gavel@sha256:{'a' * 64}", "no way to another registry"),
        (IMAGE.partition("@")[0] + ":latest", "expected ^.+@sha256"),
    ],
)
def test_an_image_that_tasks_cannot_pull(account: Account, write: Any, image: str, expected: str) -> None:
    assert expected in problems(account, Wanted(image=image))


def keys(plan: given.Plan) -> list[str]:
    return [one.stack.key for one in plan.stacks]


def test_without_an_image_the_pipeline_keeps_its_own_or_waits(account: Account, write: Any) -> None:
    write(changed(pipeline__AllowedCidr=""))
    for status in ("", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"):
        account.stacks = {"gavel-dev-pipeline": status} if status else {}
        made = plan(Environment("dev", account), Wanted())
        assert keys(made) == ["foundation", "lake", "realtime"]
        (missing,) = made.later["pipeline"].problems
        assert missing.startswith("pipeline.AllowedCidr")

    write(GOOD)
    account.stacks = {"gavel-dev-pipeline": "UPDATE_COMPLETE"}
    made = plan(Environment("dev", account), Wanted())
    assert made.stacks[-1].values["Image"] is None
    assert "pipeline" not in made.later
    left = plan(Environment("dev", account), Wanted(without_pipeline=True))
    assert keys(left) == ["foundation", "lake", "realtime"]
    assert "pipeline" not in left.later


def test_who_may_read_waits_for_the_roles_that_it_names(account: Account, write: Any) -> None:
    """Lake Formation grants nothing to a role that is not there."""
    people = f"arn:aws:iam::{ACCOUNT}"
    write(
        changed(
            governance__IdentityProvider=f"{people}:saml-provider/house",
            governance__Administrator=f"{people}:role/admin",
        )
    )
    made = plan(Environment("dev", account), Wanted())
    assert made.later["governance"].parameter == made.later["pipeline"].parameter == "pipeline.Image"
    assert "governance" not in keys(made)
    left = plan(Environment("dev", account), Wanted(without_pipeline=True))
    assert left.later["governance"].parameter == "pipeline.Image", "nobody has made the pipeline yet"
    assert "governance" not in keys(left)
    assert keys(plan(Environment("dev", account), Wanted(image=IMAGE)))[-2:] == ["pipeline", "governance"]

    account.stacks = {"gavel-dev-pipeline": "UPDATE_COMPLETE"}
    assert keys(plan(Environment("dev", account), Wanted()))[-2:] == ["pipeline", "governance"]
    assert keys(plan(Environment("dev", account), Wanted(without_pipeline=True)))[-1] == "governance"


def test_the_dashboard_waits_until_it_has_an_address(account: Account, write: Any) -> None:
    assert set(plan(Environment("dev", account), Wanted()).later) == {"pipeline", "governance", "firewall", "dashboard"}
    address = {"dashboard__Domain": "staff.gavel.example"}
    write(changed(**address))
    assert "dashboard.CertificateArn" in problems(account, Wanted())
    write(changed(**address, dashboard__CertificateArn=CERTIFICATE))
    assert "dashboard.CertificateArn" in problems(account, Wanted())
    requested: list[tuple[str, str]] = []

    def regional(service: str, region: str) -> Any:
        requested.append((service, region))
        return account

    write(changed(**address, dashboard__CertificateArn=CERTIFICATE.replace(REGION, "us-east-1")))
    made = plan(Environment("dev", account, regional=regional), Wanted(without_pipeline=True))
    assert keys(made)[-2:] == ["firewall", "dashboard"]
    assert ("acm", "us-east-1") in requested


def test_no_value_of_a_parameter_is_no_value() -> None:
    assert complaint({"Type": "String"}, None) == "expected a value, found none"
    assert complaint({"Type": "String"}, "") is None
    assert complaint({"Type": "Number", "MinValue": 1}, "many") == "expected a number, found 'many'"
