"""The way of imported events in tests: the API's import routes, the inbound queue on moto, and who takes from it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs

from ops.dead_letters import put_back
from ops.environment import Environment
from realtime.api.handler import Api
from realtime.deadline import Deadline
from realtime.inbound.service import Consumer


@dataclass
class Inbound:
    """Stands for API Gateway before the API, and for Lambda's poller between queue and function."""

    api: Api
    consumer: Consumer
    sqs: Any
    s3: Any
    queue: str
    dead_letters: str
    alerts: str
    bucket: str
    environment: str
    waits: list[int] = field(default_factory=list)
    logged: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0

    def post(self, entity: str, body: Any, *, group: str = "staff", raw: str | None = None) -> tuple[int, Any]:
        """Status and body of an import's answer."""
        return self._call("POST", "/imports/{entity}", {"entity": entity}, raw or json.dumps(body), group)

    def status(self, entity: str, import_id: str) -> tuple[int, Any]:
        parameters = {"entity": entity, "import_id": import_id}
        return self._call("GET", "/imports/{entity}/{import_id}", parameters, None, "staff")

    def _call(self, method: str, resource: str, path: dict[str, str], body: str | None, group: str) -> tuple[int, Any]:
        self.requests += 1
        claims = {"sub": "u-1", "cognito:groups": group, "custom:party_id": "c-1"}
        answer = self.api.answer(
            {
                "resource": resource,
                "httpMethod": method,
                "pathParameters": path,
                "headers": {},
                "requestContext": {"requestId": f"r-{self.requests}", "authorizer": {"claims": claims}},
                "body": body,
            }
        )
        status, content = answer["statusCode"], json.loads(answer["body"])
        (route,) = (r for r in self.api.routes if (r.method, r.resource) == (method, resource))
        if status < 300:
            jsonschema_rs.validate(route.answers[status], content)  # type: ignore[arg-type]
        else:
            assert status in {*route.errors, 400, 403, 500, 503}
        return status, content

    def send(self, body: Any, *, raw: str | None = None) -> None:
        """Send a message as another system does."""
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=raw if raw is not None else json.dumps(body))

    def deliver(self, seconds_left: Callable[[], float] = lambda: 60) -> tuple[int, int]:
        """One invocation with all that is in the queue; how many messages are done, and how many come again."""
        messages = self._receive(self.queue)
        output = io.StringIO()
        with redirect_stdout(output):
            answer = self.consumer.run([_record(m) for m in messages], Deadline(seconds_left))
        self.logged = [json.loads(line) for line in output.getvalue().splitlines()]
        again = {f["itemIdentifier"] for f in answer["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] in again:
                self._let_go(self.queue, message)
            else:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return len(messages) - len(again), len(again)

    def letters(self) -> list[tuple[str, dict[str, str]]]:
        """Body and attributes of the dead letters, which stay where they are."""
        messages = self._receive(self.dead_letters)
        for message in messages:
            self._let_go(self.dead_letters, message)
        return [(m["Body"], {n: a["StringValue"] for n, a in m.get("MessageAttributes", {}).items()}) for m in messages]

    def sent(self, queue: str) -> datetime:
        """When the only message of a queue was sent."""
        (message,) = self._receive(queue)
        self._let_go(queue, message)
        return datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)

    def redrive(self) -> int:
        """Move the dead letters back, as `gavel ops redrive` does."""
        return put_back(Environment(self.environment, lambda service: self.sqs))

    def notices(self) -> list[dict[str, Any]]:
        """The notices that people got."""
        return [json.loads(json.loads(m["Body"])["Message"]) for m in self._receive(self.alerts)]

    def metrics(self) -> list[dict[str, Any]]:
        """What the last invocation counted."""
        return [line for line in self.logged if "_aws" in line]

    def _receive(self, queue: str) -> Sequence[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                VisibilityTimeout=600,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            if not answer.get("Messages"):
                return found
            found += answer["Messages"]

    def _let_go(self, queue: str, message: dict[str, Any]) -> None:
        """As if the time that the message has to wait were over."""
        self.sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)


def _record(message: dict[str, Any]) -> dict[str, Any]:
    """A message as Lambda hands it over."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {n: message["Attributes"][n] for n in ("ApproximateReceiveCount", "SentTimestamp")},
        "messageAttributes": {
            n: {"stringValue": a["StringValue"], "dataType": a["DataType"]}
            for n, a in message.get("MessageAttributes", {}).items()
        },
        "eventSource": "aws:sqs",
    }
