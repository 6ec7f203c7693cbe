"""The lists of deliberate faults follow the code; that each fault is caught is shown by `make mutations`."""

from __future__ import annotations

from collections import Counter

import pytest

from contracts.dbt import PROJECT
from tests.mutations import code, models

IN_CODE, IN_MODELS = code.load(), models.load()


@pytest.mark.parametrize("fault", IN_MODELS, ids=lambda fault: fault.what)
def test_a_fault_can_be_put_into_the_model_that_it_names(fault: models.Fault) -> None:
    """Whoever changes a rule changes the fault that breaks it."""
    assert (PROJECT / fault.file).read_text("utf-8").count(fault.find) == 1
    assert fault.replace != fault.find


def test_a_fault_can_be_put_into_the_code() -> None:
    """Its text stands exactly once in its package, and its tests are there."""
    problems = []
    for fault in IN_CODE:
        try:
            fault.module(code.ROOT)
            assert fault.tests(code.ROOT)
        except ValueError as error:
            problems.append(str(error))
    assert problems == []
    assert [fault.what for fault in IN_CODE if fault.replace == fault.find] == []


def test_there_are_enough_faults_and_no_two_alike() -> None:
    assert len(IN_CODE) + len(IN_MODELS) >= 200
    names = Counter(fault.what for fault in (*IN_CODE, *IN_MODELS))
    assert [name for name, count in names.items() if count > 1] == []
