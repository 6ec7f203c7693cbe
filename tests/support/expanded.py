"""The template as CloudFormation makes it: loops unrolled, SAM's resources turned into plain ones.

Rules about resources are checked here, because a role or an alarm that a loop or SAM makes counts as much as one that
is written down. As a script it prints the result as JSON, for scanners that know neither loops nor SAM:
`python -m tests.support.expanded --environment prod`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parents[2] / "realtime" / "template.yaml"
SAM = "AWS::Serverless-2016-10-31"


class ExpansionError(RuntimeError):
    """The template cannot be expanded; says why."""


@cache
def expanded(environment: str) -> dict[str, Any]:
    """The template with one environment's parameters, as plain CloudFormation. References stay what they are."""
    from cfnlint.decode import cfn_yaml
    from cfnlint.template import Template
    from samtranslator.translator.transform import transform

    from contracts import load_contracts

    os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")  # SAM asks for one, and calls nobody
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of switches that only AWS has
    template = cfn_yaml.load(str(TEMPLATE))
    given = {"Environment": environment, "Entities": ",".join(c.name for c in load_contracts().of_origin("stream"))}
    for name, parameter in template["Parameters"].items():
        parameter["Default"] = given.get(name, parameter.get("Default", f"a-{name.lower()}"))
    unrolled = Template(str(TEMPLATE), template, ["eu-west-1"])
    if problems := unrolled.transform():
        raise ExpansionError("; ".join(str(p) for p in problems))
    plain = json.loads(json.dumps(unrolled.template)) | {"Transform": SAM}
    result: dict[str, Any] = transform(plain, {}, _NoManagedPolicies())
    return result


class _NoManagedPolicies:
    """SAM may look up managed policies by name; the template names none."""

    def load(self) -> dict[str, str]:
        return {}


def main() -> None:
    """Print the expanded template."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--environment", default="prod", choices=["local", "dev", "test", "prod"])
    json.dump(expanded(parser.parse_args().environment), sys.stdout, indent=2)


if __name__ == "__main__":
    main()
