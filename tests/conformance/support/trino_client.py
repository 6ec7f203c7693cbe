"""One statement on a Trino server over its REST protocol: rows, column types, statistics, or Trino's error.

Plain HTTP, because that is all the protocol asks for; nothing here knows of Athena.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OWNER = "athena"
"""Who may do everything where there are rules, and whoever calls where there are none."""


class TrinoError(Exception):
    """A statement that Trino refused or gave up: `name` such as ICEBERG_COMMIT_ERROR, `kind` such as USER_ERROR."""

    def __init__(self, name: str, kind: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.kind = kind


@dataclass(frozen=True)
class Answer:
    """What a statement gave; `columns` are (name, type), `updated` the rows that a DML statement changed."""

    columns: tuple[tuple[str, str], ...]
    rows: list[list[Any]]
    scanned: int
    milliseconds: int
    kind: str | None
    updated: int | None


@dataclass(frozen=True)
class TrinoClient:
    """Runs statements on the server at `url`, as `user`."""

    url: str
    catalog: str
    user: str = OWNER

    def run(
        self,
        sql: str,
        schema: str | None = None,
        session: Mapping[str, str] | None = None,
        parameters: Sequence[str] = (),
        progress: Callable[[str, int], None] = lambda cancel, scanned: None,
    ) -> Answer:
        """Run to the end. `progress` is called with the address to cancel it at and the bytes scanned so far; raises
        `TrinoError`. `parameters` are SQL literals for the statement's question marks."""
        headers = {"X-Trino-User": self.user, "X-Trino-Catalog": self.catalog, "X-Trino-Time-Zone": "UTC"}
        headers["X-Trino-Client-Capabilities"] = "PARAMETRIC_DATETIME"  # all digits of times, and types that say them
        if schema:
            headers["X-Trino-Schema"] = schema
        if session:
            headers["X-Trino-Session"] = ",".join(f"{name}={value}" for name, value in session.items())
        if parameters:
            headers["X-Trino-Prepared-Statement"] = "given=" + urllib.request.quote(sql)  # type: ignore[attr-defined]
            sql = f"EXECUTE given USING {', '.join(parameters)}"
        state = _fetch(urllib.request.Request(f"{self.url}/v1/statement", sql.encode(), headers))
        columns: tuple[tuple[str, str], ...] = ()
        rows: list[list[Any]] = []
        while True:
            if "columns" in state:
                columns = tuple((c["name"], c["type"]) for c in state["columns"])
            rows += state.get("data") or []
            stats = state["stats"]
            if error := state.get("error"):
                raise TrinoError(error["errorName"], error["errorType"], error["message"])
            if "nextUri" not in state:
                return Answer(
                    columns,
                    rows,
                    int(stats.get("physicalInputBytes", 0)),
                    int(stats.get("elapsedTimeMillis", 0)),
                    state.get("updateType"),
                    state.get("updateCount"),
                )
            progress(state["nextUri"], int(stats.get("physicalInputBytes", 0)))
            state = _fetch(urllib.request.Request(state["nextUri"], headers=headers))

    def cancel(self, address: str) -> None:
        """Give up the statement behind an address that `progress` was given."""
        with urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=30):
            return


def _fetch(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=120) as answer:
        document: dict[str, Any] = json.load(answer)
        return document
