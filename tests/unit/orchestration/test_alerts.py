"""Alerts say what, why, when and where to look, in a form that SNS accepts."""

from datetime import UTC, datetime
from unittest import mock

from contracts import load_contracts
from lakehouse.results import Published
from lakehouse.storage.store import StoredObject
from orchestration.alerts import SUBJECT_LIMIT, Alert, AlertResource
from orchestration.watches import late_alert, set_aside_alert

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALERT = Alert(what="Run of compaction failed", why="no space", when=NOON, link="http://ui/runs/1")


def test_a_message_holds_all_four():
    assert ALERT.message == (
        "What: Run of compaction failed\nWhy:  no space\nWhen: 2026-11-21 12:00:00 UTC\nLink: http://ui/runs/1\n"
    )


def test_a_subject_is_one_short_line_of_ascii():
    subject = Alert(what="Größe\n" + "x" * 200, why="", when=NOON, link="").subject
    assert len(subject) == SUBJECT_LIMIT
    assert subject.isascii()
    assert "\n" not in subject


def test_without_a_topic_nothing_is_sent():
    assert AlertResource().send(ALERT) is False


def test_with_a_topic_the_alert_is_published():
    client = mock.Mock()
    with mock.patch("boto3.client", return_value=client):
        assert AlertResource(topic="arn").send(ALERT) is True
    client.publish.assert_called_once_with(TopicArn="arn", Subject=ALERT.subject, Message=ALERT.message)


def test_late_tables_are_named_with_their_watermark():
    assert "orders" in load_contracts()
    state = Published("orders", "m", "c", 1, 1, NOON, 1, 1, 1, 1, "1")
    alert = late_alert(["orders"], [state], NOON, "http://ui")
    assert alert.what == "Published data is late: orders"
    assert "orders is published up to 2026-11-21 12:00:00 UTC" in alert.why
    assert alert.link == "http://ui/assets/catalog/orders"


def test_set_aside_objects_are_counted_by_entity():
    alert = set_aside_alert("quarantine/", [StoredObject("quarantine/orders/a", "e", 1, NOON)], "http://bucket")
    assert alert.what == "1 new object(s) below quarantine/"
    assert "orders (1)" in alert.why
    assert alert.when == NOON
