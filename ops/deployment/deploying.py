"""Brings the stacks of a plan to what is here, one after the other, and stops at the first that fails.

May be stopped at any point and run again: what CloudFormation has begun it ends by itself and is waited for, and what
is done already is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from contracts import Contracts
from ops.deployment import change_sets, following, parts, rollouts
from ops.deployment.change_sets import ChangeSet, DeploymentError, Request, described
from ops.deployment.given import Plan, Planned
from ops.deployment.releases import releases
from ops.deployment.stacks import Stack
from ops.deployment.templates import template
from ops.environment import Environment

BROKEN = {
    "CREATE_FAILED": "delete it (`aws cloudformation delete-stack`)",
    "ROLLBACK_FAILED": "delete it (`aws cloudformation delete-stack`)",
    "DELETE_FAILED": "see which resource is in the way, and delete it again",
    "UPDATE_FAILED": "roll it back (`aws cloudformation rollback-stack`)",
    "UPDATE_ROLLBACK_FAILED": "go on with its roll back (`aws cloudformation continue-update-rollback`)",
    "IMPORT_ROLLBACK_FAILED": "a person imported resources; see in its events which of them it could not put back",
}
"""States that a person has to end, and how."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to deploy: `dry` changes nothing; `ask` gets a prompt and says yes or no; what is in `replaced` may be
    replaced or removed although it holds data."""

    ask: Callable[[str], bool]
    dry: bool = False
    replaced: frozenset[str] = frozenset()


@dataclass
class Outcome:
    """What came of it: the stacks that were, or would be, changed; what was refused, and why; outputs by stack."""

    changed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """One run. `run` raises `DeploymentError` at the first stack that fails."""

    where: Environment
    plan: Plan
    manner: Manner
    say: Callable[[str], None]

    @cached_property
    def _contracts(self) -> Contracts:
        return self.where.contracts()

    def run(self) -> Outcome:
        """Deploy all stacks, or say what would be done."""
        outcome = Outcome()
        for planned in self.plan.stacks:
            name = planned.stack.name(self.plan.place.environment)
            cloudformation = self.where.client_in("cloudformation", planned.stack.region)
            self._come_to_rest(cloudformation, name)
            request = self._request(planned, name, outcome.outputs)
            if request is None:
                self.say(f"{name}: would be made; what it consists of is known when the stacks before it are there")
                outcome.changed.append(name)
                continue
            made = change_sets.propose(cloudformation, request)
            if made is None:
                self.say(f"{name}: no changes")
            elif not self._carry_out(planned, made, outcome):
                return outcome
            there = described(cloudformation, name)
            if planned.stack.protected and there is not None and not there.get("EnableTerminationProtection"):
                self._protect(cloudformation, name, outcome)
            given = there.get("Outputs", ()) if there else ()
            outcome.outputs[planned.stack.key] = {o["OutputKey"]: o["OutputValue"] for o in given}
        return outcome

    def _come_to_rest(self, cloudformation: Any, name: str) -> None:
        """Wait for what another run began, remove what a failed creation left, and refuse what a person has to end."""
        there = described(cloudformation, name)
        if there is not None and following.in_progress(there["StackStatus"]):
            if self.manner.dry:
                raise DeploymentError(f"{name} is {there['StackStatus']}: another run deploys it; wait for its end")
            self.say(f"{name}: another run began {there['StackStatus']}; waiting for its end")
            after = following.newest_event(cloudformation, there["StackId"])
            following.follow(cloudformation, there["StackId"], self._indented, after)
            there = described(cloudformation, name)
        status = there["StackStatus"] if there else ""
        if there is not None and status in BROKEN:
            raise DeploymentError(f"{name} is {status}: {BROKEN[status]}, then run this again")
        if there is not None and status == "ROLLBACK_COMPLETE":
            self._remove_remains(cloudformation, name, there["StackId"])

    def _remove_remains(self, cloudformation: Any, name: str, arn: str) -> None:
        """A stack whose first creation failed takes no change; there is nothing in it."""
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=arn)
        summaries = [resource for page in pages for resource in page["StackResourceSummaries"]]
        left = [s["LogicalResourceId"] for s in summaries if s["ResourceStatus"] != "DELETE_COMPLETE"]
        if left:
            raise DeploymentError(
                f"{name}: its first creation failed and left {', '.join(left)}; look at them, delete the stack "
                "(`aws cloudformation delete-stack`), then run this again"
            )
        prompt = f"{name}: its first creation failed, and nothing is left in it. Remove it and make it again?"
        if self.manner.dry:
            raise DeploymentError(f"{name}: its first creation failed; a deployment removes the empty stack first")
        if not self.manner.ask(prompt):
            raise DeploymentError(f"{name}: the stack of the failed creation has to be removed first")
        change_sets.remove(cloudformation, arn)

    def _request(self, planned: Planned, name: str, outputs: Mapping[str, Mapping[str, str]]) -> Request | None:
        """What CloudFormation is to make; None if it depends on stacks that are not there yet (a dry run)."""
        stack, place = planned.stack, self.plan.place
        bucket = outputs.get("foundation", {}).get("CodeBucketName")
        values = dict(planned.values)
        for parameter, source in stack.outputs.items():
            if parameter in values:  # a house has its own, a firewall for example
                continue
            key, _, output = source.partition(".")
            if output not in outputs.get(key, {}):
                if self.manner.dry:
                    return None
                raise DeploymentError(f"{name}: expected the output {output} of the stack {key}, found none")
            values[parameter] = outputs[key][output]
        contracts, s3 = self._contracts, self.where.client("s3")
        text = template(stack.key, contracts, place.environment, place.account)
        argument = parts.template_argument(s3, bucket, text, self.manner.dry)
        if argument is None:
            return None
        if stack.functions:
            self.say(f"{name}: building the bundles of the functions")
            values |= parts.function_bundles(s3, values["CodeBucket"] or "", contracts, upload=not self.manner.dry)
            values |= releases(text, values)
        role = "" if self.manner.dry or stack.own_rights else self.plan.role  # who only looks need not hand it over
        watched = bool(stack.alarms) and not self.manner.dry
        tags = {"application": "gavel", "environment": place.environment}  # the rights of deployments go by them
        return Request(name, argument, values, stack.capabilities, role, watched, self._alarms(stack), tags)

    def _alarms(self, stack: Stack) -> list[str]:
        """The ARNs of the alarms that take an update of the stack back."""
        if self.manner.dry or not stack.alarms:
            return []
        names = [alarm.format(environment=self.plan.place.environment) for alarm in stack.alarms]
        return change_sets.quiet(self.where.client_in("cloudwatch", stack.region), names)

    def _carry_out(self, planned: Planned, made: ChangeSet, outcome: Outcome) -> bool:
        """Show a change set and carry it out; False if it was refused, and is deleted."""
        cloudformation = self.where.client_in("cloudformation", planned.stack.region)
        self.say(f"{made.stack}: {'a new stack' if made.creates else 'an update'}, resources: {len(made.changes)}")
        for change in made.changes:
            self.say(f"  {change.line()}")
        if not made.changes:
            self.say("  no resource, only outputs or descriptions")
        for line in rollouts.announced(made, planned):
            self.say(f"  {line}")
        lost = [c.resource for c in made.changes if c.loses_data and c.resource not in self.manner.replaced]
        if lost:
            options = " ".join(f"--replace-data {name}" for name in lost)
            outcome.refused.append(f"{made.stack}: {', '.join(lost)} hold data; if that may go, say so with {options}")
        if self.manner.dry:
            outcome.changed.append(made.stack)
        if lost or self.manner.dry:
            change_sets.discard(cloudformation, made)
            return self.manner.dry
        if not self.manner.ask(f"Carry this out on {made.stack}?"):
            change_sets.discard(cloudformation, made)
            outcome.refused.append(f"{made.stack}: left as it is; the stacks after it were not looked at")
            return False
        self._execute(planned, made)
        outcome.changed.append(made.stack)
        return True

    def _execute(self, planned: Planned, made: ChangeSet) -> None:
        cloudformation = self.where.client_in("cloudformation", planned.stack.region)
        there = described(cloudformation, made.stack)
        assert there is not None, made.stack
        after = following.newest_event(cloudformation, there["StackId"])
        with change_sets.refusals(made.stack):
            cloudformation.execute_change_set(ChangeSetName=made.arn)
        ended = following.follow(cloudformation, there["StackId"], self._indented, after, requested=True)
        if ended.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            stopped = ""
            if planned.stack.functions:
                codedeploy = self.where.client_in("codedeploy", planned.stack.region)
                stopped = rollouts.stopped(cloudformation, codedeploy, there["StackId"])
            raise DeploymentError(
                f"{made.stack} ended with {ended.status}. What failed first:\n{ended.reasons}\n{stopped}"
                "CloudFormation puts back what was there before; no stack after this one was touched. Correct the "
                "cause and run this again"
            )

    def _indented(self, line: str) -> None:
        self.say(f"  {line}")

    def _protect(self, cloudformation: Any, name: str, outcome: Outcome) -> None:
        """Let a stack that holds data refuse to be deleted."""
        if not self.manner.dry:
            cloudformation.update_termination_protection(StackName=name, EnableTerminationProtection=True)
        self.say(f"{name}: {'would be' if self.manner.dry else 'is now'} protected from deletion")
        if name not in outcome.changed:
            outcome.changed.append(name)
