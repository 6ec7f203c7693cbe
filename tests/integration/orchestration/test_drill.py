"""The drill fires and resolves every kind of alert through the real sensor, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.alerts.alert import Alert, Part
from orchestration.alerts.channels import ChannelError, Webhook
from orchestration.alerts.drill import Drilled, Receiver, drill
from orchestration.alerts.kinds import KINDS


@pytest.fixture(scope="module")
def drilled() -> tuple[list[Drilled], list[str]]:
    """What the drill found, and what another channel got meanwhile."""
    got: list[str] = []
    return drill({"other": lambda alert: got.append(alert.message)}), got


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_raised_and_resolved(drilled: tuple[list[Drilled], list[str]], kind: str) -> None:
    assert [one.problems for one in drilled[0] if one.kind == kind] == [()]


def test_the_other_channel_got_all_of_it_also_while_the_webhook_refused(
    drilled: tuple[list[Drilled], list[str]],
) -> None:
    for kind in KINDS:
        of_kind = [text for text in drilled[1] if f"docs/operations.md#{kind}\n" in text]
        times = 2 if kind == "dead-letters" else 1  # they are what the webhook refuses in the end
        assert [text.startswith("Resolved:") for text in of_kind] == [False, True] * times, kind


def test_a_receiver_keeps_nothing_of_what_it_refuses() -> None:
    now = datetime.now(UTC) - timedelta(hours=1)
    alert = Alert("raised", (Part("run-failed", "x", "y", now, "error", ""),), now)
    receiver = Receiver()
    with receiver.listening():
        receiver.refuse = True
        with pytest.raises(ChannelError, match=r"^the webhook at 127\.0\.0\.1 answered 503$"):
            Webhook(receiver.url)(alert)
        receiver.refuse = False
        Webhook(receiver.url)(alert)
    assert len(receiver.take()) == 1
