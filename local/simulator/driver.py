"""Sends the simulator's changes through the HTTP API: two years at once, or live auctions as they happen."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event

from contracts import Contracts, load_contracts
from local.simulator.history import generate, live, start_of_day
from local.traffic import Client, Progress, Sent, TrafficError, send, send_one


def simulate(
    client: Client,
    *,
    seed: int = 1,
    changes: int = 4000,
    end: datetime | None = None,
    progress: Progress | None = None,
    contracts: Contracts | None = None,
) -> Sent:
    """Send `changes` changes of the two years before `end` (the last midnight UTC unless given).

    The same arguments end in the same items. `progress` is called with the number done and in all.
    Raises `local.traffic.TrafficError` at the first change that is not accepted.
    """
    requests = generate(seed=seed, changes=changes, end=end or start_of_day(datetime.now(UTC)))
    contracts = contracts or load_contracts()
    return send(client, requests, contracts, total=len(requests), progress=progress)


def simulate_live(
    client: Client,
    *,
    seed: int = 1,
    gap: timedelta = timedelta(seconds=40),
    stop: Event | None = None,
    progress: Progress | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Sent:
    """Send live auctions, each change when its time has come, one at a time, until `stop` is set.

    With a new lot every `gap` of 40 seconds about one change a second. Raises `TrafficError` as `simulate` does.
    """
    stop = stop or Event()
    started, counts = time.monotonic(), Counter[tuple[str, str]]()
    for done, request in enumerate(live(seed=seed, start=now(), gap=gap), start=1):
        if stop.wait(max(0.0, (request.at - now()).total_seconds())):
            break
        try:
            send_one(client, request)
        except Exception as error:
            raise TrafficError(request, error, done - 1) from error
        counts[request.entity, request.method] += 1
        if progress is not None:
            progress(done, None)
    return Sent(dict(counts), time.monotonic() - started)
