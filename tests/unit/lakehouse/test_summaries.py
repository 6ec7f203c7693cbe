"""Summaries of parties: what is written, what is left alone, and who may write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from contracts import summaries
from lakehouse.erasure.needles import Needles
from lakehouse.erasure.operational import erase_summaries
from lakehouse.serving.summaries import SummariesOvertaken, _Items
from lakehouse.storage.lake import Lake
from tests.support.summaries import ENVIRONMENT, TABLE, at, emulated, items, sold, turnover, write


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with emulated(tmp_path / "lake") as found:
        yield found


def test_a_party_is_one_item_with_its_roles_and_currencies_apart(lake: Lake) -> None:
    rows = [sold("c-1", 1250), sold("c-1", 7, currency="USD"), sold("c-1", 3, role="seller"), sold("c-2", 5)]
    done = write(lake, rows, 1)
    assert done is not None
    assert (done.data_time, done.parties, done.written, done.removed) == (at(1), 2, 2, 0)
    assert turnover() == {
        "c-1": [("buyer", "EUR", "1250.00"), ("buyer", "USD", "7.00"), ("seller", "EUR", "3.00")],
        "c-2": [("buyer", "EUR", "5.00")],
    }
    (known,) = json.loads(items()["c-2"][summaries.SUMMARY])["as_buyer"]
    assert known["first_sale_at"] == "2026-11-21T12:00:00.000000Z"
    assert list(known) == [field.name for field in summaries.FIELDS]


def test_what_has_no_value_is_left_out(lake: Lake) -> None:
    owes = sold("c-1", 0) | {"party_group": None, "first_sale_at": None, "last_sale_at": None, "sales": 0}
    write(lake, [owes | {"open_invoices": 1, "open_amount": Decimal("0.10")}], 1)
    (known,) = json.loads(items()["c-1"][summaries.SUMMARY])["as_buyer"]
    assert known.keys() == {f.name for f in summaries.FIELDS} - {"party_group", "first_sale_at", "last_sale_at"}
    assert known["open_amount"] == "0.10"


def test_only_what_changed_is_written_and_who_vanished_is_removed(lake: Lake) -> None:
    write(lake, [sold("c-1", 1), sold("c-2", 2), sold("c-3", 3)], 1)
    done = write(lake, [sold("c-1", 1), sold("c-2", 9)], 2)
    assert done is not None
    assert (done.parties, done.written, done.removed) == (2, 1, 1)
    assert turnover() == {"c-1": [("buyer", "EUR", "1.00")], "c-2": [("buyer", "EUR", "9.00")]}
    moments = {party: item[summaries.DATA_TIME] for party, item in items().items()}
    assert moments["c-1"] < moments["c-2"]
    assert state()["complete"] == moments["c-2"], "what was left alone is true for it, too"


def test_a_report_that_lost_its_last_row_empties_the_table(lake: Lake) -> None:
    assert write(lake, [], 1) is None, "no data time is known yet"
    write(lake, [sold("c-1", 1)], 1)
    done = write(lake, [], 2)
    assert done is not None
    assert done.removed == 1
    assert items() == {}


def test_more_parties_than_a_transaction_takes_are_written_and_removed(lake: Lake) -> None:
    done = write(lake, [sold(f"c-{n:03}", n) for n in range(101)], 1)
    assert done is not None
    assert done.written == len(items()) == 101
    done = write(lake, [], 2)
    assert done is not None
    assert (done.removed, len(items())) == (101, 0)


def test_an_id_that_no_key_can_hold_stops_nobody_else(lake: Lake) -> None:
    write(lake, [sold("c" * (summaries.MAX_PARTY_BYTES + 1), 1), sold("c" * summaries.MAX_PARTY_BYTES, 2)], 1)
    assert list(items()) == ["c" * summaries.MAX_PARTY_BYTES]


def test_an_older_run_writes_nothing(lake: Lake) -> None:
    write(lake, [sold("c-1", 2)], 2)
    with pytest.raises(SummariesOvertaken, match="later data"):
        write(lake, [sold("c-1", 1), sold("c-2", 1)], 1)
    assert turnover() == {"c-1": [("buyer", "EUR", "2.00")]}


def test_a_run_that_stood_still_writes_nothing_once_another_began(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one removed c-2: what the first one was about to write would bring it back."""
    transact, waiting = _Items.transact, True

    def later(self: _Items, writes: list[dict[str, Any]]) -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            write(lake, [sold("c-1", 2)], 2)
        transact(self, writes)

    monkeypatch.setattr(_Items, "transact", later)
    with pytest.raises(SummariesOvertaken):
        write(lake, [sold("c-1", 1), sold("c-2", 1)], 1)
    assert turnover() == {"c-1": [("buyer", "EUR", "2.00")]}


def test_an_erasure_removes_the_person_and_stops_who_would_write_her_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(lake, [sold("c-1", 1), sold("c-12", 1)], 1)
    transact = _Items.transact

    def erased_meanwhile(self: _Items, writes: list[dict[str, Any]]) -> None:
        assert erase_summaries(lake, ENVIRONMENT, Needles("c-1", {})) == 1
        transact(self, writes)

    monkeypatch.setattr(_Items, "transact", erased_meanwhile)
    with pytest.raises(SummariesOvertaken):
        write(lake, [sold("c-1", 2), sold("c-12", 1)], 2)
    assert list(items()) == ["c-12"]


def test_an_erasure_finds_nothing_where_no_summaries_are_written(lake: Lake) -> None:
    assert erase_summaries(lake, ENVIRONMENT, Needles("c-1", {})) == 0
    assert erase_summaries(lake, "nowhere", Needles("c-1", {})) == 0
    assert state() == {}


def test_a_table_that_is_busy_is_no_other_writer(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write(lake, [sold("c-1", 1)], 1)
    dynamo = boto3.client("dynamodb")

    def conflict(**_: Any) -> None:
        reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
        raise dynamo.exceptions.TransactionCanceledException(
            {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}, "TransactWriteItems"
        )

    monkeypatch.setattr(dynamo, "transact_write_items", conflict)
    monkeypatch.setattr(type(lake), "client", lambda *_: dynamo)
    with pytest.raises(dynamo.exceptions.TransactionCanceledException):
        write(lake, [sold("c-1", 2)], 2)


def state() -> dict[str, str]:
    found = boto3.client("dynamodb").get_item(TableName=TABLE, Key={"pk": {"S": summaries.STATE}}).get("Item", {})
    return {name: value["S"] for name, value in found.items()}
