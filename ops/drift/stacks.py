"""Stacks as CloudFormation has them against what is here: template, parameters, and what was changed behind it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from contracts import Contracts
from lakehouse.drift.back import Back, Call
from lakehouse.drift.findings import Drifted, Make, Trace, Unread, differences, shortened
from ops.deployment.change_sets import described
from ops.deployment.following import in_progress, until
from ops.deployment.given import Place
from ops.deployment.parts import OF_THE_BUILD, function_settings
from ops.deployment.stacks import Stack
from ops.deployment.templates import declared, parsed, template
from ops.drift.policies import COVERED
from ops.drift.resolving import HOLE, Resolver, Resource
from ops.drift.switches import OWN_PATHS, switched
from ops.environment import Environment

STACKS_PART = "stacks"
STACK, TEMPLATE, PARAMETERS, RESOURCES, SWITCHES = "stack", "template", "parameters", "resources", "switches"
"""What of a stack is looked at, each by itself."""
DEPLOY = "Run `gavel deploy {environment}` from the version that is to run."
SET_BACK = (
    "Run `gavel ops drift --repair`, which shows first what it would set back; deploying again changes only what "
    "differs between templates."
)
"""CloudFormation compares what it is given with what it was given last, and looks at no resource."""
BY_TABLES = ("AWS::Glue::Table", "AWS::Glue::Database")
"""Types that are compared with the contracts (`lakehouse.drift.tables`)."""
LONGEST_DETECTION = timedelta(minutes=15)
_HIDDEN = "****"
"""What CloudFormation says of a parameter that it shows nobody."""


class DetectionError(RuntimeError):
    """CloudFormation did not look at all of a stack; says why."""


@dataclass(frozen=True)
class Deployed:
    """A stack of an environment as it is deployed. `given` are its parameters that are known here."""

    where: Environment
    stack: Stack
    place: Place
    given: Mapping[str, str]
    contracts: Contracts

    @property
    def name(self) -> str:
        """Its name in CloudFormation."""
        return self.stack.name(self.place.environment)

    @property
    def do(self) -> str:
        """What brings template and parameters back."""
        return DEPLOY.format(environment=self.place.environment)

    @cached_property
    def cloudformation(self) -> Any:
        """CloudFormation where the stack is."""
        return self.where.client_in("cloudformation", self.stack.region)

    @cached_property
    def described(self) -> dict[str, Any] | None:
        """What `DescribeStacks` says of it; None if it is not there."""
        return described(self.cloudformation, self.name)

    def moves(self) -> bool:
        """Whether CloudFormation works on it at this moment."""
        return in_progress((described(self.cloudformation, self.name) or {"StackStatus": ""})["StackStatus"])

    @property
    def parameters(self) -> dict[str, str]:
        """The values of its parameters."""
        listed = (self.described or {}).get("Parameters", ())
        return {one["ParameterKey"]: one.get("ResolvedValue") or one.get("ParameterValue", "") for one in listed}

    @cached_property
    def resources(self) -> list[Resource]:
        """What it has made, with the values of its processed template; nothing where it is not there."""
        if self.described is None:
            return []
        arn = self.described["StackId"]
        body = self.cloudformation.get_template(StackName=self.name, TemplateStage="Processed")["TemplateBody"]
        pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.name)
        physical = {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            if one.get("PhysicalResourceId") and one["ResourceStatus"] != "DELETE_COMPLETE"
        }
        facts = {
            "partition": self.place.partition,
            "region": self.stack.region or self.place.region,
            "account": self.place.account,
            "stack": self.name,
            "stack_id": arn,
        }
        return Resolver(parsed(body), self.parameters, physical, facts).resources()


def missing(one: Deployed) -> Iterator[Drifted]:
    """That the stack is not there."""
    if one.described is None:
        yield _maker(one, STACK)(one.name, "stack", "that it is there", "none")


def changed_template(one: Deployed) -> Iterator[Drifted]:
    """Where the template that was deployed is not the one that is here."""
    if one.described is None:
        return
    found = one.cloudformation.get_template(StackName=one.name, TemplateStage="Original")["TemplateBody"]
    there = parsed(found)
    here = parsed(template(one.stack.key, one.contracts, one.place.environment, one.place.account))
    for section in sorted((here.keys() | there.keys()) - {"Resources"}):
        if here.get(section) != there.get(section):
            yield _maker(one, TEMPLATE)(one.name, f"template, {section}", "that of this version", "another one")
    ours, theirs = here.get("Resources", {}), there.get("Resources", {})
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            found = "another one" if name in ours.keys() & theirs.keys() else "none" if name in ours else "one more"
            yield _maker(one, TEMPLATE)(one.name, f"template, resource {name}", "that of this version", found)


def changed_parameters(one: Deployed, outputs: Mapping[str, str]) -> Iterator[Drifted]:
    """Where a parameter has another value than the environment's file, an earlier stack or the template gives.
    `outputs` are those of all stacks, as "stack.Output". Bundles and image are what was deployed last."""
    if one.described is None:
        return
    defaults = {
        name: str(parameter["Default"]) for name, parameter in declared(one.stack.key).items() if "Default" in parameter
    }
    functions = function_settings(one.contracts) if one.stack.functions else {}
    fed = {name: outputs[source] for name, source in one.stack.outputs.items() if source in outputs}
    bound = {"Boundary": outputs.get("delivery.BoundaryArn", "")} if one.stack.bounded else {}
    wanted = {**defaults, **fed, **functions, **bound, **one.given}
    unknown = {one.stack.image, *(name for name in one.stack.outputs if name not in fed and name not in one.given)}
    for name, expected in sorted(wanted.items()):
        found = one.parameters.get(name)
        if name in unknown | OF_THE_BUILD or found in (expected, _HIDDEN):
            continue
        yield _maker(one, PARAMETERS)(
            one.name, f"parameter {name}", expected or "nothing", "none" if found is None else found
        )


def changed_resources(one: Deployed, longest: timedelta = LONGEST_DETECTION) -> Iterator[Drifted | Unread]:
    """What CloudFormation's own detection finds changed or deleted behind it. Raises `DetectionError`."""
    if one.described is None:
        return
    detection = one.cloudformation.detect_stack_drift(StackName=one.name)["StackDriftDetectionId"]
    deadline = time.monotonic() + longest.total_seconds()

    def ended() -> dict[str, Any] | None:
        status: dict[str, Any] = one.cloudformation.describe_stack_drift_detection_status(
            StackDriftDetectionId=detection
        )
        if status["DetectionStatus"] != "DETECTION_IN_PROGRESS":
            return status
        if time.monotonic() > deadline:
            raise DetectionError(f"{one.name}: expected the end of drift detection within {longest}, found none")
        return None

    status = until(ended)
    request: dict[str, Any] = {"StackName": one.name}
    while True:
        page = one.cloudformation.describe_stack_resource_drifts(**request)
        for found in page["StackResourceDrifts"]:
            yield from _resource(one, found)
        if not page.get("NextToken"):
            break
        request["NextToken"] = page["NextToken"]
    if status["DetectionStatus"] == "DETECTION_FAILED":
        raise DetectionError(f"{one.name}: {status.get('DetectionStatusReason') or 'no reason was given'}")


