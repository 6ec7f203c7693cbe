"""Small HTTP servers of this machine: how one answers in a thread, and ends with whoever started it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from threading import Thread


@contextmanager
def answering(server: ThreadingHTTPServer, name: str) -> Iterator[int]:
    """Let a server answer in a thread of that name; gives its port, and closes it afterwards."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name=name, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
