"""A result that one process writes is what the other reads."""

import json
from datetime import UTC
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.results import Counts
from local.dagster.pipeline_result import EntityResult, PipelineResult

NUMBERS = st.integers(0, 10**12)
RESULTS = st.builds(
    PipelineResult,
    entities=st.lists(
        st.builds(EntityResult, entity=st.text(), counts=st.builds(Counts, *[NUMBERS] * 6), rows=NUMBERS)
    ).map(tuple),
    models=NUMBERS,
    report=st.none() | st.text("ab/.", min_size=1).map(Path),
    data_time=st.none() | st.datetimes(timezones=st.just(UTC)),
    failures=st.dictionaries(st.text(), st.text()),
    run_ids=st.tuples(st.text(), st.text()),
    seconds=st.floats(0, 1e6),
)


@given(RESULTS)
def test_a_result_survives_as_json(result: PipelineResult) -> None:
    assert PipelineResult.of_document(json.loads(json.dumps(result.to_document()))) == result
