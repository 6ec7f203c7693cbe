"""`python -m contracts.dbt`: write the dbt files that follow from the contracts, and say which changed."""

import sys

from contracts.dbt import PROJECT, write
from contracts.loader import load_contracts

for changed in write(load_contracts()):
    sys.stdout.write(f"{changed.relative_to(PROJECT.parent)}\n")
