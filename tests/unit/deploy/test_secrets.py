"""No template has a person or a key that lasts: what encrypts is rotated, what is secret is in Secrets Manager."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ops.deployment.templates import FILES
from tests.support.expanded import expanded, expanded_stack

LASTING = {"AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group", "AWS::IAM::UserToGroupAddition"}
SECRET = re.compile(r"password|secret|token|credential", re.IGNORECASE)
SETTINGS = {"TokenValidityUnits"}
"""Properties in which all that is named like a secret is a setting."""


def resources(stack: str) -> dict[str, Any]:
    whole = expanded("prod") if stack == "realtime" else expanded_stack(stack, "prod")
    return dict(whole["Resources"])


@pytest.mark.parametrize("stack", FILES)
def test_a_stack_makes_no_user_and_no_access_key(stack: str) -> None:
    assert {name: r["Type"] for name, r in resources(stack).items() if r["Type"] in LASTING} == {}
    assert "aws_access_key_id" not in FILES[stack].read_text("utf-8").lower()
    assert not re.search(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b", FILES[stack].read_text("utf-8"))


@pytest.mark.parametrize("stack", FILES)
def test_every_key_that_kms_can_rotate_is_rotated(stack: str) -> None:
    for name, resource in resources(stack).items():
        if resource["Type"] == "AWS::KMS::Key":
            properties = resource["Properties"]
            asymmetric = properties.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT"
            assert asymmetric or properties.get("EnableKeyRotation") is True, name


def test_there_are_keys_to_rotate() -> None:
    keys = [r for stack in FILES for r in resources(stack).values() if r["Type"] == "AWS::KMS::Key"]
    assert len([key for key in keys if "KeyUsage" not in key["Properties"]]) >= 2


@pytest.mark.parametrize("stack", FILES)
def test_no_secret_is_written_or_given_as_a_parameter(stack: str) -> None:
    """A secret comes from Secrets Manager: no property that is named like one is a text or a parameter."""
    document = expanded("prod") if stack == "realtime" else expanded_stack(stack, "prod")
    for name, parameter in document["Parameters"].items():
        assert not SECRET.search(name)
        assert not parameter.get("NoEcho"), name
    written = [path for path, value in named(document["Resources"], document["Parameters"]) if "Properties" in path]
    assert written == []


def test_a_written_secret_is_found() -> None:
    database = {"Properties": {"MasterUserPassword": "abc"}}
    assert [*named(database, {})] == [(("Properties", "MasterUserPassword"), "abc")]
    assert [*named({"Properties": {"MasterUserPassword": {"Ref": "Given"}}}, {"Given": {}})]
    assert [*named({"Properties": {"SecretString": "{{resolve:secretsmanager:x}}", "TokenValidity": 5}}, {})] == []


def named(node: Any, parameters: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Texts and parameters under names that sound like a secret, with where they are."""
    if isinstance(node, list):
        for value in node:
            yield from named(value, parameters, path)
    elif isinstance(node, dict):
        for name, value in node.items():
            here = (*path, name)
            given = isinstance(value, dict) and value.get("Ref") in parameters
            text = isinstance(value, str) and "resolve:secretsmanager" not in value
            condition = ":" in name  # a key that IAM compares, as token.actions.githubusercontent.com:aud
            if SECRET.search(name) and not condition and (given or text):
                yield here, value
            elif name not in SETTINGS:
                yield from named(value, parameters, here)
