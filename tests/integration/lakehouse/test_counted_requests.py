"""What DuckDB reads by itself is counted, each request that a server saw."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest

from lakehouse.storage.duck import extension
from lakehouse.storage.requests import LOG_REQUESTS, Meter, Requests

SEEN: list[str] = []


class Handler(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "", size: object = "") -> None:
        SEEN.append(self.command)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    duckdb.sql(f"COPY (SELECT range AS i FROM range(1000)) TO '{tmp_path}/a.parquet'")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a.parquet"
    server.shutdown()
    server.server_close()
    thread.join()


def test_requests_of_an_engine_count_while_it_is_followed_and_after(address: str) -> None:
    SEEN.clear()
    meter = Meter()
    with duckdb.connect() as engine:
        engine.execute(f"LOAD '{extension('httpfs')}'")
        engine.execute(LOG_REQUESTS)
        with meter.following(engine):
            assert engine.execute(f"SELECT count(*) FROM '{address}'").fetchone() == (1000,)
            inside = meter.read()
            assert engine.cursor().execute(f"SELECT sum(i) FROM '{address}'").fetchone() == (499500,)
        after = meter.read()
        assert 0 < inside.gets < after.gets == len(SEEN)
        assert after.fetched > inside.fetched > 0
        assert (after.puts, after.glue) == (0, 0)
        assert meter.read() == after, "each counts once"


def test_an_engine_that_is_gone_breaks_no_batch() -> None:
    meter = Meter()
    engine = duckdb.connect()
    with meter.following(engine):
        engine.close()
    assert meter.read() == Requests()
