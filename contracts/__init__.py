"""Data contracts: one YAML file per entity, the light package that loads them, and the change record they define.

Everything that the product knows about an entity comes from here; there is no second list of entities anywhere. The
package imports nothing heavy, because the Lambda functions carry it.
"""

from contracts.loader import load_contract, load_contracts
from contracts.model import Contract, ContractError, Contracts, DynamoKeys, Partition, Relation
from contracts.odcs import parse_contract
from contracts.types import Field

__all__ = [
    "Contract",
    "ContractError",
    "Contracts",
    "DynamoKeys",
    "Field",
    "Partition",
    "Relation",
    "load_contract",
    "load_contracts",
    "parse_contract",
]
