"""Alerts say what, why, since when, how bad, what to do and where to look, in the forms that SNS and Slack accept."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.results import Published
from lakehouse.storage.store import StoredObject
from orchestration.alerts.alert import SUBJECT_LIMIT, Alert, Part, Problem, part_of, span
from orchestration.alerts.channels import slack
from orchestration.alerts.kinds import KINDS, SEVERITIES
from orchestration.alerts.watches.freshness import late_problem
from orchestration.alerts.watches.objects import PREFIXES, by_folder

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PART = Part("run-failed", "Run of compaction failed", "no space", NOON, "error", "http://ui/runs/1")
ALERT = Alert("raised", (PART,), NOON)


def test_a_message_holds_everything() -> None:
    assert ALERT.message == (
        "What:  Run of compaction failed\nWhy:   no space\nSince: 2026-11-21 12:00:00 UTC\nHow bad: error\n"
        "What to do: docs/operations.md#run-failed\nLink:  http://ui/runs/1\n"
    )


def test_a_subject_says_in_which_state_the_worst_is() -> None:
    other = Part("dead-letters", "3 dead letter(s) wait: inbound", "", NOON, "critical", "")
    assert Alert("resolved", (PART,), NOON).subject == "Resolved: Run of compaction failed"
    assert Alert("reminder", (other, PART), NOON).subject == "Still: 3 dead letter(s) wait: inbound (and 1 more)"
    assert Alert("raised", (PART, other), NOON).severity == "critical"


def test_a_subject_is_one_short_line_of_ascii() -> None:
    subject = Alert("raised", (Part("run-failed", "Größe\n" + "x" * 200, "", NOON, "error", ""),), NOON).subject
    assert len(subject) == SUBJECT_LIMIT
    assert subject.isascii()
    assert "\n" not in subject


parts = st.builds(
    Part,
    kind=st.sampled_from(sorted(KINDS)),
    what=st.text(min_size=1, max_size=900),
    why=st.text(max_size=100) | st.just("x" * 100_000),
    since=st.datetimes(timezones=st.just(UTC)),
    severity=st.sampled_from(SEVERITIES),
    link=st.text(max_size=20) | st.just("https://ui/" + "y" * 5000),
)
alerts = st.builds(
    Alert,
    state=st.sampled_from(("raised", "worse", "reminder", "resolved")),
    parts=st.lists(parts, min_size=1, max_size=30).map(tuple),
    at=st.datetimes(timezones=st.just(UTC)),
)


@given(alerts)
def test_whatever_is_in_an_alert_it_can_be_kept_and_sent(alert: Alert) -> None:
    bounded = alert.bounded()
    assert len(json.dumps(bounded.to_document(), ensure_ascii=False)) < 10_000
    assert Alert.of_document(json.loads(json.dumps(bounded.to_document()))) == bounded
    assert len(bounded.subject) <= SUBJECT_LIMIT
    assert bounded.subject.isprintable()
    assert len(bounded.message.encode()) < 256_000
    document = slack(bounded)
    assert html.unescape(document["text"]).startswith(html.unescape(bounded.what[:100]))
    blocks: list[Any] = document["blocks"]
    assert len(blocks) <= 50
    assert len(blocks[0]["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3000 for block in blocks if block["type"] == "section")


def test_markup_of_slack_calls_nobody_and_makes_no_link() -> None:
    evil = Part("run-failed", "<!channel>", "see <https://evil|here> & more", NOON, "error", "javascript:x")
    document = slack(Alert("raised", (evil,), NOON))
    text = json.dumps(document["blocks"][1:])
    assert "<" not in document["text"], "which a notification shows, and others that take Slack's form"
    assert "<!channel>" not in text
    assert "<https://evil" not in text
    assert "javascript" not in text


def test_many_problems_of_a_kind_are_named_and_counted() -> None:
    some = [Problem("published-data-is-late", f"e{n:02d}", f"reason {n}", NOON - timedelta(hours=n)) for n in range(13)]
    part = part_of(some, NOON)
    assert part.what == f"Published data is late: {', '.join(f'e{n:02d}' for n in range(10))} and 3 more"
    assert part.why.endswith("; e09: reason 9; and 3 more")
    assert part.since == NOON - timedelta(hours=12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (90_000, "1 day 1 h"),
        (172_800, "2 days"),
    ],
)
def test_a_duration_reads_well(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)).strip() == text


def test_a_late_table_is_named_with_its_watermark() -> None:
    from contracts import load_contracts

    orders = load_contracts()["orders"]
    problem = late_problem(orders, Published("orders", "m", "c", 1, 1, NOON, 1, 1, 1, 1, "1"), "http://ui")
    assert part_of([problem], NOON).what == "Published data is late: orders"
    assert "orders is published up to 2026-11-21 12:00:00 UTC" in problem.why
    assert problem.link == "http://ui/assets/catalog/orders"
    assert problem.since == NOON + timedelta(minutes=orders.freshness_minutes)


def test_set_aside_objects_are_counted_by_folder_and_once() -> None:
    objects = [
        StoredObject(f"quarantine/{name}", "e", 1, NOON + timedelta(minutes=n))
        for n, name in enumerate(("orders/a.parquet", "orders/a.parquet.object", "bids/b.parquet", "orders/c.parquet"))
    ]
    found = by_folder(PREFIXES[0], objects)
    assert {name: some.count for name, some in found.items()} == {"orders": 2, "bids": 1}
    assert (found["orders"].oldest, found["orders"].last) == (NOON, "quarantine/orders/c.parquet")
