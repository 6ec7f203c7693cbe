"""What a published version of a function pins, as one digest of each: another digest publishes a version.

SAM publishes a version when a text changes that it is given (`AutoPublishCodeSha256`). Left to itself it looks at the
bundle and at settings as the template writes them, so that another value of a parameter would stay without effect: the
alias would lead to the version with the old one. So the digest is over all that the version takes with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ops.deployment.parts import RELEASE
from ops.deployment.templates import parsed
from realtime.bundle import FUNCTIONS

NOT_PINNED = ("Events", "DeploymentPreference", "AutoPublishCodeSha256", "Tags")
"""Properties of a function in SAM's words that no version holds."""
_NAMED = re.compile(r"\$\{([\w:]+)[.}]")


def releases(template: str, values: Mapping[str, str | None]) -> dict[str, str]:
    """The digests (64 hexadecimal digits) of the functions of `template`, the real-time path's, by the parameters that
    take them. `values` are those of its other parameters, bundles included; one that is missing has its default."""
    document = parsed(template)
    given = {name: values.get(name) or one.get("Default", "") for name, one in document["Parameters"].items()}
    return {
        f"{name.capitalize()}{RELEASE}": _digest(document, f"{name.capitalize()}Function", given) for name in FUNCTIONS
    }


def _digest(document: Mapping[str, Any], function: str, given: Mapping[str, str]) -> str:
    properties = document["Resources"][function]["Properties"]
    own = {name: value for name, value in properties.items() if name not in NOT_PINNED}
    of_all = {n: v for n, v in document["Globals"]["Function"].items() if n not in NOT_PINNED}
    conditions, mappings = _decided_by(document, [own, of_all])
    named = sorted(set(_names([own, of_all, conditions])))
    pinned = {
        "function": own,
        "globals": of_all,
        "conditions": conditions,
        "mappings": mappings,
        "parameters": {name: given[name] for name in named if name in given},
        # What it names: another name of a table, for example, is another value of a setting.
        "resources": {name: document["Resources"][name] for name in named if name in document["Resources"]},
    }
    return hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()


def _decided_by(document: Mapping[str, Any], value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The conditions of a template that a part of it depends on, those that these depend on included, and the mappings
    that part and conditions look values up in."""
    conditions: dict[str, Any] = {}
    waiting = [value]
    mappings = set[str]()
    while waiting:
        for function, argument in _functions(waiting.pop()):
            name = argument if function == "Condition" else argument[0]
            if function == "Fn::FindInMap" and isinstance(name, str):
                mappings.add(name)
            elif function != "Fn::FindInMap" and name not in conditions:
                conditions[name] = document["Conditions"][name]
                waiting.append(conditions[name])
    return conditions, {name: document["Mappings"][name] for name in sorted(mappings)}


def _functions(value: Any) -> Iterator[tuple[str, Any]]:
    """The uses of conditions and mappings in a part of a template, with their arguments."""
    if isinstance(value, list):
        for part in value:
            yield from _functions(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name in ("Fn::If", "Fn::FindInMap") or (name == "Condition" and isinstance(part, str)):
                yield name, part
            yield from _functions(part)


def _names(value: Any) -> Iterator[str]:
    """The parameters and resources that a part of a template names."""
    if isinstance(value, list):
        for part in value:
            yield from _names(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name == "Ref":
                yield str(part)
            elif name == "Fn::GetAtt":
                yield str(part[0])
            else:
                yield from _names(part)
    else:
        yield from _NAMED.findall(str(value))
