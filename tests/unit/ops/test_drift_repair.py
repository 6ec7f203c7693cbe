"""Taking drift back, on plain data and answers of services; on the emulator: `tests/integration/ops/test_drift.py`."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lakehouse.drift.back import Back, Call
from lakehouse.drift.findings import Drifted, Report
from ops.drift import repairing
from ops.drift.documents import compared, mended
from ops.drift.repairing import Plan, carry_out
from ops.drift.resolving import HOLE, Resource
from ops.drift.switches import OWN_PATHS, switched
from ops.environment import Environment

NOW = datetime(2026, 11, 30, tzinfo=UTC)
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{HOLE}/*"}
THERE = {**READ, "Resource": "arn:aws:s3:::a/*"}
MORE = {"Effect": "Allow", "Action": "*", "Resource": "*"}
SEND = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:eu-west-1:1:q"}


def drifted(name: str, back: Back | None = None) -> Drifted:
    return Drifted("policies", "gavel-dev", name, "role", "a", "b", "Do it by hand.", back=back)


def call(name: str) -> Call:
    return Call("iam", "delete_role", {"RoleName": name})


class Recording:
    """A client that remembers what was called, and refuses one name."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def delete_role(self, RoleName: str) -> None:
        if RoleName == "refused":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteRole")
        self.called.append(RoleName)


def test_a_plan_makes_the_calls_of_what_may_be_taken_back_and_names_the_rest() -> None:
    ours, theirs = drifted("a", Back((call("a"),))), drifted("b", Back((call("b"),), "it is gone then", person=True))
    plan = Plan.of([ours, theirs, drifted("c")])
    assert ([one.name for one in plan.ours], [one.name for one in plan.theirs]) == (["a"], ["b", "c"])
    client = Recording()
    assert carry_out(Environment("dev", lambda service: client), plan) == {}
    assert client.called == ["a"]
    said = "\n".join(repairing.lines(plan, ["stacks, gavel-dev: AccessDenied"]))
    assert said.index("To be taken back: 1") < said.index("--role-name a") < said.index("Left to a person: 2")
    assert "aws iam delete-role --role-name b\n    note: it is gone then" in said
    assert said.endswith("Not read, and left as it is: stacks, gavel-dev: AccessDenied")


def test_a_call_that_fails_hides_no_other_and_what_two_differences_share_is_called_once() -> None:
    client = Recording()
    names = ("refused", "a", "a")
    failed = carry_out(Environment("dev", lambda _: client), Plan.of(drifted(n, Back((call(n),))) for n in names))
    assert client.called == ["a"]
    assert list(failed) == ["aws iam delete-role --role-name refused"]
    assert "AccessDenied" in failed["aws iam delete-role --role-name refused"]


@pytest.mark.parametrize("there", [[THERE, MORE], [MORE, THERE, SEND], [THERE]])
def test_a_document_is_mended_around_what_only_the_resource_knows(there: list[dict[str, str]]) -> None:
    expected = {"Version": "2012-10-17", "Statement": [READ, SEND]}
    document = mended(expected, {"Statement": there})
    assert document is not None
    assert compared(expected, document) == ([], [])
    assert THERE in document["Statement"]
    assert MORE not in document["Statement"]


def test_a_statement_that_is_gone_and_that_nobody_can_fill_is_left_to_a_person() -> None:
    assert mended({"Statement": [READ]}, {"Statement": [MORE]}) is None


def test_without_a_hole_the_document_is_the_templates() -> None:
    assert mended({"Statement": [{**SEND, "Sid": "Send"}]}, {"Statement": [MORE]}) == {
        "Version": "2012-10-17",
        "Statement": [{**SEND, "Sid": "Send"}],
    }


class Lambda:
    """A mapping that somebody turned off."""

    def get_event_source_mapping(self, UUID: str) -> dict[str, str]:
        if UUID == "denied":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetEventSourceMapping")
        return {"State": "Disabled"}


def test_a_switch_that_cannot_be_read_hides_no_other() -> None:
    kind = "AWS::Lambda::EventSourceMapping"
    resources = [Resource("Denied", "denied", kind, {}), Resource("Work", "1-2", kind, {"Enabled": "true"})]
    unread, off = switched("stacks", "gavel-dev: switches", resources, lambda _: Lambda(), "Repair it.")
    assert "AccessDenied" in unread.why  # type: ignore[union-attr]
    assert isinstance(off, Drifted)
    assert (off.what, off.expected, off.found) == ("state", "on", "off")
    assert off.back is not None
    assert [str(one) for one in off.back.calls] == ["aws lambda update-event-source-mapping --uuid 1-2 --enabled"]


def test_what_is_compared_as_a_switch_is_a_property_of_its_type() -> None:
    """CloudFormation's finding of it is left out by this path."""
    for kind, paths in OWN_PATHS.items():
        for path in paths:
            assert path.count("/") == 1, (kind, path)


def test_a_sensor_that_was_switched_off_is_started_where_dagster_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"sensors": [{"name": "alerts", "sensorState": {"status": "STOPPED"}}], "schedules": []}
    entry = {"name": "gavel", "locationOrLoadError": {"repositories": [{"name": "__repository__", **states}]}}
    sent: list[dict[str, Any]] = []

    def answered(request: Any, timeout: float) -> io.BytesIO:
        sent.append({"to": request.full_url, **json.loads(request.data)})
        started = {"startSensor": {"__typename": "Sensor"}}
        read = {"workspaceOrError": {"locationEntries": [entry]}}
        return io.BytesIO(json.dumps({"data": started if "startSensor" in sent[-1]["query"] else read}).encode())

    monkeypatch.setattr("urllib.request.urlopen", answered)
    plan = Plan.of(repairing.switched_off("http://ui"))
    assert [one.name for one in plan.ours] == ["sensor alerts"]
    assert carry_out(Environment("local", lambda _: None), plan, "http://ui") == {}
    assert sent[-1]["variables"] == {"name": "alerts", "location": "gavel", "repository": "__repository__"}
    assert {one["to"] for one in sent} == {"http://ui/graphql"}


@pytest.mark.parametrize("answers", [True, False])
def test_what_is_switched_off_is_looked_at_where_dagsters_ui_is_named(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    def switched_off(ui_url: str) -> list[Drifted]:
        if not answers:
            raise OSError(f"{ui_url} does not answer")
        return [drifted("sensor alerts")]

    there = Report(NOW, ("policies",), (drifted("a"),))
    monkeypatch.setattr("ops.drift.looking.look", lambda where: there)
    monkeypatch.setattr(repairing, "switched_off", switched_off)
    where = Environment("dev", lambda _: None)
    assert repairing.looked(where, "") == there
    found = repairing.looked(where, "http://ui")
    assert [one.name for one in found.drifted] == (["a", "sensor alerts"] if answers else ["a"])
    assert [(one.part, one.unit) for one in found.unread] == ([] if answers else [("definitions", "switches")])
