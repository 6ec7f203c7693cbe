"""`make mutations`: would the tests notice, if somebody broke a rule?

`code.yaml` and `models.yaml` list deliberate faults with what catches each. A fault that survives is a test that is
missing. Words as arguments select faults by what they are and where.
"""

from __future__ import annotations

import shutil
import sys

from rich.console import Console
from rich.table import Table

from tests.mutations import code, models

WORK = code.ROOT / "build" / "mutations"


def main(words: list[str]) -> int:
    """Exit code 0 when every fault is noticed by the tests that are named for it."""

    def wanted(*reported: str) -> bool:
        return not words or any(word in " ".join(reported) for word in words)

    in_code = [fault for fault in code.load() if wanted(fault.what, fault.within)]
    in_models = [fault for fault in models.load() if wanted(fault.what, fault.file)]
    shutil.rmtree(WORK, ignore_errors=True)
    table, console = Table("fault", "in", "tests", ""), Console(width=200)
    outcomes: list[str] = []
    if in_code:
        for fault, outcome in code.run(in_code, WORK / "code").items():
            table.add_row(
                fault.what, str(fault.module(code.ROOT).relative_to(code.ROOT)), ", ".join(fault.caught_by), outcome
            )
            outcomes.append(outcome)
    if in_models:
        for model_fault, outcome in models.run(in_models, WORK / "models").items():
            table.add_row(model_fault.what, model_fault.file, model_fault.caught_by, outcome)
            outcomes.append(outcome)
    console.print(table)
    caught = sum(outcome.startswith("caught") for outcome in outcomes)
    console.print(f"{caught} of {len(outcomes)} faults are caught.")
    return 0 if caught == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
