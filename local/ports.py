"""Ports of this machine: which are free, and which somebody is about to listen on.

Between the choice of a port and the moment when its server listens lie seconds, in which another stack would choose the
same. One of the two servers then ends, and what waits for its answer gets that of the other stack.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

FREE_SECONDS = 3
_PORTS = range(20_000, 30_000)
"""Where a port is looked for: below those that systems give to outgoing connections (Linux from 32768, macOS and
Windows from 49152), so that nobody has taken the stack's port when it comes back."""
_TRIES = 200


class NoPort(RuntimeError):
    """There is no port to be had; says which were tried."""


def is_free(port: int) -> bool:
    """Whether one could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def comes_free(port: int) -> bool:
    """Whether the port is free now or within moments: the system may still hold that of a process that was killed."""
    deadline = time.monotonic() + FREE_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def claimed(wanted: Iterable[int] = (), *, others: bool = True) -> Iterator[int]:
    """The first of the `wanted` ports that nobody listens on, else (with `others`) any; no other stack gets it as long
    as this lasts, which is until the server listens.

    The claim is the port of the same number that UDP has, which nothing here uses: the system knows it for all
    programs and frees it however its holder ends. Raises `NoPort`.
    """
    first = tuple(wanted)
    more = random.SystemRandom().sample(_PORTS, _TRIES) if others else []
    for port in (*first, *more):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as claim:
            try:
                claim.bind(("127.0.0.1", port))
            except OSError:
                continue
            if is_free(port):
                yield port
                return
    tried = ", ".join(map(str, first)) + (f" and {len(more)} others" if more else "")
    raise NoPort(f"expected a free port among {tried}, found none")


def free_port() -> int:
    """A port that nobody listens on now, and that no outgoing connection takes later. Whoever has time before it
    listens claims one (`claimed`)."""
    with claimed() as port:
        return port
