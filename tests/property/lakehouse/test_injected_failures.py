"""Each class of failure at each step of a batch: who pays, what ledger, quarantine and tables say, and that the next
run without the fault ingests what this one did not."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError

from lakehouse.api import pending
from lakehouse.batch import chunks
from lakehouse.batch.compaction import requeue
from lakehouse.publish.publication import publish
from lakehouse.storage.failures import ATTEMPTS
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import ObjectNotRestored, S3Store
from tests.support.injected import (
    ALL,
    BAD,
    BROKEN,
    FINE,
    OF_ONE_OBJECT,
    PARTLY,
    SMALL,
    STEPS,
    failing,
    holds_bad,
    keys,
    run,
    seen,
)
from tests.support.lakes import NOON, Clock, Landing, change, local_lake

ENVIRONMENT: list[Exception] = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EMFILE, "Too many open files"),
    duckdb.IOException('IO Error: Could not write file "/x/y": No space left on device'),
    duckdb.HTTPException("HTTP Error: 503"),
    ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject"),
    ClientError({"Error": {"Code": "ExpiredToken", "Message": ""}}, "GetObject"),
    MemoryError(),
]
POISON: list[Exception] = [
    KeyError("of nobody"),
    duckdb.InternalException("INTERNAL Error: x"),
    duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block of size 256.0 KiB (61 MiB/61 MiB used)"),
]
NOT_RESTORED = ObjectNotRestored("s3://data/landing/x")
"""The environment's words for what is the matter with one object: who landed it, or a rule, gave it a storage class
that needs a restore."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return local_lake(tmp_path / "lake", Clock())


def land(lake: Lake) -> None:
    landing = Landing(lake, SMALL)
    for n in range(3):
        landing.land([change(f"{FINE}-{n}", version=1)], name=f"{FINE}-{n}.parquet")
    landing.land([change(BAD, version=1)], name=f"{BAD}.parquet")
    landing.land_bytes(b"no Parquet", name=f"{BROKEN}.parquet")
    landing.land([change(PARTLY, version=1), change("x", version=1, price="much")], name=f"{PARTLY}.parquet")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all of it comes to without a fault."""
    lake = local_lake(tmp_path_factory.mktemp("reference") / "lake", Clock())
    land(lake)
    run(lake)
    return seen(lake)


@pytest.mark.parametrize("step", STEPS)
def test_nobody_is_blamed_for_the_environment(
    lake: Lake, step: str, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake)
    for error in (OSError(errno.EIO, "Input/output error"), ENVIRONMENT[list(STEPS).index(step) % len(ENVIRONMENT)]):
        before = seen(lake)
        with monkeypatch.context() as patch:
            failing(step, error, patch, lambda *_: True)
            with pytest.raises(type(error)):
                run(lake)
        after = seen(lake)
        assert {k: after[k] for k in ("rows", "changes", "ledger")} == {
            k: before[k] for k in ("rows", "changes", "ledger")
        }
        assert set(after["quarantine"]) <= set(reference["quarantine"])
        # Memory that ran out is counted as a death is; it blames nobody either.
        assert isinstance(error, MemoryError) or not list(lake.store.list("attempts/"))
    run(lake)
    assert seen(lake) == reference


@pytest.mark.parametrize("error", ENVIRONMENT, ids=repr)
def test_a_read_that_the_environment_breaks_blames_no_object(
    lake: Lake, error: Exception, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake)
    with monkeypatch.context() as patch:
        failing("read", error, patch, holds_bad)
        with pytest.raises(type(error)):
            run(lake)
    assert (seen(lake)["ledger"], pending(lake, SMALL, ALL) != []) == ([], True)
    run(lake)
    assert seen(lake) == reference


@pytest.mark.parametrize("step", [*OF_ONE_OBJECT, "download"])
def test_poison_costs_its_own_object_and_only_when_it_fails_again_and_again(
    lake: Lake, step: str, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake)
    error = NOT_RESTORED if step == "download" else POISON[OF_ONE_OBJECT.index(step) % len(POISON)]
    with monkeypatch.context() as patch:
        failing(step, error, patch, holds_bad)
        for attempt in range(1, ATTEMPTS + 1):
            result = run(lake)
            found = seen(lake)
            held = attempt == ATTEMPTS
            assert keys(found["rows"]) == keys(found["changes"]) == [f"{FINE}-0", f"{FINE}-1", f"{FINE}-2", PARTLY]
            assert found["quarantine"] == reference["quarantine"]
            about = [o.key.rpartition("/")[2] for o in (result.held if held else result.failing)]
            assert about == [f"{BAD}.parquet"]
            assert [status for key, status, *_ in found["ledger"] if BAD in key] == (["held"] if held else [])
            assert [o.key for o in pending(lake, SMALL, ALL) if BAD in o.key] == ([] if held else [key_of(BAD)])
            assert (result.watermark == NOON) == held
    requeue(lake, SMALL)
    publish(lake, SMALL)
    assert seen(lake) == reference


def test_what_s3_says_of_an_object_that_is_not_restored(tmp_path: Path) -> None:
    def get_object(**_: str) -> None:
        raise ClientError({"Error": {"Code": "InvalidObjectState", "Message": ""}}, "GetObject")

    with pytest.raises(ObjectNotRestored, match="s3://data/landing/x"):
        S3Store(SimpleNamespace(get_object=get_object), "data").download("landing/x", tmp_path / "x", "etag")


def key_of(name: str) -> str:
    return f"landing/parcels/dt=2026-11-21/hh=12/{name}.parquet"


@pytest.mark.parametrize("step", OF_ONE_OBJECT)
def test_a_passing_fault_condemns_nothing(
    lake: Lake, step: str, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake)
    with monkeypatch.context() as patch:
        failing(step, RuntimeError("passing"), patch, lambda *_: True)
        result = run(lake)
        assert (result.held, len(result.failing)) == (
            (),
            5 if step in ("read", "append") else 6,
        )  # what is no Parquet has no rows
    run(lake)
    assert seen(lake) == reference


def test_what_fails_with_each_object_is_left_to_the_next_run(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    landing = Landing(lake, SMALL)
    for n in range(chunks.MOST_FAILING + 12):
        landing.land([change(f"p-{n:02}", version=1)])
    with monkeypatch.context() as patch:
        failing("reduce", RuntimeError("passing"), patch, lambda *_: True)
        assert len(run(lake).failing) == chunks.MOST_FAILING
    assert run(lake).counts.applied == chunks.MOST_FAILING + 12


@pytest.mark.parametrize("step", OF_ONE_OBJECT)
def test_data_that_breaks_a_step_is_held_at_once(
    lake: Lake, step: str, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(lake)
    error = duckdb.ConversionException("Conversion Error: Could not convert string 'Ada' to INT32")
    with monkeypatch.context() as patch:
        failing(step, error, patch, holds_bad)
        result = run(lake)
    aside = result.quarantined_objects if step == "read" else tuple(h.key for h in result.held)
    assert key_of(BAD) in aside
    assert keys(seen(lake)["rows"]) == [f"{FINE}-0", f"{FINE}-1", f"{FINE}-2", PARTLY]
    requeue(lake, SMALL)
    publish(lake, SMALL)
    assert seen(lake) == reference
