"""What a person gives for an environment: its parameters file and an image. All that is wrong with it is said at once,
before anything is deployed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.deployment.change_sets import described
from ops.deployment.parts import FUNCTION_PARAMETERS
from ops.deployment.stacks import ROOT, STACKS, Certificate, Stack
from ops.deployment.templates import declared
from ops.environment import Environment, OpsError

PARAMETERS = ROOT / "deploy" / "parameters"
PLACE = ("account", "region")
STRICT = ("test", "prod")
"""The environments in which `Stack.strict` holds: what is tested there is what production has."""
IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.[^/]+/(?P<name>[^@:]+)@(?P<digest>sha256:\w{64})"
)


class NotReadyError(OpsError):
    """The deployment cannot begin; the message has everything that is wrong."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an environment is deployed to."""

    environment: str
    account: str
    region: str
    partition: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A stack with the values of its parameters that are known beforehand; None keeps the value that the stack has."""

    stack: Stack
    values: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stack that is left for later: the parameter that it waits for, and what else it needs, a line each."""

    parameter: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The stacks to deploy, in order, and those that are left for `later`, by their keys. `role` is the ARN of the role
    that CloudFormation makes them with; empty: with the rights of who deploys."""

    place: Place
    stacks: tuple[Planned, ...]
    later: Mapping[str, Waiting] = field(default_factory=dict)
    role: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person typed: the pipeline's image by its digest, that the pipeline or who may read what is left as it is,
    or that the stack of administrators is meant, and no other."""

    image: str | None = None
    without_pipeline: bool = False
    delivery: bool = False
    without_governance: bool = False


def plan(where: Environment, wanted: Wanted) -> Plan:
    """Read the parameters file of an environment and look at the account. Raises `NotReadyError` with all problems."""
    file = PARAMETERS / f"{where.name}.json"
    given, problems = _read(file)
    place, wrong = _look(where, given.pop("aws", {}))
    known = [stack.key for stack in STACKS]
    problems += wrong
    problems += [
        f"{key}: there is no such stack; expected aws, {', '.join(known)}" for key in given if key not in known
    ]
    stacks: list[Planned] = []
    later: dict[str, Waiting] = {}
    rights = _rights(where) if place and not wanted.delivery else {}
    for stack in STACKS:
        if stack.administrators != wanted.delivery or (stack.image and wanted.without_pipeline):
            continue
        if stack.own_rights and wanted.without_governance:
            continue
        image = {stack.image: wanted.image} if stack.image else {}  # None keeps what the stack has
        bound = {"Boundary": rights.get("BoundaryArn", "")} if stack.bounded else {}
        values = {**given.get(stack.key, {}), **_fixed(stack, place), **bound, **image}
        found = [f"{stack.key}.{problem}" for problem in _problems(where, stack, values, place)]
        if place and stack.waits_for and _waits(where, stack, wanted, given):
            later[stack.key] = Waiting(stack.waits_for, tuple(found))
            continue
        if place and stack.names_roles_of and (waiting := _unmade(where, stack.names_roles_of, stacks)):
            later[stack.key] = Waiting(waiting, tuple(found))
            continue
        problems += found
        stacks.append(Planned(stack, values))
    if problems or place is None:
        raise NotReadyError(f"correct {file.relative_to(ROOT)} or the credentials:\n  " + "\n  ".join(problems))
    return Plan(place, tuple(stacks), later, rights.get("ExecutionRoleArn", ""))


def intended(where: Environment) -> tuple[Place, dict[str, dict[str, str]]]:
    """Where an environment is, and the parameters of each stack that its file gives or that follow from the
    environment. Whether it can be deployed is not looked at. Raises `NotReadyError`, for credentials of another place,
    too."""
    file = PARAMETERS / f"{where.name}.json"
    given, problems = _read(file)
    place, wrong = _look(where, given.pop("aws", {}))
    if problems or wrong or place is None:
        lines = "\n  ".join([*problems, *wrong])
        raise NotReadyError(f"correct {file.relative_to(ROOT)} or the credentials:\n  {lines}")
    return place, {stack.key: {**given.get(stack.key, {}), **_fixed(stack, place)} for stack in STACKS}


