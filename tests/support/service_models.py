"""What AWS's own description of a service's request says of a property: the lengths, patterns, values and numbers that
CloudFormation's registry often leaves out. The descriptions are those that botocore brings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.session import Session

from tests.support.made import FILLER, Made

SERVICES = {"Cognito": "cognito-idp", "ElasticLoadBalancingV2": "elbv2", "KinesisFirehose": "firehose"}
"""Services that CloudFormation calls otherwise than botocore."""
OPERATIONS = {
    "AWS::Cognito::UserPoolGroup": "CreateGroup",
    "AWS::ElasticLoadBalancingV2::ListenerRule": "CreateRule",
    "AWS::IAM::ManagedPolicy": "CreatePolicy",
    "AWS::IAM::OIDCProvider": "CreateOpenIDConnectProvider",
    "AWS::LakeFormation::DataLakeSettings": "PutDataLakeSettings",
    "AWS::LakeFormation::PrincipalPermissions": "GrantPermissions",
    "AWS::LakeFormation::Tag": "CreateLFTag",
    "AWS::Lambda::Permission": "AddPermission",
    "AWS::CloudWatch::Alarm": "PutMetricAlarm",
}
"""How a type is made where the operation does not have its name."""
VERBS = ("Create", "Put", "Register")
CLASSES = {
    r"\p{L}": r"\w",
    r"\p{M}": "",
    r"\p{N}": r"\d",
    r"\p{P}": "!-/:-@",
    r"\p{S}": "$+<=>|",
    r"\p{Z}": r"\s",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
}
"""Java's classes of characters as Python has them, as far as names here need them."""


class Seen:
    """The paths that a description says something of, by type."""

    def __init__(self) -> None:
        self.paths = set[tuple[str, str]]()


def operation(kind: str) -> OperationModel | None:
    """The operation that makes a resource of a type; None where it is put on another one, or made in several steps."""
    _, space, name = kind.split("::")
    service = _model(SERVICES.get(space, space.lower()))
    known = {one.lower(): one for one in service.operation_names}
    wanted = [OPERATIONS[kind]] if kind in OPERATIONS else [f"{verb}{name}" for verb in VERBS]
    found = next((known[one.lower()] for one in wanted if one.lower() in known), None)
    return service.operation_model(found) if found else None


def unfit(one: Made, seen: Seen) -> Iterator[str]:
    """What the service would refuse of a resource: where, what, and why."""
    made_by = operation(one.kind)
    if made_by is not None and made_by.input_shape is not None:
        yield from _refused(made_by.input_shape, one.properties, one, "", seen)


@cache
def _model(service: str) -> Any:
    return Session().get_service_model(service)


def _refused(shape: Shape, value: Any, one: Made, path: str, seen: Seen) -> Iterator[str]:
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        members = {name.lower(): member for name, member in shape.members.items()}
        for name, part in value.items():
            if name.lower() in members:
                yield from _refused(members[name.lower()], part, one, f"{path}.{name}", seen)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        yield from _why(shape, len(value), len(value), one, path)
        for part in value:
            yield from _refused(shape.member, part, one, f"{path}[]", seen)
    elif isinstance(shape, MapShape) and isinstance(value, Mapping):
        for part in value.values():
            yield from _refused(shape.value, part, one, f"{path}.*", seen)
    elif not isinstance(value, dict | list) and FILLER not in str(value):
        seen.paths.add((one.kind, path))
        yield from _scalar(shape, str(value).lower() if isinstance(value, bool) else str(value), one, path)


def _scalar(shape: Shape, text: str, one: Made, path: str) -> Iterator[str]:
    if shape.type_name in ("integer", "long", "float", "double"):
        yield from _why(shape, float(text), text, one, path)
        return
    if shape.type_name == "string":
        yield from _why(shape, len(text), text, one, path)
        allowed, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        if allowed and text not in allowed:
            yield f"{one.label}{path}: expected one of {allowed}, found {text!r}"
        if pattern and not re.fullmatch(_translated(pattern), text, re.DOTALL):
            yield f"{one.label}{path}: expected {pattern}, found {text!r}"


def _why(shape: Shape, number: float, shown: Any, one: Made, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", float("inf"))
    if not least <= number <= most:
        yield f"{one.label}{path}: expected {least} to {most}, found {shown!r} ({number})"


def _translated(pattern: str) -> str:
    """A pattern of AWS, which is Java's, as Python's."""
    for name, own in CLASSES.items():
        pattern = pattern.replace(name, own)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r}: {error}") from error
    return pattern