def changed_switches(one: Deployed) -> Iterator[Drifted | Unread]:
    """Switches that are not as the template has them."""
    return switched(
        STACKS_PART,
        unit_of(one, SWITCHES),
        one.resources,
        lambda service: one.where.client_in(service, one.stack.region),
        SET_BACK,
    )


def _resource(one: Deployed, found: Mapping[str, Any]) -> Iterator[Drifted | Unread]:
    kind, physical = found["ResourceType"], found.get("PhysicalResourceId", "")
    state, name = found["StackResourceDriftStatus"], f"{found['LogicalResourceId']} ({kind} {physical})"
    if kind in COVERED or kind in BY_TABLES:
        return
    if (state, kind) == ("MODIFIED", "AWS::Lambda::Alias") and one.moves():  # calls go over: no change behind the stack
        yield Unread(STACKS_PART, unit_of(one, RESOURCES), f"{name}: an update of the stack began meanwhile")
        return
    make = _maker(one, RESOURCES, physical, physical.rpartition("/")[2])
    if state == "DELETED":
        yield make(name, "resource", "that it is there", "none")
    elif state == "UNKNOWN":
        yield Unread(STACKS_PART, unit_of(one, RESOURCES), shortened(f"{name}: {found.get('DriftStatusReason', '')}"))
    for difference in found.get("PropertyDifferences", ()) if state == "MODIFIED" else ():
        path = difference["PropertyPath"]
        if (kind == "AWS::KMS::Key" and path.startswith("/KeyPolicy")) or path.startswith(OWN_PATHS.get(kind, ())):
            continue
        back = _queue_back(one, physical, difference) if kind == "AWS::SQS::Queue" else None
        yield make(
            name, path, difference.get("ExpectedValue"), difference.get("ActualValue"), back or by_change_set(one)
        )


