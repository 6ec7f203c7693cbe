"""The template as CloudFormation makes it: loops unrolled, SAM's resources turned into plain ones.

Rules about resources are checked here, because a role or an alarm that a loop or SAM makes counts as much as one that
is written down. As a script it prints the result as JSON, for scanners that know neither loops nor SAM:
`python -m tests.support.expanded --environment prod`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from realtime.bundle import FUNCTIONS

TEMPLATE = Path(__file__).parents[2] / "realtime" / "template.yaml"
CODEPIPELINE = Path(__file__).parents[2] / "deploy" / "codepipeline.yaml"
SAM = "AWS::Serverless-2016-10-31"
RELEASES = tuple(f"{name.capitalize()}Release" for name in FUNCTIONS)
"""Parameters of which SAM makes the names of versions."""


class ExpansionError(RuntimeError):
    """The template cannot be expanded; says why."""


@cache
def expanded(environment: str) -> dict[str, Any]:
    """The template with one environment's parameters, as plain CloudFormation. References stay what they are."""
    from cfnlint.decode import cfn_yaml
    from cfnlint.template import Template
    from samtranslator.translator.transform import transform

    from contracts import load_contracts

    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of switches that only AWS has
    template = cfn_yaml.load(str(TEMPLATE))
    entities = ",".join(c.name for c in load_contracts().of_origin("stream"))
    given = {"Environment": environment, "Entities": entities, **dict.fromkeys(RELEASES, "0" * 64)}
    for name, parameter in template["Parameters"].items():
        parameter["Default"] = given.get(name, parameter.get("Default", f"a-{name.lower()}"))
    _only(environment, template)
    unrolled = Template(str(TEMPLATE), template, ["eu-west-1"])
    if problems := unrolled.transform():
        raise ExpansionError("; ".join(str(p) for p in problems))
    plain = json.loads(json.dumps(unrolled.template)) | {"Transform": SAM}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")  # SAM asks for one, and calls nobody
        result: dict[str, Any] = transform(plain, {}, _NoManagedPolicies())
    return result


@cache
def expanded_stack(stack: str, environment: str) -> dict[str, Any]:
    """A template of `deploy/` with its loops unrolled. References stay what they are."""
    from cfnlint.decode import cfn_yaml

    from contracts import load_contracts
    from ops.deployment.stacks import LAYERS
    from ops.deployment.templates import FILES, template

    document = cfn_yaml.loads(template(stack, load_contracts(), environment, "111122223333"))
    for name, parameter in document["Parameters"].items():
        parameter["Default"] = {"Environment": environment, "Layers": ",".join(LAYERS)}.get(name, f"a-{name.lower()}")
    _only(environment, document)
    return _unrolled(FILES[stack], document)


@cache
def expanded_file(path: Path) -> dict[str, Any]:
    """A template that belongs to no environment, with its loops unrolled. References stay what they are."""
    from cfnlint.decode import cfn_yaml

    return _unrolled(path, cfn_yaml.load(str(path)))


def _unrolled(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    from cfnlint.template import Template

    unrolled = Template(str(path), document, ["eu-west-1"])
    if problems := unrolled.transform():
        raise ExpansionError("; ".join(str(p) for p in problems))
    plain: dict[str, Any] = json.loads(json.dumps(unrolled.template))
    return plain


def _only(environment: str, template: dict[str, Any]) -> None:
    """Leave out what mappings say of other environments: cfn-lint would take the last one's, whatever is given."""
    if "Environments" in template.get("Mappings", {}):
        template["Mappings"]["Environments"] = {environment: template["Mappings"]["Environments"][environment]}


class _NoManagedPolicies:
    """SAM may look up managed policies by name; the template names none."""

    def load(self) -> dict[str, str]:
        return {}


def main() -> None:
    """Print the expanded template."""
    from ops.deployment.templates import FILES

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--environment", default="prod", choices=["local", "dev", "test", "prod"])
    parser.add_argument("--stack", default="realtime", choices=[*FILES, "codepipeline"])
    given = parser.parse_args()
    json.dump(_of(given.stack, given.environment), sys.stdout, indent=2)


def _of(stack: str, environment: str) -> dict[str, Any]:
    if stack == "codepipeline":
        return expanded_file(CODEPIPELINE)
    return expanded(environment) if stack == "realtime" else expanded_stack(stack, environment)


if __name__ == "__main__":
    main()
