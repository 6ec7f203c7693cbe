"""What the command `drift` answers of what it could not read: that an earlier look could is no answer of now."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from contracts import load_contracts
from lakehouse.drift.findings import NIGHTLY, OUTSIDE, Drifted, Report, Unread, key_of, written
from ops.command_line import app
from ops.deployment.given import Place
from ops.deployment.stacks import STACKS
from ops.drift import looking
from ops.drift.stacks import Deployed, changed_resources
from ops.environment import Environment
from tests.support.lakes import local_lake
from tests.support.stubbed import stubbed

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DENIED = Unread("tables", "gavel_test", "ClientError: AccessDenied")
UNKNOWN = Unread("definitions", "switches", "OSError: timed out")


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    found = Environment("test", dict[str, Any]().__getitem__)
    monkeypatch.setitem(found.__dict__, "lake", local_lake(tmp_path / "lake"))
    return found


def drift(where: Environment, *options: str) -> Result:
    return CliRunner().invoke(app, ["drift", *options, "--environment", "test"], obj=lambda name: where)


def test_what_cannot_be_read_now_is_said_though_the_nightly_run_could(
    where: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Report(NOON, ("tables",), (), (DENIED,))
    nightly = Report(NOON - timedelta(days=9), ("tables", "definitions"), (), (UNKNOWN,))
    where.lake.store.write(key_of(NIGHTLY), written(nightly))
    monkeypatch.setattr(looking, "look", lambda where: now)
    shown = drift(where)
    assert shown.exit_code == 3, shown.output
    assert "Not read: 2." in shown.output
    listed = json.loads(drift(where, "--json").stdout)["unread"]
    assert {one["unit"] for one in listed} == {DENIED.unit, UNKNOWN.unit}
    monkeypatch.setattr(looking, "look", lambda where: replace(now, unread=()))
    assert "Not read: 1." in drift(where).output


@pytest.mark.parametrize(("name", "is_said"), [("local", True), ("test", False)])
def test_a_laptop_says_what_is_not_compared_there(
    where: Environment, monkeypatch: pytest.MonkeyPatch, name: str, is_said: bool
) -> None:
    monkeypatch.setattr(looking, "look", lambda where, only=None: Report(NOON, ("tables",), (), ()))
    here = replace(where, name=name)
    monkeypatch.setitem(here.__dict__, "lake", where.lake)
    for options in ([], ["--repair"]):
        shown = CliRunner().invoke(app, ["drift", *options, "--environment", name], obj=lambda name: here)
        assert ("Not compared on a laptop" in shown.output) == is_said, shown.output
    as_json = CliRunner().invoke(app, ["drift", "--json", "--environment", name], obj=lambda name: here)
    assert json.loads(as_json.stdout)["drifted"] == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"at": "yesterday", "parts": []}'])
def test_an_object_that_is_no_report_is_said_with_its_key(
    where: Environment, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(looking, "look", lambda where: Report(NOON, ("tables",)))
    where.lake.store.write(key_of(NIGHTLY), content)
    shown = drift(where)
    assert shown.exit_code == 3
    assert "drift/nightly.json" in shown.stdout
    assert "the next look writes it again" in shown.stdout


def test_what_stands_in_place_of_the_report_from_outside_is_written_over(
    where: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks each night would fail each night."""
    monkeypatch.setattr(looking, "look", lambda where: Report(NOON, ("tables",)))
    where.lake.store.write(key_of(OUTSIDE), b'{"at": "torn')
    assert drift(where, "--report").exit_code == 3
    assert drift(where).exit_code == 0


def test_what_is_left_after_a_repair_is_kept_for_alerts_if_that_is_requested(
    where: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Drifted("tables", "gavel_test", "gavel_test.orders", "table", "none of this name", "one", "Remove it.")
    monkeypatch.setattr(looking, "look", lambda where, only=None: Report(NOON, ("tables",), (left,)))
    assert drift(where, "--repair").exit_code == 1
    assert OUTSIDE not in looking.reports(where)[0]
    assert drift(where, "--repair", "--report").exit_code == 1
    assert looking.reports(where)[0][OUTSIDE].drifted == (left,)


REALTIME = next(stack for stack in STACKS if stack.key == "realtime")


def looked_at(after: str) -> list[Drifted | Unread]:
    """What is found of an alias with a second version, if the stack's state is `after` once the detection has ended."""
    with stubbed("cloudformation") as stub:
        place = Place("prod", "111122223333", "eu-west-1", "aws")
        deployed = Deployed(Environment("prod", lambda service: stub.client), REALTIME, place, {}, load_contracts())
        stack = {"StackName": "gavel-prod", "StackId": "s-1", "CreationTime": NOON, "StackStatus": "UPDATE_COMPLETE"}
        stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "gavel-prod"})
        stub.add_response("detect_stack_drift", {"StackDriftDetectionId": "d-1"}, {"StackName": "gavel-prod"})
        ended = {
            "StackId": "s-1",
            "StackDriftDetectionId": "d-1",
            "DetectionStatus": "DETECTION_COMPLETE",
            "Timestamp": NOON,
        }
        stub.add_response("describe_stack_drift_detection_status", ended, {"StackDriftDetectionId": "d-1"})
        weights = {
            "PropertyPath": "/RoutingConfig",
            "ExpectedValue": "null",
            "ActualValue": '{"AdditionalVersionWeights":[{"FunctionVersion":"8","FunctionWeight":0.1}]}',
            "DifferenceType": "ADD",
        }
        alias = {
            "StackId": "s-1",
            "LogicalResourceId": "ApiFunctionAliaslive",
            "PhysicalResourceId": "arn:aws:lambda:eu-west-1:111122223333:function:gavel-prod-api:live",
            "ResourceType": "AWS::Lambda::Alias",
            "PropertyDifferences": [weights],
            "StackResourceDriftStatus": "MODIFIED",
            "Timestamp": NOON,
        }
        stub.add_response(
            "describe_stack_resource_drifts", {"StackResourceDrifts": [alias]}, {"StackName": "gavel-prod"}
        )
        stub.add_response("describe_stacks", {"Stacks": [stack | {"StackStatus": after}]}, {"StackName": "gavel-prod"})
        return list(changed_resources(deployed))


def test_calls_that_go_over_to_a_new_version_are_no_drift() -> None:
    (found,) = looked_at("UPDATE_IN_PROGRESS")
    assert isinstance(found, Unread)
    assert "ApiFunctionAliaslive" in found.why


def test_an_alias_that_somebody_gave_a_second_version_is_drift() -> None:
    (found,) = looked_at("UPDATE_COMPLETE")
    assert isinstance(found, Drifted)
    assert found.what == "/RoutingConfig"
