"""The rows of the stacks are in step with their templates: parameters come from somewhere, outputs are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ops.deployment.given import PARAMETERS
from ops.deployment.parts import FUNCTION_PARAMETERS, TARGET
from ops.deployment.stacks import HOLDS_DATA, STACKS, Stack
from ops.deployment.templates import declared
from tests.support.expanded import expanded

EVERY = pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.key)


def document(stack: Stack) -> dict[str, Any]:
    text = re.sub(r"!\w+", "", stack.template.read_text("utf-8"))
    return dict(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@EVERY
def test_what_a_row_names_is_in_its_template(stack: Stack) -> None:
    parameters, outputs = set(declared(stack.key)), set(document(stack).get("Outputs", {}))
    functions = FUNCTION_PARAMETERS if stack.functions else set()
    named = {*stack.fixed, *stack.outputs, *stack.certificates, *functions, *([stack.image] if stack.image else ())}
    assert named <= parameters
    assert {c.domain for c in stack.certificates.values()} <= parameters
    assert set(stack.shown) <= outputs
    assert set(re.findall(r"{(\w+)}", " ".join(stack.then))) <= parameters | outputs


@EVERY
def test_what_a_stack_gets_comes_from_one_before_it(stack: Stack) -> None:
    before = {one.key: one for one in STACKS[: STACKS.index(stack)]}
    for source in stack.outputs.values():
        key, _, output = source.partition(".")
        assert output in document(before[key])["Outputs"]


@EVERY
def test_a_parameter_without_default_comes_from_somewhere(stack: Stack) -> None:
    """From the row, the command, or the parameters file, where it stands to be filled in."""
    functions = FUNCTION_PARAMETERS if stack.functions else set()
    written = yaml.safe_load((PARAMETERS / "prod.json").read_text("utf-8")).get(stack.key, {})
    assert set(re.findall(r"^\w+", stack.waits_for)) <= {one.key for one in STACKS}
    got = {*stack.fixed, *stack.outputs, *functions, stack.image, *written}
    assert stack.bounded == ("Boundary" in declared(stack.key))
    assert {name for name, parameter in declared(stack.key).items() if "Default" not in parameter} <= got
    assert not set(written) & ({*stack.fixed, *stack.outputs, *functions, stack.image})


def test_alarms_that_take_an_update_back_are_those_of_the_template() -> None:
    made = expanded("prod")["Resources"].values()
    names = {json.dumps(r["Properties"]["AlarmName"]) for r in made if r["Type"] == "AWS::CloudWatch::Alarm"}
    for stack in STACKS:
        assert len(stack.alarms) <= 5
        for alarm in stack.alarms:
            assert json.dumps({"Fn::Sub": alarm.replace("{environment}", "${Environment}")}) in names
    assert any(stack.alarms for stack in STACKS)


def test_functions_run_on_what_the_template_allows() -> None:
    parameters = declared("realtime")
    assert f"python{TARGET.python}" in parameters["PythonRuntime"]["AllowedValues"]
    assert TARGET.architecture in parameters["Architecture"]["AllowedValues"]


def test_what_stays_when_a_stack_goes_holds_data() -> None:
    """What a template keeps, or takes a snapshot of, may not be replaced or removed without a word."""
    found = [r for stack in STACKS for r in resources(document(stack)["Resources"])]
    kept = {r["Type"] for r in found if r.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept - HOLDS_DATA == {
        "AWS::ApiGateway::Account",
        "AWS::IAM::OIDCProvider",
        "AWS::IAM::Role",
        "AWS::LakeFormation::DataLakeSettings",
    }  # of the whole account, not of the stack


def resources(node: Any) -> Iterator[dict[str, Any]]:
    """All resources of a template, those in loops, too."""
    if isinstance(node, dict) and str(node.get("Type", "")).startswith("AWS::"):
        yield node
    elif isinstance(node, dict | list):
        for one in node.values() if isinstance(node, dict) else node:
            yield from resources(one)
