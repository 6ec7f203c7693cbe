"""The values of a processed template: references and functions of CloudFormation put in, as far as they can be known.

What only the resource itself knows, such as the address of a secret, is a hole in the text, which any text fills.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HOLE = "\ufffc"
"""Stands for a text that is not known here."""
_ABSENT = object()
_VARIABLE = re.compile(r"\$\{(!?)([^}]+)\}")
_ARNS = {
    "AWS::DynamoDB::Table": "arn:{partition}:dynamodb:{region}:{account}:table/{id}",
    "AWS::ECS::Cluster": "arn:{partition}:ecs:{region}:{account}:cluster/{id}",
    "AWS::Events::EventBus": "arn:{partition}:events:{region}:{account}:event-bus/{id}",
    "AWS::Events::Rule": "arn:{partition}:events:{region}:{account}:rule/" + HOLE + "{name}",  # its bus is before it
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role/{id}",
    "AWS::KinesisFirehose::DeliveryStream": "arn:{partition}:firehose:{region}:{account}:deliverystream/{id}",
    "AWS::KMS::Key": "arn:{partition}:kms:{region}:{account}:key/{id}",
    "AWS::Logs::LogGroup": "arn:{partition}:logs:{region}:{account}:log-group:{id}:*",
    "AWS::Lambda::Function": "arn:{partition}:lambda:{region}:{account}:function:{id}",
    "AWS::S3::Bucket": "arn:{partition}:s3:::{id}",
    "AWS::SQS::Queue": "arn:{partition}:sqs:{region}:{account}:{name}",
}
"""What `Arn` is of a resource, by its physical id; `name` is the last part of an address."""


@dataclass(frozen=True)
class Resource:
    """A resource of a stack: its logical and physical id, its type, and its properties with values put in."""

    logical: str
    physical: str
    kind: str
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Resolver:
    """The values of one stack. `physical` has ids by logical ones; `facts` are partition, region and account, and the
    stack's name and id."""

    template: Mapping[str, Any]
    parameters: Mapping[str, str]
    physical: Mapping[str, str]
    facts: Mapping[str, str]

    def resources(self) -> list[Resource]:
        """The resources that the stack has made, by the template's order."""
        return [
            Resource(name, self.physical[name], body["Type"], self.value(body.get("Properties", {})))
            for name, body in self.template["Resources"].items()
            if name in self.physical
        ]

    def value(self, of: Any) -> Any:
        """A part of the template with values put in; what is `AWS::NoValue` is left out."""
        found = self._value(of)
        return {} if found is _ABSENT else found

    def _value(self, of: Any) -> Any:
        if isinstance(of, list):
            return [found for one in of if (found := self._value(one)) is not _ABSENT]
        if not isinstance(of, dict):
            return of
        if len(of) == 1:
            ((name, argument),) = of.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: found for key, one in of.items() if (found := self._value(one)) is not _ABSENT}

    def _function(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._reference(str(self._value(argument)))
            case "Fn::GetAtt":
                logical, _, attribute = (
                    argument.partition(".") if isinstance(argument, str) else (argument[0], ".", argument[1])
                )
                return self._attribute(logical, attribute)
            case "Fn::Sub":
                return self._substituted(argument)
            case "Fn::Join":
                return str(argument[0]).join(map(_text, self._value(argument[1])))
            case "Fn::Select":
                listed = self._value(argument[1])
                index = int(self._value(argument[0]))
                return listed[index] if isinstance(listed, list) and index < len(listed) else HOLE
            case "Fn::Split":
                return str(self._value(argument[1])).split(argument[0])
            case "Fn::FindInMap":
                first, second, third = (str(self._value(part)) for part in argument[:3])
                return self.template.get("Mappings", {}).get(first, {}).get(second, {}).get(third, HOLE)
            case "Fn::If":
                return self._value(argument[1] if self._holds({"Condition": argument[0]}) else argument[2])
        return HOLE

    def _reference(self, name: str) -> Any:
        pseudo = {"AWS::Partition": "partition", "AWS::Region": "region", "AWS::AccountId": "account",
            "AWS::StackName": "stack", "AWS::StackId": "stack_id", "AWS::URLSuffix": "suffix"}  # fmt: skip
        if name == "AWS::NoValue":
            return _ABSENT
        if name in pseudo:
            return self.facts.get(pseudo[name], HOLE)
        if name in self.parameters:
            kind = self.template.get("Parameters", {}).get(name, {}).get("Type", "String")
            value = self.parameters[name]
            return [one.strip() for one in value.split(",")] if "List" in kind else value
        return self._address(name)

    def _address(self, logical: str) -> str:
        """What a reference to a resource gives: its physical id, of a managed policy or topic its ARN."""
        return self.physical.get(logical, HOLE)

    def _attribute(self, logical: str, attribute: str) -> str:
        kind = self.template["Resources"].get(logical, {}).get("Type", "")
        physical = self.physical.get(logical)
        if attribute in ("Arn", "TopicArn") and physical is not None:
            if physical.startswith("arn:"):
                return physical
            if kind in _ARNS:
                return _ARNS[kind].format(**self.facts, id=physical, name=re.split(r"[/|]", physical)[-1])
        if attribute == "QueueName" and physical is not None:
            return physical.rpartition("/")[2]
        return HOLE

    def _substituted(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else (argument[0], argument[1])

        def put_in(found: re.Match[str]) -> str:
            literal, name = found[1], found[2].strip()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return _text(self._value(own[name]))
            if "." in name:
                return _text(self._attribute(*name.split(".", 1)))
            return _text(self._reference(name))

        return _VARIABLE.sub(put_in, str(text))

    def _holds(self, condition: Any) -> bool:
        match condition:
            case {"Condition": str(name)}:
                return self._holds(self.template.get("Conditions", {})[name])
            case {"Fn::Not": [one]}:
                return not self._holds(one)
            case {"Fn::And": parts}:
                return all(map(self._holds, parts))
            case {"Fn::Or": parts}:
                return any(map(self._holds, parts))
            case {"Fn::Equals": [one, other]}:
                return bool(_text(self._value(one)) == _text(self._value(other)))
        raise ValueError(f"expected a condition of CloudFormation, found {condition!r}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
