"""What is left as it was is reported as true as it is, and stays so when news comes after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from assets.data_times import DATA_TIME, TABLES_READ, Reads, TableRead, as_metadata, data_time, reads_in, unread_since
from assets.unchanged import LEFT_AS_IT_WAS, Unchanged, checks_as_before, model_as_before
from warehouse.news import Outcome

MART = dg.AssetKey(["marts", "fct_orders"])
BEGIN = datetime(2026, 11, 21, tzinfo=UTC)


def left(before: Reads, now: Reads) -> Reads:
    """What the model has read by the report of a build that leaves it."""
    metadata = {TABLES_READ: as_metadata(before), DATA_TIME: dg.MetadataValue.timestamp(BEGIN)}
    read = reads_in(model_as_before(MART, metadata, now).metadata or {})
    assert read is not None
    return read


@given(st.lists(st.tuples(st.sampled_from(["orders", "lots"]), st.booleans()), min_size=1, max_size=12))
def test_a_model_that_is_left_is_as_true_as_one_that_is_built(steps: list[tuple[str, bool]]) -> None:
    """Watermarks move each minute; a table gets other rows now and then, and the model is built after that, or left."""
    now: dict[str, TableRead] = {name: TableRead("0", BEGIN) for name in ("orders", "lots")}
    read: Reads = dict(now)
    for minute, (table, changes) in enumerate(steps, 1):
        moment = BEGIN + timedelta(minutes=minute)
        now = {name: TableRead(value.rows, moment) for name, value in now.items()}
        read = left(read, now)  # nothing has other rows than it read
        assert data_time(read, now) == moment
        if changes:
            later = {**now, table: TableRead(str(minute), moment + timedelta(seconds=30))}
            assert data_time(read, later) == moment, "not the moment of its build, which may be long ago"
            assert unread_since(read, later) == moment
            now, read = later, dict(later)


def test_a_test_that_is_left_says_why() -> None:
    usual, proven = (dg.AssetCheckKey(MART, name) for name in ("usual", "proven"))
    outcome = Outcome("project", {}, "build 7", "pass", 0, "")
    reported = checks_as_before(Unchanged(tests={usual: outcome, proven: outcome}, proven=[proven]))
    said = {r.check_name: r.metadata[LEFT_AS_IT_WAS].value for r in reported}
    assert said == {
        "usual": "no news in what it reads since it ran in build 7",
        "proven": "each publication was audited for what it says since it ran in build 7",
    }