def _queue_back(one: Deployed, url: str, difference: Mapping[str, Any]) -> Back | None:
    """What sets an attribute of a queue back, or its tags."""
    try:
        properties = next((r.properties for r in one.resources if r.physical == url), {})
    except Exception:  # noqa: BLE001 - what differs is known without the template, and is said
        return None
    name, found = difference["PropertyPath"].split("/")[1], difference.get("ActualValue")
    if name == "Tags":
        if difference.get("DifferenceType") == "ADD":  # `tag_queue` takes none away
            return None
        tags = {tag["Key"]: str(tag["Value"]) for tag in properties.get("Tags", ())}
        return Back((Call("sqs", "tag_queue", {"QueueUrl": url, "Tags": tags}, one.stack.region),)) if tags else None
    wanted = properties.get(name)
    text = wanted if isinstance(wanted, str) else json.dumps(wanted)
    if wanted is None or HOLE in text or name in ("QueueName", "FifoQueue"):
        return None
    call = Call("sqs", "set_queue_attributes", {"QueueUrl": url, "Attributes": {name: text}}, one.stack.region)
    if name == "MessageRetentionPeriod" and str(found).isdigit() and int(str(found)) > int(text):
        return Back((call,), f"SQS deletes messages that are older than {text} s then", person=True)
    return Back((call,))


def by_change_set(one: Deployed) -> Back:
    """What sets any other property back: a change set of CloudFormation that reverts drift. A person looks at it, since
    some properties are set back by replacing the resource."""
    kept = [{"ParameterKey": name, "UsePreviousValue": True} for name in sorted(one.parameters)]
    made = {"StackName": one.name, "ChangeSetName": "gavel-take-back"}
    request = {
        **made,
        "ChangeSetType": "UPDATE",
        "DeploymentMode": "REVERT_DRIFT",
        "UsePreviousTemplate": True,
        "Parameters": kept,
        "Capabilities": list(one.stack.capabilities),
    }
    calls = [
        Call("cloudformation", operation, arguments, one.stack.region)
        for operation, arguments in (
            ("create_change_set", request),
            ("describe_change_set", made),
            ("execute_change_set", made),
        )
    ]
    return Back(tuple(calls), "carry out the last only if the second shows no resource that is replaced", person=True)


def unit_of(one: Deployed, aspect: str) -> str:
    """What of a stack is looked at as a whole."""
    return f"{one.name}: {aspect}"


def _maker(one: Deployed, aspect: str, *names: str) -> Make:
    traced = Trace(tuple(filter(None, dict.fromkeys(names or (one.name,)))))
    return differences(STACKS_PART, unit_of(one, aspect), traced, SET_BACK if aspect == RESOURCES else one.do)
