"""The PostgreSQL server of `local.postgres` for tests, and what they ask it."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from local.postgres import Server, running_server

__all__ = ["Server", "rows", "run", "running_server"]


def rows(url: str, query: str) -> list[dict[str, Any]]:
    """The rows of a query of our own."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def run(url: str, *statements: str) -> None:
    """Carry out statements of our own, as the website or its people do."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
