"""Reads contracts from a folder of ODCS v3 YAML files, or from one compact document.

One file is one entity; the file's name is the entity's name. What cannot be used raises `ContractError`, which lists
every problem of every file. `contracts.odcs` reads a document, `contracts.rules` says what makes it usable.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from contracts import rules
from contracts.compact import load_compact
from contracts.errors import gathered
from contracts.model import Contract, ContractError, Contracts
from contracts.odcs import parse_contract

ENTITIES = Path(__file__).parent / "entities"


def load_contracts(folder: Path | None = None) -> Contracts:
    """All contracts of a folder of `<entity>.yaml` files (default: the product's own), or of one document of
    `contracts.compact`, which were checked when it was made.

    Raises one `ContractError` with every problem of every contract, a line each. What relates two contracts is looked
    at when each can be used by itself.
    """
    folder = folder or ENTITIES
    if folder.is_file():
        return load_compact(folder.read_bytes())
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ContractError(f"{folder}: expected one YAML file per entity, found none")
    loaded = gathered(partial(load_contract, path) for path in files)
    contracts = Contracts({c.name: c for c in loaded})
    checks = [partial(rules.check_references, contract, contracts) for contract in contracts.values()]
    gathered([*checks, partial(rules.check_dimensions, contracts), partial(rules.check_alike, contracts)])
    whole = gathered(partial(rules.with_persons, contract, contracts) for contract in contracts.values())
    return Contracts({contract.name: contract for contract in whole})


def load_contract(path: Path) -> Contract:
    """The contract in one file; raises `ContractError` that names the file and the place in it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that is none
        raise ContractError(f"{path.name}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ContractError(f"{path.name}: expected a mapping at the top, found {type(document).__name__}")
    contract = parse_contract(document, where=path.name)
    if contract.name != path.stem:
        raise ContractError(f"{path.name}: expected name: {path.stem} (the file's name), found {contract.name}")
    return contract
