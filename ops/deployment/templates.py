"""The templates of an environment as CloudFormation gets them.

What follows from the contracts is added here: the landing tables of the lake, which Firehose reads its columns from,
and tags and grants of the governance. The tables are the same that the pipeline keeps (`lakehouse.table.glue_tables`),
so that neither undoes what the other wrote.

    python -m ops.deployment.templates lake --environment prod

prints a template, for linters and for who wants to read it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from contracts import Contracts, load_contracts
from lakehouse.api import landing_table
from ops.deployment.stacks import STACKS
from ops.governance import granting

FILES = {stack.key: stack.template for stack in STACKS}
"""The templates of an environment's stacks, in the order in which they are deployed."""


def template(stack: str, contracts: Contracts, environment: str, account: str) -> str:
    """The template of a stack, as text: JSON where contracts add to it, else the file as it is."""
    text = FILES[stack].read_text("utf-8")
    match stack:
        case "lake":
            added = landing_tables(contracts, environment, account)
        case "governance":
            added = granting.resources(contracts, environment)
        case _:
            return text
    document = _plain(_composed(text))
    document["Resources"] |= added
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def parsed(template: str | Mapping[str, Any]) -> dict[str, Any]:
    """A template as answers of CloudFormation have it (YAML or JSON as text, or a JSON object): the short forms of its
    functions written out, and every value as text, so that two can be compared."""
    text = template if isinstance(template, str) else json.dumps(template)
    document: dict[str, Any] = _texts(_plain(_composed(text)))
    return document


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def declared(stack: str) -> dict[str, dict[str, Any]]:
    """The parameters that a stack's template declares, as CloudFormation's `Parameters` has them."""
    return _parameters(FILES[stack].read_text("utf-8"))


@cache
def _parameters(text: str) -> dict[str, dict[str, Any]]:
    root: Any = _composed(text)
    return next((dict(_plain(value)) for name, value in root.value if name.value == "Parameters"), {})


def data_bucket(environment: str, account: str) -> str:
    """The data bucket's name, as realtime/template.yaml has it."""
    return f"gavel-{environment}-data-{account}"


def landing_tables(contracts: Contracts, environment: str, account: str) -> dict[str, Any]:
    """A Glue table for each entity that lands by Firehose, by its name as a resource."""
    bucket = data_bucket(environment, account)
    return {
        f"Landing{''.join(word.capitalize() for word in contract.name.split('_'))}": {
            "Type": "AWS::Glue::Table",
            "DeletionPolicy": "RetainExceptOnCreate",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "CatalogId": {"Ref": "AWS::AccountId"},
                "DatabaseName": {"Ref": "Landing"},
                "TableInput": landing_table(contract, f"s3://{bucket}/landing/{contract.name}/"),
            },
        }
        for contract in contracts.of_origin("stream")
    }


def _composed(text: str) -> Any:
    return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _plain(node: Any) -> Any:
    """A YAML node as JSON has it: the short forms of CloudFormation's functions written out."""
    if isinstance(node, yaml.MappingNode):
        plain: Any = {_plain(name): _plain(value) for name, value in node.value}
    elif isinstance(node, yaml.SequenceNode):
        plain = [_plain(value) for value in node.value]
    elif node.tag.startswith("!") or node.style or node.tag == "tag:yaml.org,2002:str":
        plain = str(node.value)
    else:
        plain = yaml.safe_load(node.value) if node.value else ""
    if not node.tag.startswith("!"):
        return plain
    name = node.tag[1:]
    if name == "GetAtt" and isinstance(plain, str):
        plain = plain.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": plain}


def main() -> None:
    """Print a template."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("stack", choices=[*FILES])
    parser.add_argument("--environment", default="prod", choices=["dev", "test", "prod"])
    parser.add_argument("--account", default="111122223333")
    given = parser.parse_args()
    sys.stdout.write(template(given.stack, load_contracts(), given.environment, given.account))


if __name__ == "__main__":
    main()
