"""Erase one of many persons from tables of a given size, in a folder that keeps versions, and time each step.

`python -m benchmarks.erasure --rows 3000000` lands as many sales, a tenth as many persons, and erases a usual one.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.change import CHANGE_COLUMNS
from lakehouse.erasure import requests, run
from lakehouse.storage.lake import Lake
from tests.support.lakes import Clock, Landing
from tests.support.persons import BOTH, PERSONS, SALES, ingest, lake_of_persons

_ROWS_PER_OBJECT = 250_000


def main() -> None:
    """Land, ingest, erase, and print seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        kept = lake_of_persons(Path(folder), clock)
        lake = replace(kept, threads=2)
        vars(lake)["store"] = kept.store  # with its versions
        _timed("landed and ingested", lambda: _land(lake, rows))
        request = requests.request_erasure(lake, "c-77")
        for contract in BOTH.values():
            _timed(f"first phase, {contract.name}", lambda c=contract: run.erase_entity(lake, c, request))  # type: ignore[misc]
        request = _timed("first phase, all other objects", lambda: run.erase_rest(lake, BOTH, request))
        clock.forward(hours=25)
        for contract in BOTH.values():
            _timed(f"second phase, {contract.name}", lambda c=contract: run.remove_earlier(lake, c, request))  # type: ignore[misc]
        done = _timed("versions, scan and proof", lambda: run.prove_erasure(lake, BOTH, request))
        print(f"{done.removed} files and {done.versions} versions removed, {done.scanned} objects read")  # noqa: T201
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")  # noqa: T201


def _timed(what: str, work):  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    done = work()
    print(f"{time.perf_counter() - started:8.1f} s  {what}", flush=True)  # noqa: T201
    return done


def _land(lake: Lake, rows: int) -> None:
    random = np.random.default_rng(7)
    persons = max(rows // 10, 100)
    for start in range(0, persons, _ROWS_PER_OBJECT):
        numbers = np.arange(start, min(start + _ROWS_PER_OBJECT, persons))
        columns = {"person_id": [f"c-{n}" for n in numbers], "name": [f"Given{n} Family{n}" for n in numbers]}
        columns |= {"email": [f"c{n}@mail.example" for n in numbers], "status": ["active"] * len(numbers)}
        _write(lake, Landing(lake, PERSONS, start), columns, [f"p{n}" for n in numbers])
    for start in range(0, rows, _ROWS_PER_OBJECT):
        numbers = np.arange(start, min(start + _ROWS_PER_OBJECT, rows))
        buyers, sellers = (random.integers(0, persons, len(numbers)) for _ in range(2))
        columns = {
            "sale_id": [f"s-{n}" for n in numbers],
            "sold_at": [f"2026-{1 + n * 10 // rows:02d}-05T10:00:00Z" for n in numbers],
            "buyer_id": [f"c-{n}" for n in buyers],
            "seller_id": [f"c-{n}" for n in sellers],
            "amount": [f"{n % 1000}.50" for n in numbers],
            "recipient": [f"Given{n} Family{n}" for n in buyers],
            "pickup": [f"Yard {n}" for n in sellers],
            "title": ["A vase"] * len(numbers),
        }
        _write(lake, Landing(lake, SALES, start), columns, [f"s{n}" for n in numbers])
    ingest(lake)


def _write(lake: Lake, landing: Landing, columns: dict[str, list[str]], events: list[str]) -> None:
    count = len(events)
    stamps = {
        "_event_id": events,
        "_op": ["insert"] * count,
        "_version": ["1"] * count,
        "_seq": ["1".rjust(40, "0")] * count,
        "_changed_at": ["2026-11-21T11:59:00Z"] * count,
        "_contract": ["1.0.0"] * count,
    }
    names = (*landing.contract.field_names, *CHANGE_COLUMNS)
    found = columns | stamps
    table = pa.table({n: pa.array(found.get(n, [None] * count), pa.string()) for n in names})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    landing.land_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
