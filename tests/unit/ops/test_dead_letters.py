"""Moving dead letters back ends, even when each of them fails again at once."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from ops.command_line import app
from ops.dead_letters import count, put_back
from ops.environment import Environment


class Refilled:
    """A queue service where every message that is sent is a dead letter again before the next look."""

    def __init__(self, letters: int) -> None:
        self.letters = [self._letter(n) for n in range(letters)]
        self.sent = 0

    def _letter(self, number: int) -> dict[str, Any]:
        attributes = {"SentTimestamp": "1795222923123"}
        return {"MessageId": f"m-{number}", "ReceiptHandle": f"h-{number}", "Body": "{}", "Attributes": attributes}

    def get_queue_url(self, **requested: str) -> dict[str, str]:
        return {"QueueUrl": requested["QueueName"]}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self.letters))}}

    def receive_message(self, **requested: Any) -> dict[str, Any]:
        return {"Messages": self.letters[: requested["MaxNumberOfMessages"]]}

    def send_message(self, **requested: Any) -> None:
        assert requested["QueueUrl"] == "gavel-dev-inbound"
        assert requested["MessageAttributes"]["received_at"]["StringValue"] == "2026-11-21T01:02:03.123000Z"
        self.sent += 1
        self.letters = [*self.letters, self._letter(100 + self.sent)]

    def delete_message(self, **requested: Any) -> None:
        assert requested["QueueUrl"] == "gavel-dev-inbound-dead-letters"
        self.letters = [m for m in self.letters if m["ReceiptHandle"] != requested["ReceiptHandle"]]


def test_no_more_dead_letters_are_moved_than_there_were() -> None:
    sqs = Refilled(12)
    assert put_back(Environment("dev", lambda service: sqs)) == sqs.sent == 12
    assert len(sqs.letters) == 12


def test_dead_letters_are_counted_by_queue() -> None:
    assert count(Environment("dev", lambda service: Refilled(3))) == {
        f"gavel-dev-{queue}-dead-letters": 3 for queue in ("inbound", "fanout", "events", "tracking")
    }


def test_dead_letters_are_listed_as_json_for_a_script() -> None:
    result = CliRunner().invoke(
        app, ["dead-letters", "list", "--json"], obj=lambda name: Environment("dev", lambda service: Refilled(3))
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {"queue": f"gavel-dev-{queue}-dead-letters", "waiting": 3}
        for queue in ("inbound", "fanout", "events", "tracking")
    ]
