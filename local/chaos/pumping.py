"""The pump as a process of its own, so that it can be killed: python -m local.chaos.pumping

It talks to the emulator directly, as Lambda's own poller does, and goes on until it is stopped.
"""

from __future__ import annotations

import os
import signal
from threading import Event

from local import stack
from local.draining import drain
from local.home import Home


def main() -> None:
    """Hand over what is in the stream, again and again, until SIGTERM."""
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    home = Home.from_environment(os.environ)
    current = stack.running(home)
    while not stopping.is_set():
        drain(home, current, stopping=stopping)
        stopping.wait(0.5)


if __name__ == "__main__":
    main()
