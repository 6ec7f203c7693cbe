"""The drill: fires and resolves every kind of alert through the real sensor, and checks what arrives.

    python -m orchestration.alerts.drill [--send]

Alerts go over HTTP to a receiver of the drill's own, which checks that each message says what, why, since when, how
bad, what to do and where to look. With `--send` they go to the environment's own channels as well, marked as a drill.
Nothing of the environment is touched.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import dagster as dg

from assets.resources import LakeResource
from contracts import load_contracts
from orchestration.alerts import kinds
from orchestration.alerts.alert import RUNBOOK, Alert
from orchestration.alerts.channels import AlertChannels, Send, Webhook
from orchestration.alerts.drill_scenarios import MART, Scenario, World, healthy, scenarios
from orchestration.alerts.sensor import alert_sensor
from orchestration.alerts.watches import watches
from orchestration.alerts.watches.runs import watch_runs
from orchestration.settings import Settings

UI = "https://dagster.example"
TICKS = 3
"""How often the sensor may look until an alert must be there: a channel that failed is offered it again."""


class Receiver:
    """An HTTP endpoint that takes alerts as a webhook does; it answers 503 while it refuses."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.refuse = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not receiver.refuse:
                    receiver.bodies.append(json.loads(body))
                self.send_response(503 if receiver.refuse else 200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: its address is a secret like any webhook's."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/T0/B0/drill"

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        """While this lasts, it takes messages."""
        thread = Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def take(self) -> list[dict[str, Any]]:
        """What came since it was taken last."""
        taken, self.bodies = self.bodies, []
        return taken


@dataclass(frozen=True)
class Drilled:
    """What became of one kind of alert: the problems are empty where it was raised and resolved as it should be."""

    kind: str
    problems: tuple[str, ...]
    seconds: float


def drill(channels: Mapping[str, Send], said: Callable[[Drilled], None] = lambda drilled: None) -> list[Drilled]:
    """Fire and resolve every kind of alert, one after the other; `channels` get what the receiver gets."""
    receiver = Receiver()
    with (
        receiver.listening(),
        tempfile.TemporaryDirectory(prefix="gavel-drill-") as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        world = World(instance, refusing=lambda refuse: setattr(receiver, "refuse", refuse))
        tick = _ticking(world, {"receiver": Webhook(receiver.url), **channels})
        healthy(world)
        tick()
        receiver.take()
        found = []
        for scenario in scenarios():
            found.append(_drilled(scenario, world, tick, receiver))
            said(found[-1])
        return found


def _ticking(world: World, channels: Mapping[str, Send]) -> Callable[[], None]:
    """What evaluates a tick of the sensor, with the cursor of the tick before."""
    repository = world.definitions().get_repository_def()
    over = {
        **watches(load_contracts(), {MART: timedelta(minutes=30)}, UI),
        kinds.RUNS: watch_runs(UI, takes_long=timedelta(0)),
    }
    sensor = alert_sensor(over, lambda lake, memory, now: world.view, 60, UI, unsent=timedelta(0))
    resource = AlertChannels()
    resource.add(channels)
    cursor: list[str | None] = [None]

    def tick() -> None:
        context = dg.build_sensor_context(
            instance=world.instance,
            cursor=cursor[0],
            repository_def=repository,
            resources={"lake": LakeResource(environment="local", bucket="drill"), "alerts": resource},
        )
        cursor[0] = sensor.evaluate_tick(context).cursor

    return tick


def _drilled(scenario: Scenario, world: World, tick: Callable[[], None], receiver: Receiver) -> Drilled:
    began = time.monotonic()
    scenario.seed(world)
    refused = receiver.refuse
    for _ in range(TICKS if refused else 1):
        tick()
    raised = receiver.take()
    scenario.heal(world)
    for _ in range(TICKS if refused else 1):
        tick()
    ended = receiver.take()
    if refused:  # what was refused is sent with what follows
        raised, ended = ended, ended
    problems = [*_checked(scenario.kind, raised, ""), *_checked(scenario.kind, ended, "Resolved: ")]
    return Drilled(scenario.kind, tuple(problems), time.monotonic() - began)


def _checked(kind: str, bodies: Sequence[Mapping[str, Any]], state: str) -> list[str]:
    """What is wrong with what arrived: there must be one message of the kind in this state, and it must be complete."""
    known = kinds.KINDS[kind]
    anchor = f"What to do: {RUNBOOK}#{kind}\n"
    wanted = [b["text"] for b in bodies if anchor in b["text"] and b["text"].startswith("Resolved: ") == bool(state)]
    name = "resolved" if state else "raised"
    if len(wanted) != 1:
        return [f"expected one message that it is {name}, found {len(wanted)}"]
    fixed = max(known.title.replace("{names}", "\n").replace("{count}", "\n").split("\n"), key=len).strip()
    words = (fixed, "What:  ", "Why:   ", "Since: ", "How bad: ", "Link:  ")
    return [f"{name}: expected {word!r} in the message, found {wanted[0]!r}" for word in words if word not in wanted[0]]


def marked(channels: Mapping[str, Send]) -> dict[str, Send]:
    """The channels, with every alert marked as a drill."""

    def of(send: Send) -> Send:
        def marking(alert: Alert) -> None:
            send(replace(alert, parts=tuple(replace(p, what=f"Drill, not real: {p.what}") for p in alert.parts)))

        return marking

    return {name: of(send) for name, send in channels.items()}


def run(settings: Settings, send: bool) -> int:
    """Run the drill and print what became of each kind; 1 if one of them was not as it should be. `send` sends the
    alerts to the environment's channels, too."""
    own = AlertChannels(settings.alert_topic, settings.alert_webhook, settings.region, settings.endpoint_url)

    def said(drilled: Drilled) -> None:
        outcome = "; ".join(drilled.problems) or "raised and resolved"
        sys.stdout.write(f"{drilled.kind:<32}{drilled.seconds:6.1f} s  {outcome}\n")
        sys.stdout.flush()

    found = drill(marked(own.by_name) if send else {}, said)
    good = sum(not drilled.problems for drilled in found)
    sys.stdout.write(f"{good} of {len(found)} kinds were raised and resolved as they should be.\n")
    return 0 if good == len(found) else 1


if __name__ == "__main__":
    sys.exit(run(Settings.from_environment(os.environ), "--send" in sys.argv[1:]))
