"""Each failure has one class: what an object says, what fails again and again, and what is nobody's fault."""

from __future__ import annotations

import csv
import errno
import gzip
import os
import zlib
from pathlib import Path

import duckdb
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from pyiceberg.exceptions import CommitFailedException

from lakehouse.intake.text_files import NotReadable
from lakehouse.merge.athena.client import AthenaError
from lakehouse.merge.base import EngineError
from lakehouse.results import Failure
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.failures import Poison, class_of, without_values
from lakehouse.storage.store import ObjectChanged, ObjectMissing


def full(message: str) -> duckdb.IOException:
    return duckdb.IOException(f'IO Error: Could not write file "/x/duckdb_temp_storage-0.tmp": {message}')


ENVIRONMENT = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.EIO, "Input/output error"),
    OSError("could not delete 3 objects"),
    PermissionError(errno.EACCES, "Permission denied"),
    ConnectionResetError(),
    TimeoutError(),
    MemoryError(),
    RuntimeError("can't start new thread"),
    ModuleNotFoundError("expected the package duckdb-extension-httpfs, found none"),
    *(full(os.strerror(number)) for number in (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EDQUOT)),
    duckdb.IOException('IO Error: Cannot open file "/x/1.parquet": Too many open files'),
    duckdb.HTTPException("HTTP Error: Unable to connect to URL"),
    duckdb.IOException('IO Error: Could not write all bytes to file "/x": wanted=8 wrote=4'),
    duckdb.Error('Could not create file "x": No space left on device'),
    duckdb.FatalException("FATAL Error: database has been invalidated: IO Error: No space left on device"),
    duckdb.OutOfMemoryException(
        "Out of Memory Error: failed to offload data block of size 256.0 KiB (1.0 GiB/1.0 GiB used).\n"
        "This limit was set by the 'max_temp_directory_size' setting."
    ),
    duckdb.OutOfMemoryException("Out of Memory Error: Allocation failure"),
    duckdb.InterruptException("INTERRUPT Error: Interrupted!"),
    ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject"),
    ClientError({"Error": {"Code": "ExpiredToken", "Message": ""}}, "GetObject"),
    ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "GetObject"),
    ClientError({"Error": {"Code": "InternalError", "Message": ""}}, "GetTable"),
    EndpointConnectionError(endpoint_url="http://x"),
    ReadTimeoutError(endpoint_url="http://x"),
    NoCredentialsError(),
    CommitFailedException("another writer"),
    EntryConflict("another writer"),
    EngineError("no"),
    AthenaError("no"),
    ObjectMissing("gone"),
    ObjectChanged("written again"),
]
POISON = [
    duckdb.OutOfMemoryException(
        "Out of Memory Error: could not allocate block of size 256.0 KiB (61.0 MiB/61.0 MiB used)"
    ),
    duckdb.InternalException("INTERNAL Error: Assertion"),
    duckdb.FatalException("FATAL Error: Assertion"),
    duckdb.BinderException("Binder Error: no function"),
    ValueError("of our own"),
    KeyError("x"),
    AssertionError(),
    RuntimeError("anything"),
    RecursionError(),
    type("OfNobody", (Exception,), {})("x"),
]
DATA = [
    duckdb.ConversionException("Conversion Error: Could not convert string 'No space left on device' to INT32"),
    duckdb.OutOfRangeException("Out of Range Error: x"),
    duckdb.InvalidInputException("Invalid Input Error: No magic bytes found at end of file"),
]
DECODING = [
    *DATA,
    NotReadable("expected a header"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    gzip.BadGzipFile("Not a gzipped file"),
    EOFError("Compressed file ended"),
    zlib.error("invalid block type"),
    csv.Error("unexpected end of data"),
    RecursionError(),
    duckdb.Error("TProtocolException: Invalid data"),
    duckdb.IOException('IO Error: Could not read enough bytes from file "/x/0": attempted to read 8 bytes'),
    duckdb.NotImplementedException("Not implemented Error: Unsupported compression"),
]


@pytest.mark.parametrize("error", ENVIRONMENT, ids=repr)
@pytest.mark.parametrize("reading", [True, False])
def test_what_is_nobodys_fault_is_environment_in_every_step(error: Exception, reading: bool) -> None:
    assert class_of(error, reading=reading) is Failure.ENVIRONMENT


@pytest.mark.parametrize("error", POISON, ids=repr)
def test_what_nobody_knows_is_poison(error: Exception) -> None:
    assert class_of(error) is Failure.POISON


@pytest.mark.parametrize("error", DATA, ids=repr)
def test_a_value_that_breaks_a_step_is_data(error: Exception) -> None:
    assert class_of(error) is Failure.DATA


@pytest.mark.parametrize("error", DECODING, ids=repr)
def test_what_a_decoder_says_of_an_object_is_data(error: Exception) -> None:
    assert class_of(error, reading=True) is Failure.DATA


def test_what_nobody_knows_of_a_file_is_no_excuse_of_its_content() -> None:
    error = duckdb.IOException("IO Error: something that nobody has seen before")
    assert (class_of(error), class_of(error, reading=True)) == (Failure.ENVIRONMENT, Failure.POISON)


def test_a_step_may_know_better() -> None:
    error = Poison("the object's")
    error.__cause__ = duckdb.IOException("IO Error: something that nobody has seen before")
    assert class_of(error) is Failure.POISON


def test_an_error_with_a_cause_is_of_its_class() -> None:
    error = RuntimeError("an upload failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert class_of(error) is Failure.ENVIRONMENT


def test_failures_of_engines_have_the_class_that_is_recorded(tmp_path: Path) -> None:
    """The messages of this version of DuckDB, not of the tests above."""
    connection = duckdb.connect(config={"temp_directory": str(tmp_path / "spill")})
    connection.execute("SET memory_limit = '20MB'; SET threads = 1")
    with pytest.raises(duckdb.Error) as no_memory:
        connection.execute("SET temp_directory = ''; SELECT list(range) FROM range(100000000)")
    assert class_of(no_memory.value) is Failure.POISON
    with pytest.raises(duckdb.Error) as no_room:
        connection.execute("COPY (SELECT * FROM range(3000000)) TO '/dev/full' (FORMAT csv)")
    assert class_of(no_room.value, reading=True) is Failure.ENVIRONMENT
    for content in (b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"):
        (tmp_path / "broken").write_bytes(content)
        with pytest.raises(duckdb.Error) as broken:
            connection.execute(f"SELECT * FROM read_parquet('{tmp_path / 'broken'}')")
        assert class_of(broken.value, reading=True) is Failure.DATA


def test_what_is_reported_quotes_nothing() -> None:
    error = duckdb.ConversionException("Conversion Error: Could not convert string 'Erika' to \"x\"\nLINE 1")
    assert without_values(error) == "ConversionException: Conversion Error: Could not convert string '…'"
