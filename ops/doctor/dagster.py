"""Dagster, as its UI answers over GraphQL: its daemon, its code location, and sensors and schedules that are off."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from ops.doctor.findings import Finding, Patient

SECONDS = 20
NEEDED = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING")
_QUERY = """{
  instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } }
  workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
    ... on PythonError { message }
    ... on RepositoryLocation { repositories { name
      sensors { name sensorState { status } } schedules { name scheduleState { status } } } } } } } }
}"""


def read(ui_url: str) -> dict[str, Any]:
    """What the UI says; `OSError` where it cannot be reached."""
    if not ui_url.startswith(("http://", "https://")):
        raise OSError(f"expected an address of Dagster's UI with http or https, found {ui_url!r}")
    body = json.dumps({"query": _QUERY}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{ui_url.rstrip('/')}/graphql", body, headers)  # noqa: S310 - looked at above
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        data: dict[str, Any] = json.loads(answer.read())["data"]
    return data


def daemons(patient: Patient) -> Iterator[Finding]:
    """Daemons whose heart does not beat: nothing happens by itself then."""
    if not patient.ui_url:
        return
    for status in read(patient.ui_url)["instance"]["daemonHealth"]["allDaemonStatuses"]:
        if status["daemonType"] in NEEDED and status.get("required", True) and not status["healthy"]:
            do = "Start `dagster-daemon` where Dagster runs; on a laptop `gavel dev`."
            yield Finding(f"Dagster's daemon {status['daemonType']}", "a heartbeat", "none", do)


def ticking(patient: Patient) -> Iterator[Finding]:
    """Code locations that cannot be loaded, and sensors and schedules that somebody switched off."""
    if not patient.ui_url:
        return
    for location in read(patient.ui_url)["workspaceOrError"].get("locationEntries", ()):
        loaded = location["locationOrLoadError"] or {"message": "not loaded"}
        if "repositories" not in loaded:
            said = loaded.get("message", "").strip().splitlines()
            do = "Correct what the message says and reload it in the UI (Deployment)."
            why = said[-1] if said else "an error"
            yield Finding(f"code location {location['name']}", "that it is loaded", why, do)
            continue
        for repository in loaded["repositories"]:
            yield from _stopped(repository)


def _stopped(repository: dict[str, Any]) -> Iterator[Finding]:
    from lakehouse.drift.definitions import switched_off
    from ops.doctor.catalog import of_drift

    states = {
        (kind, one["name"]): str(one[state]["status"])
        for kind, state in (("sensor", "sensorState"), ("schedule", "scheduleState"))
        for one in repository[f"{kind}s"]
    }
    yield from map(of_drift, switched_off(states))
