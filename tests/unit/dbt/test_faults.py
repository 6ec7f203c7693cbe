"""The list of deliberate faults follows the models; that each is caught is shown by `make mutations`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FAULTS = yaml.safe_load((ROOT / "tests" / "mutations" / "faults.yaml").read_text("utf-8"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["what"])
def test_a_fault_can_be_put_where_it_says(fault: dict[str, str]) -> None:
    """Whoever changes a rule changes the fault that breaks it."""
    text = (ROOT / "dbt_project" / fault["file"]).read_text("utf-8")
    assert text.count(fault["find"]) == 1
    assert fault["replace"] != fault["find"]
