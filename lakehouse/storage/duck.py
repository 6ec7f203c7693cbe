"""A DuckDB connection for one batch: bounded memory, a scratch folder, and access to the lake's files.

Here belongs how the engine is set up; what it computes belongs to the modules that use it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb

from lakehouse.results import Failure
from lakehouse.storage import arrow as arrow  # before pyarrow makes its first array
from lakehouse.storage.failures import Damaged, class_of, damage_of
from lakehouse.storage.lake import Lake
from lakehouse.storage.near import Copies
from lakehouse.storage.requests import LOG_REQUESTS
from lakehouse.storage.sql import literal

if TYPE_CHECKING:
    import pyarrow as pa


VALUE_BYTES = 16
"""What a value ingests memory beside its text."""


@dataclass(frozen=True)
class Duck:
    """A connection and the folder that its batch may fill; both are gone when the batch ends.

    `check` is given the statement that failed, and raises `lakehouse.storage.failures.Damaged` where a file of the lake
    that it reads cannot be read: what a statement raises is not the landed rows' fault then. `near` gives the statement
    that is executed in its place: it reads copies of small files of the lake."""

    connection: duckdb.DuckDBPyConnection
    scratch: Path
    check: Callable[[str, duckdb.Error], None]
    near: Callable[[str], str] = str

    def run(self, sql: str, parameters: object = None) -> None:
        """Execute a statement."""
        with self._checked(sql):
            self.connection.execute(self.near(sql), parameters)

    def rows(self, sql: str, parameters: object = None) -> list[tuple[Any, ...]]:
        """All rows of a query with a small result."""
        with self._checked(sql):
            return self.connection.execute(self.near(sql), parameters).fetchall()

    def row(self, sql: str, parameters: object = None) -> tuple[Any, ...]:
        """The only row of a query."""
        (row,) = self.rows(sql, parameters)
        return row

    def count(self, sql: str, parameters: object = None) -> int:
        """The only value of a query, as a count."""
        return int(self.row(sql, parameters)[0] or 0)

    def arrow(self, sql: str, parameters: object = None) -> pa.Table:
        """The result of a query as an Arrow table."""
        with self._checked(sql):
            return self.connection.execute(self.near(sql), parameters).to_arrow_table()

    def stream(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """The result of a query in batches of about so many rows. Raises what the engine raises in the middle of it as
        an error of the engine, as it stands in no other way."""
        with self._checked(sql):
            reader = self.connection.execute(self.near(sql)).to_arrow_reader(rows)
            while True:
                try:
                    batch = next(reader, None)
                except OSError as error:
                    if error.errno is not None:
                        raise
                    raise _of_engine(error) from error
                if batch is None:
                    return
                yield batch

    @contextmanager
    def _checked(self, sql: str) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            self.check(sql, error)
            raise


def _of_engine(error: OSError) -> duckdb.Error:
    """What the engine said to Arrow, which knows its errors by their text only."""
    message = str(error)
    kinds = (duckdb.OutOfMemoryException, "Out of Memory Error"), (duckdb.IOException, "IO Error")
    return next((kind(message) for kind, begins in kinds if message.startswith(begins)), duckdb.Error(message))


@contextmanager
def connect(lake: Lake) -> Iterator[Duck]:
    """A connection with the lake's memory limit and threads, spilling to its scratch folder."""
    on_s3 = lake.local_root is None
    options = _Options(lake.threads, lake.memory_limit, lake.scratch, on_s3)
    engine = _engine(options)
    engine.spill.mkdir(mode=0o700, parents=True, exist_ok=True)  # an engine that is kept may outlive its folder
    scratch = Path(tempfile.mkdtemp(prefix="gavel-", dir=lake.scratch))
    connection = engine.connection.cursor()
    counted = lake.meter.following(engine.connection) if on_s3 else nullcontext()
    try:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        if on_s3:
            _grant(connection, lake)
        with counted:
            near = Copies(lake.store, scratch / "near").read_by if on_s3 else str
            yield Duck(connection, scratch, partial(_check_stored, lake, options), near)
    except (duckdb.FatalException, duckdb.InternalException):
        _kept_engine.cache_clear()  # it answers nothing any more
        raise
    except duckdb.OutOfMemoryException:
        connection.close()
        # The allocator keeps most of what was freed, some 500 MB, until the limit is set again.
        with engine.connection.cursor() as other:
            other.execute(f"SET memory_limit = {literal(options.memory_limit)}")
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


def _check_stored(lake: Lake, options: _Options, sql: str, error: duckdb.Error) -> None:
    """Raise `Damaged` if the statement reads files of the lake and one of them cannot be read by itself."""
    if class_of(error, reading=True) is Failure.ENVIRONMENT or isinstance(error, duckdb.OutOfMemoryException):
        return
    within = re.escape("'" + lake.store.uri("warehouse/").replace("'", "''"))
    found = dict.fromkeys(re.findall(rf"{within}(?:[^']|'')*'", sql))
    if not found:
        return
    engine = _Engine(options)  # the one in use may answer nothing any more
    with engine.connection.cursor() as connection:
        if options.on_s3:
            _grant(connection, lake)
        for address in found:
            try:
                connection.execute(
                    f"SELECT max(hash(COLUMNS(*))) FROM read_parquet({address}, hive_partitioning = false)"
                )
            except duckdb.Error as damage:
                if isinstance(damage, duckdb.OutOfMemoryException):
                    return
                if class_of(damage, reading=True) is Failure.ENVIRONMENT:
                    raise
                raise Damaged(damage_of(address.strip("'"), damage)) from damage


class _Engine:
    """One DuckDB with its folder to spill to; what a batch makes in it are temporary things of its own connection.
    Both end when nobody uses them any more, at the latest with the process."""

    def __init__(self, options: _Options) -> None:
        if options.scratch is not None:
            options.scratch.mkdir(parents=True, exist_ok=True)
        self.spill = Path(tempfile.mkdtemp(prefix="gavel-spill-", dir=options.scratch))
        self.connection = duckdb.connect()
        weakref.finalize(self, _end, self.connection, self.spill)
        self.connection.execute(
            f"SET threads = {options.threads}; SET memory_limit = {literal(options.memory_limit)}; "
            f"SET temp_directory = {literal(str(self.spill))}; "
            "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false; "
            # A cache of what was read fills the limit for a few small files: their blocks take more than they hold.
            "SET preserve_insertion_order = true; SET enable_external_file_cache = false; "
            # What is freed goes back to the system soon: by default a batch of wide rows held 200 MB more than it used.
            "SET allocator_flush_threshold = '16MB'; SET allocator_bulk_deallocation_flush_threshold = '32MB'; "
            # Queries here have the narrow side of a join on its right, which is what is kept in memory. Left to itself,
            # DuckDB guesses sizes of files and may hold whole data files to look a few deleted rows up in them.
            "SET disabled_optimizers = 'build_side_probe_side'"
        )
        if options.on_s3:
            self.connection.execute(f"LOAD {literal(str(extension('httpfs')))}")
            self.connection.execute(LOG_REQUESTS)


_making = Lock()


def _engine(options: _Options) -> _Engine:
    """The engine that is kept, made by one of the threads that ask for it at once."""
    with _making:
        return _kept_engine(options)


@lru_cache(maxsize=1)
def _kept_engine(options: _Options) -> _Engine:
    """The engine that a process keeps from batch to batch: making one takes a tenth of a small batch, and loading
    httpfs, whose signature is checked over all of its 20 MB, longer than its queries."""
    return _Engine(options)


def _end(connection: duckdb.DuckDBPyConnection, spill: Path) -> None:
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
    with _making:  # of two at once, one would be refused
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
