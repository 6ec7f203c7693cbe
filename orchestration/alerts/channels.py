"""The ways in which an alert leaves: the environment's SNS topic, and a webhook that takes Slack's form.

A webhook's address is a secret: whoever has it may write there. It is in no log, no error and no page of the UI.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR
from threading import Event, Timer
from typing import Any
from urllib.parse import urlsplit

from contracts.validation import shortened
from orchestration.alerts.alert import RUNBOOK, Alert, Part, moment

SNS, WEBHOOK = "SNS", "webhook"
WEBHOOK_SECONDS = 5.0
"""For each step of a request, and for all of it."""
TRIES = 2
"""In one tick; what fails then stays owed to the next."""
_BLOCK_LIMIT, _HEADER_LIMIT = 2900, 150  # characters: limits of Slack are 3000 and 150
_MARKS = {"warning": ":warning:", "error": ":red_circle:", "critical": ":rotating_light:"}

Send = Callable[[Alert], None]
"""Hands an alert over, or raises within seconds."""


class ChannelError(RuntimeError):
    """A channel did not take an alert; the message names no secret."""


class AlertChannels:
    """The channels of an environment, by name, made when they are first used; none where neither is set."""

    def __init__(
        self,
        topic: str | None = None,
        webhook: str | None = None,
        region: str = "eu-west-1",
        endpoint: str | None = None,
    ) -> None:
        self._channels: dict[str, Send] = {}
        if topic:
            self._channels[SNS] = sns(topic, region, endpoint)
        if webhook:
            self._channels[WEBHOOK] = Webhook(webhook)

    def add(self, channels: Mapping[str, Send]) -> None:
        """Add channels by name."""
        self._channels.update(channels)

    @property
    def by_name(self) -> Mapping[str, Send]:
        """Each channel under its name."""
        return self._channels


def sns(topic: str, region: str, endpoint: str | None) -> Send:
    """The channel to a topic."""
    client: Any = None

    def send(alert: Alert) -> None:
        nonlocal client
        if client is None:
            import boto3
            from botocore.config import Config

            patience = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
            client = boto3.client("sns", region_name=region, endpoint_url=endpoint, config=patience)
        client.publish(TopicArn=topic, Subject=alert.subject, Message=alert.message)

    return send


class Webhook:
    """The channel to a webhook. An answer of 2xx took the alert; a redirect is refused, since it would lead the
    message, or the secret, elsewhere."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)

    def __repr__(self) -> str:
        return f"Webhook({self._address.hostname})"

    def __call__(self, alert: Alert) -> None:
        body = json.dumps(slack(alert)).encode()
        problem = ""
        for _ in range(TRIES):
            problem, again = self._post(body)
            if not problem:
                return
            if not again:
                break
        raise ChannelError(f"the webhook at {self._address.hostname} {problem}")

    def _post(self, body: bytes) -> tuple[str, bool]:
        """Why it was not taken, and whether it is worth another try at once; empty where it was."""
        of = HTTPSConnection if self._address.scheme == "https" else HTTPConnection
        connection = of(self._address.hostname or "", self._address.port, timeout=WEBHOOK_SECONDS)
        path = self._address.path or "/"
        if self._address.query:
            path += f"?{self._address.query}"
        late = Event()
        timer = Timer(WEBHOOK_SECONDS, _cut, (connection, late))
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            return f"cannot be reached: {'TimeoutError' if late.is_set() else type(error).__name__}", True
        finally:
            timer.cancel()
            connection.close()
        if late.is_set():
            return "cannot be reached: TimeoutError", True
        if 200 <= status < 300:
            return "", False
        return f"answered {status}", status >= 500


def _cut(connection: HTTPConnection, late: Event) -> None:
    """End a connection on which an answer comes too slowly: a time limit of a socket begins again with each byte."""
    late.set()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(SHUT_RDWR)


def slack(alert: Alert) -> dict[str, Any]:
    """The alert as Slack's incoming webhooks take it; `text` is what a notification shows, and others read."""
    header = {"type": "header", "text": {"type": "plain_text", "text": shortened(alert.what, _HEADER_LIMIT)}}
    blocks: list[dict[str, Any]] = [header]
    for part in alert.parts:
        blocks += _blocks(alert, part)
    return {"text": _escaped(f"{alert.what}\n{alert.message}"), "blocks": blocks}


def _blocks(alert: Alert, part: Part) -> list[dict[str, Any]]:
    mark = ":white_check_mark:" if alert.state == "resolved" else _MARKS[part.severity]
    facts = [f"*Since* {moment(part.since)}", f"*How bad* {part.severity}", f"*What to do* `{RUNBOOK}#{part.kind}`"]
    if part.link.startswith(("http://", "https://")):
        facts.append(f"<{_escaped(part.link)}|Look>")
    text = shortened(f"{mark} *{_escaped(part.what)}*\n{_escaped(part.why)}", _BLOCK_LIMIT)
    return [
        {"type": "section", "text": {"type": "mrkdwn", "text": text}},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": fact} for fact in facts]},
    ]


def _escaped(text: str) -> str:
    """The text as Slack's markup has it: nothing in it calls people or makes a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
