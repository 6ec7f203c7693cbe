"""A DuckDB connection for one batch: bounded memory, a scratch folder, and access to the lake's files.

Here belongs how the engine is set up; what it computes belongs to the modules that use it.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb

from lakehouse.lake import Lake
from lakehouse.schemas import literal

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Duck:
    """A connection and the folder that its batch may fill; both are gone when the batch ends."""

    connection: duckdb.DuckDBPyConnection
    scratch: Path

    def run(self, sql: str, parameters: object = None) -> None:
        """Execute a statement."""
        self.connection.execute(sql, parameters)

    def rows(self, sql: str, parameters: object = None) -> list[tuple[Any, ...]]:
        """All rows of a query with a small result."""
        return self.connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: object = None) -> tuple[Any, ...]:
        """The only row of a query."""
        (row,) = self.rows(sql, parameters)
        return row

    def count(self, sql: str, parameters: object = None) -> int:
        """The only value of a query, as a count."""
        return int(self.row(sql, parameters)[0] or 0)

    def arrow(self, sql: str, parameters: object = None) -> pa.Table:
        """The result of a query as an Arrow table."""
        return self.connection.execute(sql, parameters).to_arrow_table()


@contextmanager
def connect(lake: Lake) -> Iterator[Duck]:
    """A connection with the lake's memory limit and threads, spilling to its scratch folder."""
    on_s3 = lake.local_root is None
    options = _Options(lake.threads, lake.memory_limit, lake.scratch, on_s3)
    engine = _kept_engine(options) if on_s3 else _Engine(options)
    scratch = Path(tempfile.mkdtemp(prefix="gavel-", dir=lake.scratch))
    connection = engine.connection.cursor()
    try:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        if on_s3:
            _grant(connection, lake)
        yield Duck(connection, scratch)
    except (duckdb.FatalException, duckdb.InternalException):
        _kept_engine.cache_clear()  # it answers nothing any more
        raise
    finally:
        connection.close()
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Options:
    """What an engine is set up with."""

    threads: int
    memory_limit: str
    scratch: Path | None
    on_s3: bool


class _Engine:
    """One DuckDB with its folder to spill to; what a batch makes in it are temporary things of its own connection.
    Both end when nobody uses them any more, at the latest with the process."""

    def __init__(self, options: _Options) -> None:
        if options.scratch is not None:
            options.scratch.mkdir(parents=True, exist_ok=True)
        spill = tempfile.mkdtemp(prefix="gavel-spill-", dir=options.scratch)
        self.connection = duckdb.connect()
        weakref.finalize(self, _end, self.connection, spill)
        self.connection.execute(
            f"SET threads = {options.threads}; SET memory_limit = {literal(options.memory_limit)}; "
            f"SET temp_directory = {literal(spill)}; "
            "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false; "
            "SET preserve_insertion_order = true; "
            # Queries here have the narrow side of a join on its right, which is what is held in memory. Left to itself,
            # DuckDB guesses sizes of files and may hold whole data files to look a few deleted rows up in them.
            "SET disabled_optimizers = 'build_side_probe_side'"
        )
        if options.on_s3:
            self.connection.execute(f"LOAD {literal(str(extension('httpfs')))}")


@lru_cache(maxsize=1)
def _kept_engine(options: _Options) -> _Engine:
    """The engine that a process keeps from batch to batch: loading httpfs, whose signature is checked over all of its
    20 MB, takes longer than a small batch's queries."""
    return _Engine(options)


def _end(connection: duckdb.DuckDBPyConnection, spill: str) -> None:
    connection.close()
    shutil.rmtree(spill, ignore_errors=True)


def connect_s3(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Let the connection read the lake's bucket with the credentials that boto3 finds (valid as long as those are)."""
    connection.execute(f"LOAD {literal(str(extension('httpfs')))}")
    _grant(connection, lake)


def _grant(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    credentials = lake.session.get_credentials()
    if credentials is None:
        raise PermissionError("expected AWS credentials (environment, profile or role), found none")
    frozen = credentials.get_frozen_credentials()
    options = {
        "KEY_ID": frozen.access_key,
        "SECRET": frozen.secret_key,
        "REGION": lake.region,
        "SCOPE": f"s3://{lake.bucket}",
    }
    if frozen.token:
        options["SESSION_TOKEN"] = frozen.token
    switches = ""
    if lake.endpoint:
        address = urlsplit(lake.endpoint)
        options |= {"ENDPOINT": address.netloc, "URL_STYLE": "path"}
        switches = f", USE_SSL {str(address.scheme == 'https').lower()}"
    listed = ", ".join(f"{name} {literal(value)}" for name, value in options.items())
    connection.execute(f"CREATE OR REPLACE SECRET lake (TYPE s3, {listed}{switches})")


def extension(name: str) -> Path:
    """The file of a DuckDB extension that was installed from the package index as `duckdb-extension-<name>`."""
    import importlib.util

    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(f"expected the package duckdb-extension-{name}, found none; install it")
    wanted = f"v{duckdb.__version__}/"
    files = sorted(Path(package.origin).parent.rglob(f"{name}.duckdb_extension"))
    for path in files:
        if wanted in path.as_posix():
            return path
    raise ModuleNotFoundError(
        f"duckdb-extension-{name}: expected a file for DuckDB {duckdb.__version__}, found "
        f"{[str(f) for f in files]}; install the same version as duckdb"
    )


def file_list(addresses: list[str]) -> str:
    """Addresses as the list that read_parquet takes."""
    return "[" + ", ".join(literal(a) for a in addresses) + "]"
