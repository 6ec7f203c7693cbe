"""Versions of the functions side by side: the code of two commits, each in a process of its own, over one AWS (moto).

What a version gets of its variables is what its own template says; calls of AWS are made here.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local.home import REPOSITORY
from ops.deployment.templates import parsed

PARTS = ("contracts", "realtime")
"""Folders that the functions' bundles are made of."""
PROCESS = Path(__file__).with_name("function_process.py")
REGION = "eu-west-1"


class NoRevision(RuntimeError):
    """There is no commit with other code than this one's to compare with; says why."""


@dataclass
class Aws:
    """What functions call: moto's services, and a Firehose and a bus that take everything and write it down."""

    names: Mapping[str, str]
    """What `Ref` of a resource or parameter of the template is, by its name."""
    landed: list[dict[str, Any]] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        """The answer to a call. Raises `ClientError`."""
        match operation:
            case "PutRecordBatch":
                lines = [line for record in parameters["Records"] for line in record["Data"].splitlines()]
                self.landed += map(json.loads, lines)
                return {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"} for _ in parameters["Records"]]}
            case "PutEvents":
                self.published += parameters["Entries"]
                return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in parameters["Entries"]]}
            case "GetMetricData":
                return {"MetricDataResults": []}
        answer = client(service)._make_api_call(operation, parameters)
        if "Body" in answer:
            answer["Body"] = answer["Body"].read()
        answer.pop("ResponseMetadata", None)
        return answer


@cache
def client(service: str) -> Any:
    """A client of moto's."""
    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]


@dataclass
class Version:
    """One version of the functions, in its process."""

    name: str
    process: subprocess.Popen[bytes]
    aws: Aws
    logged: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """What the handler of a function answers. Raises `AssertionError` if it fails."""
        self._send(("invoke", f"realtime.{function}.handler", event))
        while True:
            kind, *content = self._receive()
            if kind == "call":
                self._send(self._answer(*content))
                continue
            answer, log = content
            self.logged = [json.loads(line) for line in log.splitlines()]
            assert kind == "done", f"{function} of {self.name} failed:\n{answer}"
            return answer

    def _answer(self, service: str, operation: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
        try:
            return "answer", self.aws.answer(service, operation, parameters)
        except ClientError as error:
            return "error", error.response, operation

    def _send(self, message: Any) -> None:
        assert self.process.stdin is not None
        pickle.dump(message, self.process.stdin)
        self.process.stdin.flush()

    def _receive(self) -> Any:
        assert self.process.stdout is not None
        return pickle.load(self.process.stdout)


def tree_of(revision: str, folder: Path) -> Path:
    """The functions' code of a commit, in a new folder."""
    archive = _git("archive", "--format=tar", revision, *PARTS)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def tree_here(folder: Path) -> Path:
    """The functions' code as it lies here, in a new folder."""
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def before() -> str:
    """The commit with the code before this one: the one that `AGAINST` names, or else the last one whose functions are
    others than those here. Raises `NoRevision` where git knows none, and none was named."""
    named = os.environ.get("AGAINST", "")
    try:
        if named:
            return _git("rev-parse", "--verify", f"{named}^{{commit}}").decode().strip()
        if _git("status", "--porcelain", "--", *PARTS):
            return "HEAD"
        commits = _git("log", "-2", "--format=%H", "--", *PARTS).decode().split()
    except (OSError, subprocess.CalledProcessError) as error:
        if named:
            raise
        raise NoRevision(f"git has no history here: {error}") from error
    if len(commits) < 2:
        raise NoRevision("git has one commit of the functions here")
    return commits[1]


@contextmanager
def version(name: str, tree: Path, aws: Aws) -> Iterator[Version]:
    """A version of the functions in a process that ends with the block."""
    kept = {n: v for n, v in os.environ.items() if n in ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "SYSTEMROOT")}
    variables = {
        "PYTHONPATH": str(tree), "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_LAMBDA_FUNCTION_VERSION": name, **variables_of(tree, aws.names),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-P", str(PROCESS)],
        cwd=tree,
        env=kept | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    made = Version(name, process, aws)
    try:
        assert made._receive() == ("ready",)
        yield made
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def variables_of(tree: Path, names: Mapping[str, str]) -> dict[str, str]:
    """The variables that the template of a version gives to its functions."""
    document = parsed((tree / "realtime" / "template.yaml").read_text("utf-8"))
    given = {}
    for resource in document["Resources"].values():
        if isinstance(resource, dict) and resource["Type"] == "AWS::Serverless::Function":
            for name, value in resource["Properties"]["Environment"]["Variables"].items():
                given[name] = names.get(value["Ref"], "") if isinstance(value, dict) else str(value)
    return given


def _git(*arguments: str) -> bytes:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout
