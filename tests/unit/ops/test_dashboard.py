"""Publishing the dashboard: in an order in which an open page never misses a file, once, and nothing is removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from local.dashboard import serving
from local.home import Home
from ops import dashboard
from ops.command_line import app
from ops.environment import Environment, OpsError
from tests.support.stubbed import stubbed

BUCKET = "gavel-dev-dashboard-123456789012"
OUTPUTS = {
    "SiteBucketName": BUCKET,
    "DistributionId": "E1",
    "DashboardUrl": "https://staff.example.com",
    "ClientId": "client",
    "SignInUrl": "https://gavel-dev-staff.auth.eu-west-1.amazoncognito.com",
    "Issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x",
}


class Distributions:
    """CloudFront, as far as it is called: which paths were to be fetched again, each request once."""

    def __init__(self) -> None:
        self.requested: dict[str, tuple[str, list[str]]] = {}

    def create_invalidation(self, *, DistributionId: str, InvalidationBatch: dict[str, Any]) -> None:
        paths = InvalidationBatch["Paths"]
        assert paths["Quantity"] == len(paths["Items"])
        self.requested.setdefault(InvalidationBatch["CallerReference"], (DistributionId, paths["Items"]))


@pytest.fixture
def distributions() -> Distributions:
    return Distributions()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, distributions: Distributions) -> Iterator[Environment]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        s3: Any = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        described = {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in OUTPUTS.items()]}]}
        stacks = SimpleNamespace(
            describe_stacks=lambda StackName: described if StackName == "gavel-dev-dashboard" else {}
        )
        clients: dict[str, Any] = {"s3": s3, "cloudformation": stacks, "cloudfront": distributions}
        yield Environment("dev", clients.__getitem__)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    for name in ("index.html", "favicon.svg", "assets/index-1.js", "assets/index-1.css"):
        (tmp_path / name).write_text(f"the first {name}")
    return tmp_path


def published(where: Environment, folder: Path, *, dry_run: bool = False) -> list[str]:
    """The names of the files that were sent, in their order."""
    said: list[str] = []
    dashboard.publish(where, folder, said.append, dry_run=dry_run)
    return [line.removeprefix("would send ").removeprefix("sending ").partition(",")[0] for line in said[:-1]]


def test_what_others_name_is_there_before_them(environment: Environment, folder: Path) -> None:
    sent = published(environment, folder)
    assert sent == ["assets/index-1.css", "assets/index-1.js", "favicon.svg", "config.json", "index.html"]


def test_a_file_says_what_it_is_and_how_long_a_browser_keeps_it(environment: Environment, folder: Path) -> None:
    published(environment, folder)
    heads = {
        name: environment.client("s3").head_object(Bucket=BUCKET, Key=name) for name in published_names(environment)
    }
    lasting = {name for name, head in heads.items() if head["CacheControl"] == "public, max-age=31536000, immutable"}
    assert lasting == {"assets/index-1.js", "assets/index-1.css"}
    assert {head["CacheControl"] for name, head in heads.items() if name not in lasting} == {"no-cache"}
    types = {name: head["ContentType"] for name, head in heads.items()}
    assert types["index.html"] == "text/html; charset=utf-8"
    assert types["assets/index-1.css"] == "text/css; charset=utf-8"
    assert types["assets/index-1.js"] in ("text/javascript; charset=utf-8", "application/javascript")
    assert (types["favicon.svg"], types["config.json"]) == ("image/svg+xml", "application/json")


def published_names(where: Environment) -> list[str]:
    return [found["Key"] for found in where.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]


def test_a_second_run_sends_nothing_and_a_new_build_what_is_new_and_removes_nothing(
    environment: Environment, folder: Path, distributions: Distributions
) -> None:
    published(environment, folder)
    assert published(environment, folder) == []
    (folder / "assets" / "index-1.js").rename(folder / "assets" / "index-2.js")
    (folder / "index.html").write_text("the second index.html")
    assert published(environment, folder) == ["assets/index-2.js", "index.html"]
    assert {"assets/index-1.js", "assets/index-2.js"} <= set(published_names(environment))
    pages = ("E1", ["/favicon.svg", "/config.json", "/index.html"])
    assert [*distributions.requested.values()] == [pages] * 3, "each run, since an earlier one may have ended before"


def test_a_file_with_other_headers_is_sent_again(environment: Environment, folder: Path) -> None:
    published(environment, folder)
    body = (folder / "index.html").read_bytes()
    environment.client("s3").put_object(
        Bucket=BUCKET, Key="index.html", Body=body, ContentType="text/html; charset=utf-8", ChecksumAlgorithm="SHA256"
    )
    assert published(environment, folder) == ["index.html"]


def test_a_dry_run_changes_nothing(environment: Environment, folder: Path, distributions: Distributions) -> None:
    assert len(published(environment, folder, dry_run=True)) == 5
    assert "Contents" not in environment.client("s3").list_objects_v2(Bucket=BUCKET)
    assert distributions.requested == {}


def test_pages_get_the_settings_that_they_get_on_the_laptop(
    environment: Environment, folder: Path, tmp_path: Path
) -> None:
    published(environment, folder)
    found = json.loads(environment.client("s3").get_object(Bucket=BUCKET, Key="config.json")["Body"].read())
    home = Home(tmp_path / "home")
    home.begin()
    laptop = serving._settings(home.update(dashboard_url="http://127.0.0.1:1"), "client")
    assert (found.keys(), found["signIn"].keys()) == (laptop.keys(), laptop["signIn"].keys())
    assert (found["environment"], found["api"]) == ("dev", "https://staff.example.com/api")
    assert found["signIn"]["token"] == f"{OUTPUTS['SignInUrl']}/oauth2/token"


def test_what_is_missing_is_said(environment: Environment, folder: Path) -> None:
    (folder / "index.html").unlink()
    with pytest.raises(OpsError, match=r"expected built files with index\.html in .*`make dashboard` builds them"):
        published(environment, folder)
    with stubbed("cloudformation") as stub:
        stub.add_client_error("describe_stacks", "ValidationError", "Stack with id gavel-prod-dashboard does not exist")
        with pytest.raises(OpsError, match="expected the stack gavel-prod-dashboard, found none: deploy it first"):
            published(Environment("prod", {"cloudformation": stub.client}.__getitem__), folder)


def test_a_stack_that_is_not_complete_is_said(folder: Path) -> None:
    stack = {
        "StackName": "gavel-prod-dashboard",
        "StackStatus": "REVIEW_IN_PROGRESS",
        "CreationTime": "2026-11-29T10:00Z",
    }
    with stubbed("cloudformation") as stub:
        stub.add_response("describe_stacks", {"Stacks": [stack]})
        with pytest.raises(
            OpsError, match=r"ClientId, .* of the stack gavel-prod-dashboard, which is REVIEW_IN_PROGRESS"
        ):
            published(Environment("prod", {"cloudformation": stub.client}.__getitem__), folder)


def test_what_a_file_manager_leaves_stays_here(environment: Environment, folder: Path) -> None:
    (folder / ".DS_Store").write_text("names of a person's files")
    (folder / "assets" / ".index.js.swp").write_text("what was typed")
    published(environment, folder)
    assert not [name for name in published_names(environment) if "/." in f"/{name}"]


def test_a_link_is_never_followed(
    environment: Environment, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("a key")
    (folder / "assets" / "logo.svg").symlink_to(outside)
    with pytest.raises(OpsError, match=r"found links, .*assets/logo\.svg"):
        published(environment, folder)
    assert "Contents" not in environment.client("s3").list_objects_v2(Bucket=BUCKET)


def test_paths_that_are_fetched_again_are_written_as_in_an_address(
    environment: Environment, folder: Path, distributions: Distributions
) -> None:
    """CloudFront refuses other letters, and takes a star for any name."""
    for name in ("a b.svg", "ü?.svg", "all*"):
        (folder / name).write_text("x")
    published(environment, folder)
    ((_, paths),) = distributions.requested.values()
    assert paths[:2] == ["/a%20b.svg", "/all%2A"]
    assert "/%C3%BC%3F.svg" in paths


def test_the_command_publishes(environment: Environment, folder: Path) -> None:
    done = CliRunner().invoke(
        app, ["dashboard", "publish", "--environment", "dev", "--folder", str(folder)], obj=lambda _: environment
    )
    assert done.exit_code == 0, done.output
    assert "https://staff.example.com: 5 of 5 files were sent" in done.output
