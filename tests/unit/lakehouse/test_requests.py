"""What a lake requests of S3 and Glue is counted as it is billed, and ends in the publication log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import duckdb
import pytest
from moto import mock_aws

from contracts.prices import load_prices
from lakehouse.storage.entries import EntryConflict
from lakehouse.storage.lake import Lake
from lakehouse.storage.requests import LOG_REQUESTS, Meter, Requests


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        region = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3", region_name="eu-west-1").create_bucket(Bucket="data", CreateBucketConfiguration=region)
        yield Lake.of_environment("test", "data", "eu-west-1")


def test_each_request_counts_as_what_it_is_billed_as(lake: Lake, tmp_path: Path) -> None:
    store, before = lake.store, lake.meter.read()
    assert before == Requests()
    store.write("a", b"x" * 1000)
    store.copy("a", "b")
    assert [stored.key for stored in store.list("")] == ["a", "b"]
    assert lake.meter.read() == Requests(puts=3, sent=1000)
    assert store.read("a") == b"x" * 1000
    assert store.read_part("a", 10, 100) == b"x" * 100
    assert store.size("a") == 1000
    assert store.size("none") is None, "a request that finds nothing is billed, too"
    store.delete(["a", "b"])
    assert lake.meter.read() == Requests(puts=3, gets=4, sent=1000, fetched=1100)


def test_parts_of_a_large_object_count_each(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * (33 << 20))
    lake.store.upload(path, "large")
    counted = lake.meter.read()
    assert counted.puts == 5 + 2, "parts of 8 MB, the beginning and the end of it"
    assert counted.sent >= 33 << 20


def test_pages_of_a_listing_count_each(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    for key in "abcde":
        lake.store.write(key, b"")
    before = lake.meter.read()
    assert len(list(lake.store.list(""))) == 5
    assert (lake.meter.read() - before).puts == 3


def test_glue_counts_whatever_is_requested_of_it(lake: Lake) -> None:
    assert lake.entries.get("none", "table") is None
    lake.entries.create("made", {"Name": "table", "Parameters": {}})
    with pytest.raises(EntryConflict):
        lake.entries.create("made", {"Name": "table", "Parameters": {}})
    assert lake.meter.read() == Requests(glue=1 + 3 + 1), "without its database, an entry takes three"


def test_a_folder_is_free_and_lakes_do_not_count_for_each_other(lake: Lake, tmp_path: Path) -> None:
    folder = dataclasses.replace(lake, local_root=tmp_path)
    folder.store.write("a", b"1")
    assert folder.meter.read() == lake.meter.read() == Requests()


def test_counts_are_taken_apart_and_together() -> None:
    meter = Meter()
    meter.add(Requests(1, 2, 3, 4, 5))
    before = meter.read()
    meter.add(Requests(10, 20, 30, 40, 50))
    assert meter.read() - before == Requests(10, 20, 30, 40, 50)


def test_every_price_has_an_amount_a_unit_and_a_source(tmp_path: Path) -> None:
    prices = load_prices()
    assert prices.usd("s3_put", 1_000_000) == pytest.approx(5.0)
    assert prices.usd("athena_byte", 10**12) == pytest.approx(5.0)
    assert {"s3_get", "glue_request", "firehose_gb", "lambda_request"} <= prices.prices.keys()
    wrong = tmp_path / "prices.yaml"
    wrong.write_text("region: x\nread_on: 2026-11-28\nprices: {a: {what: a thing, usd: 1, per: 1, source: ''}}")
    with pytest.raises(ValueError, match=r"a: expected what, usd, per and source"):
        load_prices(wrong)


def test_the_log_of_an_engine_is_read_by_several_threads_at_once() -> None:
    meter = Meter()
    with duckdb.connect() as engine:
        engine.execute(LOG_REQUESTS)

        def follow(number: int) -> None:
            for _ in range(20):
                with meter.following(engine):
                    meter.read()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(follow, range(8)))
    assert meter.read() == Requests()
