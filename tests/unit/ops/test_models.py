"""The manifest of what was deployed: kept, brought back as it is, and nothing else taken for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from ops.command_line import app
from ops.environment import Environment

MANIFEST = '{"metadata": {}, "nodes": {}}'
PLACE = ("gavel-prod-code-111122223333", "models/manifest.json")


class Bucket:
    """S3 and STS as far as the commands call them; `refuses` is the code of S3's error for every call."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.metadata: dict[str, str] = {}
        self.refuses = ""

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "111122223333"}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if self.refuses or (Bucket, Key) not in self.objects:
            raise ClientError({"Error": {"Code": self.refuses or "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Bucket, Key]), "Metadata": self.metadata}

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str, Metadata: dict[str, str]) -> None:
        self.objects[Bucket, Key] = Body
        self.metadata = Metadata


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def called(bucket: Bucket, *arguments: str) -> tuple[int, str]:
    where = Environment("prod", lambda service: bucket)
    done = CliRunner().invoke(app, ["models", *arguments], obj=lambda name: where)
    return done.exit_code, done.output


def test_what_was_kept_is_brought_back(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "now.json").write_text(MANIFEST, "utf-8")
    assert called(bucket, "keep", str(tmp_path / "now.json")) == (
        0,
        "models as deployed: s3://gavel-prod-code-111122223333/models/manifest.json\n",
    )
    assert called(bucket, "fetch", str(tmp_path / "state"))[0] == 0
    assert (tmp_path / "state" / "manifest.json").read_text("utf-8") == MANIFEST


def test_its_commit_is_brought_with_it_and_nothing_else_is_taken_for_one(bucket: Bucket, tmp_path: Path) -> None:
    """It becomes a word of git's command line."""
    (tmp_path / "now.json").write_text(MANIFEST, "utf-8")
    commit, state = "0123456789" * 4, tmp_path / "state"
    assert called(bucket, "keep", str(tmp_path / "now.json"), "--commit", commit)[0] == 0
    assert called(bucket, "fetch", str(state))[0] == 0
    assert (state / "commit").read_text("utf-8") == f"{commit}\n"
    for metadata in ({}, {"commit": "--output=x"}, {"commit": commit[1:]}):
        bucket.metadata = metadata
        assert called(bucket, "fetch", str(state))[0] == 0
        assert not (state / "commit").exists(), "nor is an earlier one left"
    assert called(bucket, "keep", str(tmp_path / "now.json"), "--commit", "main")[0] == 1


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchBucket"])
def test_before_the_first_deployment_there_is_none_and_no_earlier_one_is_left(
    bucket: Bucket, tmp_path: Path, code: str
) -> None:
    (tmp_path / "manifest.json").write_text(MANIFEST, "utf-8")
    bucket.refuses = code
    assert called(bucket, "fetch", str(tmp_path)) == (0, "models as deployed: none is kept yet\n")
    assert not (tmp_path / "manifest.json").exists()


def test_a_refusal_is_not_taken_for_none(bucket: Bucket, tmp_path: Path) -> None:
    bucket.refuses = "AccessDenied"
    code, said = called(bucket, "fetch", str(tmp_path))
    assert (code, "AccessDenied" in said) == (1, True)


@pytest.mark.parametrize("body", ["", "[]", '{"nodes": {}}'])
def test_what_is_no_manifest_is_neither_kept_nor_brought(bucket: Bucket, tmp_path: Path, body: str) -> None:
    (tmp_path / "now.json").write_text(body, "utf-8")
    assert called(bucket, "keep", str(tmp_path / "now.json"))[0] == 1
    assert called(bucket, "keep", str(tmp_path / "nowhere.json"))[0] == 1
    assert bucket.objects == {}
    bucket.objects[PLACE] = body.encode()
    assert called(bucket, "fetch", str(tmp_path / "state"))[0] == 1
    assert not (tmp_path / "state" / "manifest.json").exists()
