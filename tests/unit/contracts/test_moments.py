"""Whatever a person writes is a moment in UTC, or is refused with what was expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.moments import moment

offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.one_of(st.text(), st.builds(lambda t, o: t.replace(tzinfo=o).isoformat(), st.datetimes(), offsets)))
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
@example("2026-11-21T00:00:00")
def test_a_text_is_a_moment_or_is_refused(text: str) -> None:
    found, refused = None, ""
    try:
        found = moment(text)
    except ValueError as error:
        refused = str(error)
    if found is None:
        assert refused.startswith("expected a moment with offset")
    else:
        assert found.tzinfo is UTC
        assert found == datetime.fromisoformat(text)


def test_an_offset_is_counted() -> None:
    assert moment("2026-11-21T13:00:00+01:00") == datetime(2026, 11, 21, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match="found 'yesterday'"):
        moment("yesterday")
