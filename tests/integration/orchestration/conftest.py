"""Ways to land changes on the laptop stack and to see what the pipeline made of them."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts import load_contracts
from contracts.change import CHANGE_COLUMNS
from lakehouse.publish.published import published
from lakehouse.results import Published
from lakehouse.storage.lake import Lake
from orchestration.settings import Settings
from tests.support.laptop import Laptop

T = TypeVar("T")


@dataclass
class Pipeline:
    """The laptop stack with a Dagster home of its own."""

    laptop: Laptop
    settings: Settings
    variables: Mapping[str, str]

    @property
    def lake(self) -> Lake:
        s = self.settings
        return Lake.of_environment(s.environment, s.bucket, s.region, s.endpoint_url)

    def published(self, entity: str) -> Published | None:
        """What readers see now."""
        return published(self.lake, load_contracts()[entity])

    def rows(self, entity: str) -> list[dict[str, Any]]:
        """The rows that readers see now."""
        from lakehouse.storage.duck import connect
        from lakehouse.table.scan import live_rows
        from lakehouse.table.schemas import compacted
        from lakehouse.table.tables import TableState

        state = self.published(entity)
        if state is None:
            return []
        files = TableState(self.lake, state.metadata_location).files
        with connect(self.lake) as duck:
            rows: list[dict[str, Any]] = duck.arrow(live_rows(compacted(load_contracts()[entity]), files)).to_pylist()
            return rows

    def land(self, entity: str, *rows: Mapping[str, str | None]) -> str:
        """Land rows of text as Firehose does, now; returns the object's key."""
        columns = (*load_contracts()[entity].field_names, *CHANGE_COLUMNS)
        buffer = io.BytesIO()
        pq.write_table(pa.table({c: pa.array([r.get(c) for r in rows], pa.string()) for c in columns}), buffer)
        return self.land_bytes(entity, buffer.getvalue())

    def land_bytes(self, entity: str, content: bytes) -> str:
        """Land any content, now; returns the object's key."""
        now = datetime.now(UTC)
        key = f"landing/{entity}/dt={now:%Y-%m-%d}/hh={now:%H}/{time.time_ns()}.parquet"
        self.laptop.aws.client("s3").put_object(Bucket=self.settings.bucket, Key=key, Body=content)
        return key


@pytest.fixture
def pipeline(laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The shared stack's lake, with a home of this test's own for Dagster, warehouse and reports."""
    variables = {**laptop.environment, "GAVEL_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    for name in [n for n in os.environ if n.startswith(("AWS_", "DAGSTER_", "DBT_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Pipeline(laptop, Settings.from_environment(variables), variables)


def customer(customer_id: str, version: int, /, **fields: str | None) -> dict[str, str | None]:
    """A landed change of a customer, as text; `fields` beside those of a good row."""
    return {
        "customer_id": customer_id,
        "name": "Ada Example",
        "email": "ada@example.com",
        "kind": "private",
        "status": "active",
        "registered_at": "2026-11-20T10:00:00Z",
        "_event_id": f"{customer_id}/{version}",
        "_op": "modify",
        "_version": str(version),
        "_seq": str(version).rjust(40, "0"),
        "_changed_at": "2026-11-21T10:00:00Z",
        "_contract": "1.0.0",
        **fields,
    }


def wait_for(what: str, found: Callable[[], T | None], seconds: float, alive: Callable[[], bool]) -> T:
    """Look until something is found; fails when time is up or what should bring it about has ended."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert alive(), f"the process that should bring {what} has ended"
        assert time.monotonic() < deadline, f"expected {what} within {seconds} s, found {value!r}"
        time.sleep(0.5)
