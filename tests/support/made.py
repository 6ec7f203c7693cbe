"""All that an environment's stacks make, with the values that CloudFormation would put in: of every template, so that a
rule about resources holds whichever file they are in. What only AWS knows is a filler as long as such values get."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ops.deployment.stacks import STACKS
from ops.deployment.templates import declared
from ops.drift.resolving import HOLE, Resolver
from tests.support.expanded import CODEPIPELINE, expanded, expanded_file, expanded_stack

FILLER = "x" * 64
"""Stands for an ARN's end, an id or an address that AWS gives: few are longer."""
LONG_REGION = "ap-southeast-1"
"""As long as a region's name gets."""
OF_NO_ENVIRONMENT = "codepipeline"
"""The stack that is there once for all environments."""


@dataclass(frozen=True, slots=True)
class Made:
    """One resource: the stack that it is in, its logical name, its type, its properties with values, and as written."""

    stack: str
    name: str
    kind: str
    properties: Mapping[str, Any]
    written: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How a test names it."""
        return f"{self.stack}.{self.name}"


@cache
def made(environment: str) -> tuple[Made, ...]:
    """The resources of all stacks of an environment, and of the one of none."""
    found = [
        one for stack in STACKS for one in _of(stack.key, stack.name(environment), document(stack.key, environment))
    ]
    return (*found, *_of(OF_NO_ENVIRONMENT, "gavel-codepipeline", expanded_file(CODEPIPELINE)))


def document(stack: str, environment: str) -> dict[str, Any]:
    """A stack's template with its loops unrolled and SAM's resources turned into plain ones."""
    return expanded(environment) if stack == "realtime" else expanded_stack(stack, environment)


def of_kind(environment: str, kind: str) -> list[Made]:
    """The resources of one type, of which there has to be one."""
    found = [one for one in made(environment) if one.kind == kind]
    assert found, kind
    return found


def values(properties: Any, path: str) -> Iterator[Any]:
    """What is at a path of names, with `*` for every part of a list; nothing where the path ends before."""
    first, _, rest = path.partition(".")
    if first == "*":
        for part in properties:
            yield from values(part, rest) if rest else [part]
    elif isinstance(properties, Mapping) and first in properties:
        yield from values(properties[first], rest) if rest else [properties[first]]


def size(document: Any) -> int:
    """Characters of a document as AWS counts them: without the blanks between its parts."""
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False))


def references(value: Any) -> set[str]:
    """The parameters and resources that a part of a template names directly."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, Mapping):
        return set()
    found = set[str]()
    for name, part in value.items():
        if name == "Ref":
            found.add(str(part))
        elif name == "Fn::GetAtt":
            found.add((part if isinstance(part, str) else str(part[0])).partition(".")[0])
        elif name == "Fn::Sub":
            text, own = (part, {}) if isinstance(part, str) else part
            found |= {one.partition(".")[0] for one in _variables(text)} - set(own) | references(own)
        else:
            found |= references(part)
    return found


def _variables(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("${")[1:] if not part.startswith("!")]


def _of(stack: str, name: str, template: Mapping[str, Any]) -> Iterator[Made]:
    facts = {"partition": "aws", "region": LONG_REGION, "account": "1" * 12, "suffix": "amazonaws.com", "stack": name,
        "stack_id": FILLER}  # fmt: skip
    numbers = {} if stack == OF_NO_ENVIRONMENT else {n: p for n, p in declared(stack).items() if p["Type"] == "Number"}
    given = {**template.get("Parameters", {}), **numbers}
    texts = {n: str(p.get("Default", "")) for n, p in given.items()}
    parameters = {n: FILLER if text == f"a-{n.lower()}" else text for n, text in texts.items()}
    resolver = Resolver(template, parameters, dict.fromkeys(template["Resources"], FILLER), facts)
    for logical, resource in template["Resources"].items():
        written = resource.get("Properties", {})
        yield Made(stack, logical, resource["Type"], _filled(resolver.value(written)), written)


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _filled(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part) for part in value]
    return value.replace(HOLE, FILLER) if isinstance(value, str) else value