def _read(file: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The texts of a parameters file, and what is in it that is none. Raises `NotReadyError` if it is no JSON object of
    objects."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotReadyError(f"{file}: expected a JSON object of the stacks' parameters, found {error}") from error
    stacks = found.items() if isinstance(found, dict) else [("", found)]
    bad = [
        f"{key}: expected a JSON object, found {json.dumps(of)[:40]}" for key, of in stacks if not isinstance(of, dict)
    ]
    if bad:
        raise NotReadyError(f"correct {file}:\n  " + "\n  ".join(line.removeprefix(": ") for line in bad))
    problems = [
        f"{key}.{name}: expected text in quotes, found {json.dumps(value)[:40]}"
        for key, of in stacks
        for name, value in of.items()
        if not isinstance(value, str)
    ]
    return {key: {n: v for n, v in of.items() if isinstance(v, str)} for key, of in stacks}, problems


def _look(where: Environment, named: Mapping[str, str]) -> tuple[Place | None, list[str]]:
    """The account and region of the credentials, and what is wrong with them."""
    try:
        sts = where.client("sts")
        caller = sts.get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return None, [f"credentials of the account and a region are needed (AWS_PROFILE, AWS_REGION), found: {error}"]
    place = Place(where.name, caller["Account"], sts.meta.region_name, caller["Arn"].split(":")[1])
    problems = []
    for name in PLACE:
        here, expected = getattr(place, name), named.get(name, "")
        if not expected:
            problems.append(
                f"aws.{name}: expected the {name} that {where.name} is in, found nothing; here it is {here}"
            )
        elif here != expected:
            problems.append(f"aws.{name}: {where.name} is in {expected}, but the credentials lead to {here}")
    return place, problems


def _rights(where: Environment) -> dict[str, str]:
    """The outputs of the stack that gives rights to deployments; nothing where there is none."""
    found: dict[str, str] = {}
    for stack in (one for one in STACKS if one.administrators):
        there = described(where.client_in("cloudformation", stack.region), stack.name(where.name))
        found |= {o["OutputKey"]: o["OutputValue"] for o in (there or {}).get("Outputs", ())}
    return found


def _fixed(stack: Stack, place: Place | None) -> dict[str, str]:
    if place is None:
        return dict.fromkeys(stack.fixed, "")
    facts = {"environment": place.environment, "account": place.account, "partition": place.partition}
    return {name: value.format(**facts) for name, value in stack.fixed.items()}


def _waits(where: Environment, stack: Stack, wanted: Wanted, given: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a stack is left for later: nobody has given yet what it waits for, and it was never made."""
    key, _, name = stack.waits_for.partition(".")
    if wanted.image if stack.image else given.get(key, {}).get(name):
        return False
    return not _is_made(where, stack)


def _unmade(where: Environment, key: str, planned: Sequence[Planned]) -> str:
    """The parameter that a stack waits for, if it is neither planned nor there; else nothing."""
    stack = next(one for one in STACKS if one.key == key)
    is_there = any(one.stack is stack for one in planned) or _is_made(where, stack)
    return "" if is_there else stack.waits_for


def _is_made(where: Environment, stack: Stack) -> bool:
    there = described(where.client_in("cloudformation", stack.region), stack.name(where.name))
    return there is not None and there["StackStatus"] not in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE")


def _problems(where: Environment, stack: Stack, values: Mapping[str, str | None], place: Place | None) -> Iterator[str]:
    """What is wrong with the parameters of a stack, each as "Parameter ...: ..."."""
    parameters = declared(stack.key)
    provided = {*stack.outputs, *(FUNCTION_PARAMETERS if stack.functions else ())} - values.keys()
    yield from (f"{name}: the template has no such parameter" for name in values if name not in parameters)
    wrong = set()
    for name, parameter in parameters.items():
        value = values.get(name, parameter.get("Default"))
        if name in provided or name in stack.fixed or (value is None and name in values):
            continue
        if why := complaint(parameter, value):
            wrong.add(name)
            yield f"{name} ({parameter.get('Description', '').rstrip('.')}): {why}"
        elif where.name in STRICT and str(value) != stack.strict.get(name, str(value)):
            wrong.add(name)
            yield f"{name}: expected {stack.strict[name]} in {where.name}, found {str(value)!r}"
    if place is None:
        return
    for name, certificate in stack.certificates.items():
        if not wrong & {name, certificate.domain} and (
            why := _certificate(where, str(values[name]), certificate, values, place)
        ):
            yield f"{name}: {why}"
    if (
        values.get(stack.image)
        and stack.image not in wrong
        and (why := _of_image(where, str(values[stack.image]), place))
    ):
        yield f"{stack.image}: {why}"


def complaint(parameter: Mapping[str, Any], value: Any) -> str | None:
    """Why a template's parameter cannot have a value; None if it can. None is no value."""
    if value is None:
        return "expected a value, found none"
    text = str(value)
    allowed = [str(one) for one in parameter.get("AllowedValues", ())]
    if allowed and text not in allowed:
        return f"expected one of {', '.join(allowed)}, found {text!r}"
    pattern = parameter.get("AllowedPattern")
    if pattern and not re.fullmatch(pattern, text):
        return f"expected {pattern}, found {text!r}" if text else "expected a value, found the empty placeholder"
    if parameter["Type"] == "Number":
        try:
            number = float(text)
        except ValueError:
            return f"expected a number, found {text!r}"
        least = parameter.get("MinValue")
        if least is not None and number < float(least):
            return f"expected at least {least}, found {text}"
    return None


def _certificate(
    where: Environment, arn: str, wanted: Certificate, values: Mapping[str, str | None], place: Place
) -> str | None:
    region, account = arn.split(":")[3:5]
    expected = wanted.region or place.region
    if (region, account) != (expected, place.account):
        return f"expected a certificate of {expected} in the account {place.account}, found {region} and {account}"
    try:
        found = where.client_in("acm", wanted.region).describe_certificate(CertificateArn=arn)["Certificate"]
    except ClientError as error:
        return str(error)
    if found["Status"] != "ISSUED":
        return f"expected an issued certificate, found one that is {found['Status']}"
    domain = str(values.get(wanted.domain))
    names = {found["DomainName"], *found.get("SubjectAlternativeNames", ())}
    if not names & {domain, f"*.{domain.partition('.')[2]}"}:
        return f"expected a certificate for {domain} ({wanted.domain}), found {', '.join(sorted(names))}"
    return None


def _of_image(where: Environment, image: str, place: Place) -> str | None:
    found = IMAGE.fullmatch(image)
    if not found or (found["account"], found["region"]) != (place.account, place.region):
        return (
            f"expected an image in ECR of {place.region} in the account {place.account} (tasks have no way to another "
            f"registry), found {image}"
        )
    wanted = [{"imageDigest": found["digest"]}]
    try:
        where.client("ecr").describe_images(repositoryName=found["name"], imageIds=wanted)["imageDetails"][0]
    except (ClientError, IndexError) as error:
        return f"expected an image that was pushed, found none: {error}"
    return None
