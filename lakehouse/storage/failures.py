"""Which class a failure belongs to: what it says about the objects of a batch, and so who pays for it.

The only place where exceptions are classified; every step of a batch asks here. What follows from a class:

- **data**: a landed object is not what it should be. Its row is quarantined, or the object where no row can be singled
  apart; what breaks a later step is halved until the object is found, which is held.
- **poison**: anything else that fails, whatever the exception. It is halved until the object is found; the rest goes
  on, and the object is held when it has failed in `ATTEMPTS` runs.
- **environment**: disk, file handles, I/O, memory of others, network, throttling, rights, another writer, files of the
  lake itself that cannot be read. The run fails, no object is blamed, and the next run takes all of it.

A process that dies (and memory of the machine that runs out) says neither: it is counted for what was in hand, see
`attempts`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from lakehouse.results import Failure
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.store import ObjectChanged, ObjectMissing, ObjectNotRestored

ATTEMPTS = 3
"""In how many runs an object must fail by itself with a failure of the class `poison` before it is held."""


class Environment(Exception):
    """A step could not be done through no fault of the data: nothing is published, nothing is blamed."""


class Damaged(Environment, ValueError):
    """A file that the lake itself has written cannot be read: no landed object is to blame, and no later run can do
    without it. Somebody has to bring the file back, or roll the table back, or rebuild it."""


class Poison(Exception):
    """A step knows that a failure is its object's, though the error alone does not say so."""


# Packages whose errors speak of a service, a connection, or another writer of the same table.
_OF_SERVICES = frozenset({"botocore", "boto3", "s3transfer", "urllib3", "http", "ssl", "socket", "pyiceberg"})

_OF_THE_MACHINE = tuple(
    os.strerror(number)
    for number in (
        errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EROFS, errno.EACCES,
        errno.EPERM, errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.EFBIG, errno.ENODEV, errno.ENXIO,
    )
)  # fmt: skip
"""How the operating system words what an engine only tells as text."""

_DECODERS = (
    ValueError,  # NotReadable, UnicodeError and pyarrow's ArrowInvalid among them
    EOFError,
    RecursionError,
    duckdb.DataError,
    duckdb.InvalidInputException,
    duckdb.InvalidTypeException,
    duckdb.NotSupportedError,
)
_STOPPED = (duckdb.InterruptException, duckdb.ConnectionException, duckdb.PermissionException)
_TRUNCATED = "Could not read enough bytes"
_QUOTED = re.compile(r"[\"'].*[\"']|(?<!\w)[\"'].*", re.DOTALL)
"""From the first quote to the last one: what is quoted may hold quotes and line ends itself, or be cut off."""
_VALUES = re.compile(r"(?<=value )\S+|\d[\d.:+-]{3,}")
"""What engines show without quotes: numbers and times."""
_DOING = re.compile(r"(Could not|Cannot|Failed to) (write|create|open|remove|delete|sync|fsync|truncate|move|seek)")


def class_of(error: BaseException, *, reading: bool = False) -> Failure:
    """The class of an exception; with `reading`, of one that was raised while the bytes of a landed object were turned
    into rows, where what a decoder says speaks of the object. What nobody knows is poison."""
    if isinstance(error, Poison):
        return Failure.POISON
    if _is_environment(error, reading):
        return Failure.ENVIRONMENT
    if isinstance(error, duckdb.DataError | duckdb.InvalidInputException) or (reading and _is_undecodable(error)):
        return Failure.DATA
    cause = error.__cause__
    return Failure.POISON if cause is None else class_of(cause, reading=reading)


@contextmanager
def of_the_lake(address: str) -> Iterator[None]:
    """Within it a file of the lake's own is read; what keeps it from being read is raised as `Damaged`."""
    try:
        yield
    except Exception as error:
        if class_of(error, reading=True) is Failure.ENVIRONMENT:
            raise
        raise Damaged(damage_of(address, error)) from error


def damage_of(address: str, error: BaseException) -> str:
    """What is wrong with a file of the lake's own, and what to do."""
    return (
        f"{address}: expected a file of the lake that can be read, found {without_values(error)}; bring back the "
        "version that was written, or roll the table back, or rebuild it"
    )


def is_of_memory(error: BaseException) -> bool:
    """Whether the machine's memory ran out: others may have taken it, or what was done takes more than there is."""
    match error:
        case MemoryError():
            return True
        case duckdb.OutOfMemoryException():
            return "max_temp_directory_size" not in str(error)
        case OSError(errno=errno.ENOMEM):
            return True
    return error.__cause__ is not None and is_of_memory(error.__cause__)


def _is_environment(error: BaseException, reading: bool) -> bool:
    match error:
        case OSError():
            return not _is_gzip(error)
        case Environment() | MemoryError() | ImportError() | EntryConflict():
            return True
        case ObjectMissing() | ObjectChanged() | ObjectNotRestored():  # a landed one is handled where it is downloaded
            return True
        case RuntimeError() if "start new thread" in str(error):
            return True
        case duckdb.Error():
            return _is_environment_of_duckdb(error, reading)
    # Not every process has these packages loaded, and an error of one that is not loaded cannot have been raised.
    return any(base.__module__.partition(".")[0] in _OF_SERVICES for base in type(error).__mro__)


def _is_environment_of_duckdb(error: duckdb.Error, reading: bool) -> bool:
    message = str(error)
    if isinstance(error, _STOPPED):
        return True
    if isinstance(error, duckdb.OutOfMemoryException):
        # Its own limit says something of what it was given; a full disk and the machine's memory do not.
        return "max_temp_directory_size" in message or not _is_own_limit(message)
    if isinstance(error, duckdb.FatalException | duckdb.InternalException):
        return _is_of_the_machine(message)
    if isinstance(error, duckdb.HTTPException):
        return True
    if isinstance(error, duckdb.IOException):
        # What is said of a file that is read may be said of its content, in words that nobody has listed.
        return not reading or _is_of_the_machine(_unquoted(message)) or _DOING.search(message) is not None
    return type(error) is duckdb.Error and _is_of_the_machine(_unquoted(message))


def _is_own_limit(message: str) -> bool:
    """Whether memory was refused by DuckDB's own limit, which it tells as `(61.0 MiB/61.0 MiB used)`."""
    return re.search(r"\([^()]+/[^()]+ used\)", message) is not None


def _is_of_the_machine(message: str) -> bool:
    return any(words in message for words in _OF_THE_MACHINE)


def _unquoted(message: str) -> str:
    """A message without what it quotes, which may be anything that was landed."""
    return re.sub(r"\"[^\"]*\"|'[^']*'", "'…'", message)


def _is_undecodable(error: BaseException) -> bool:
    if isinstance(error, _DECODERS) or _is_gzip(error) or type(error).__module__ in ("zlib", "_csv"):
        return True
    if isinstance(error, duckdb.IOException):
        return _TRUNCATED in str(error)
    return type(error) is duckdb.Error  # what its decoders of pages and footers throw


def _is_gzip(error: BaseException) -> bool:
    """`gzip.BadGzipFile` is an OSError that speaks of the content."""
    return type(error).__name__ == "BadGzipFile"


def without_values(error: BaseException) -> str:
    """A failure in one line, without what it quotes: an engine shows the value it stumbled over, which may be personal.

    At most 300 characters."""
    first = next(iter(_VALUES.sub("…", _QUOTED.sub("'…'", str(error))).splitlines()), "")
    return f"{type(error).__name__}: {first}"[:300]
