"""Templates as the emulator takes them: without what it does not know, since it refuses all of a template for that."""

from __future__ import annotations

import json
from typing import Any

from cfnlint.decode.cfn_yaml import loads

UNKNOWN = frozenset({"AWS::CloudWatch::CompositeAlarm", "AWS::IAM::OIDCProvider", "AWS::Logs::QueryDefinition"})
UNMADE = "AWS::CloudFormation::WaitConditionHandle"
"""A type that it takes with any properties, and makes nothing for."""


def emulated(template: str) -> str:
    """The template, in YAML or JSON, as JSON. What the emulator does not know is left unmade: some types, and alarms
    that compute with metrics. Everything else stays as it is, loops included."""
    document = loads(template)
    _leave_unmade(document["Resources"])
    for name, parameter in document.get("Parameters", {}).items():
        if name.endswith("Release"):  # it hands SAM no values, and SAM needs one here
            parameter["Default"] = "0" * 64
    of_functions = document.get("Globals", {}).get("Function", {})
    if "DeploymentPreference" in of_functions:  # it has no CodeDeploy
        of_functions["DeploymentPreference"]["Enabled"] = False
    return json.dumps(document)


def _leave_unmade(part: Any) -> None:
    """Also in the bodies of `Fn::ForEach`, which are lists."""
    match part:
        case {"Type": str(kind)} if kind in UNKNOWN or (kind == "AWS::CloudWatch::Alarm" and _computes(part)):
            part["Type"] = UNMADE
        case dict():
            for inner in part.values():
                _leave_unmade(inner)
        case list():
            for inner in part:
                _leave_unmade(inner)


def _computes(alarm: dict[str, Any]) -> bool:
    return "Metrics" in alarm.get("Properties", {})
