"""Tests that have passed look at what came later alone, and find there what they find in everything.

The marts of two batches stand in a file; faults are put into it by hand, and the tests of the project run on it as in
an hour after the first batch, which all of them passed, or as every night.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contracts import Contracts
from tests.support.random_histories import lake_after, random_history
from tests.support.slices import Slice
from warehouse.manifest import Manifest
from warehouse.passed import as_setting

PASSED, PUBLISHED = 1, 2
FACTS = {  # the entity, what its items are known by, and an amount that is compared
    "fct_bids": ("bids", ("bid_id",), "amount"),
    "fct_invoices": ("invoices", ("invoice_id",), "tax_amount"),
    "fct_order_fees": ("orders", ("order_id",), "amount"),
    "fct_order_lines": ("order_lines", ("order_id", "line_number"), "hammer_price"),
    "fct_orders": ("orders", ("order_id",), "sellers_commission"),
    "fct_payments": ("payments", ("payment_id",), "processing_fee"),
    "fct_shipments": ("shipments", ("shipment_id",), "cost"),
}
NEW, OLD = f"_batch = {PUBLISHED}", f"_batch = {PASSED}"


@dataclass
class Marts:
    """The marts after both batches, and as they were after the first."""

    folder: Path
    dbt: Any
    manifest: Manifest

    @property
    def file(self) -> Path:
        return self.folder / "spoiled" / "warehouse.duckdb"

    def spoil(self, statements: list[str]) -> None:
        """Run these on a fresh copy; `before` is the state after the first batch."""
        self.file.parent.mkdir(exist_ok=True)
        shutil.copyfile(self.folder / "2" / "warehouse.duckdb", self.file)
        with duckdb.connect(str(self.file)) as connection:
            connection.execute(f"attach '{self.folder / '1' / 'warehouse.duckdb'}' as before (read_only)")
            for statement in statements:
                (changed,) = connection.execute(statement).fetchone() or (0,)
                assert changed, statement

    def failed(self, select: str, *, hourly: bool, published: int = PUBLISHED) -> set[str]:
        """The tests that fail or warn: at night, or in an hour that began when so many batches were published."""
        tests = [i for i in self.manifest["nodes"] if i.startswith("test.")]
        entities = {source["name"].removesuffix("_changes") for source in self.manifest["sources"].values()}
        commits = {test: dict.fromkeys(entities, (PASSED, published)) for test in tests}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in as_setting(commits if hourly else {}).items():
                patch.setenv(name, value)
            try:
                ended = self.dbt("test", "--select", select, slice=self.folder / "lake-2", warehouse=self.file)
            except AssertionError as failed:
                return set(re.findall(r"(\w+): Got \d+ result", str(failed)))
        return {name for name, status in ended.items() if status == "warn"}


def built(folder: Path, dbt: Any, artifacts: Path, lake: Callable[[int], Slice]) -> Marts:
    """The marts of a lake after its first batch, and after both."""
    for batch in (1, 2):
        (folder / str(batch)).mkdir()
        if batch == 2:
            shutil.copyfile(folder / "1" / "warehouse.duckdb", folder / "2" / "warehouse.duckdb")
        slice_ = lake(batch).write(folder / f"lake-{batch}")
        dbt("run", "--select", "+path:models/marts", slice=slice_, warehouse=folder / str(batch) / "warehouse.duckdb")
    return Marts(folder, dbt, json.loads((artifacts / "manifest.json").read_bytes()))


@pytest.fixture(scope="module")
def marts(dbt: Any, artifacts: Path, contracts: Contracts, tmp_path_factory: pytest.TempPathFactory) -> Marts:
    history = random_history(contracts, random.Random(3), 2, items=80)
    folder = tmp_path_factory.mktemp("news")
    return built(folder, dbt, artifacts, lambda batch: lake_after(batch, history, Slice(contracts)))


RECONCILED = "path:tests/reconciliation,config.severity:error"
ALL = {f"{fact}_reconciles_with_{entity}" for fact, (entity, *_) in FACTS.items()}


def one(fact: str, condition: str) -> str:
    """The condition of one of those rows."""
    return f"rowid = (select min(rowid) from marts.{fact} where {condition} and {FACTS[fact][2]} > 0)"


def kept(fact: str, entity: str, key: tuple[str, ...]) -> str:
    """Put back what the second batch removed."""
    same = " and ".join(f"before.{column} = there.{column}" for column in key)
    lake = "(select * from '{lake}/" + entity + ".parquet' where _deleted and _batch = 2)"
    return f"insert into marts.{fact} select before.* from before.marts.{fact} as before join {lake} as there on {same}"


def faults(marts: Marts) -> Mapping[str, list[str]]:
    """Statements that put the same fault into each fact."""
    return {
        "a row was missed": [f"delete from marts.{fact} where {one(fact, NEW)}" for fact in FACTS],
        "a removed one stays": [
            kept(fact, entity, key).format(lake=marts.folder / "lake-2") for fact, (entity, key, _) in FACTS.items()
        ],
        "a row is there twice": [
            f"insert into marts.{fact} select * from marts.{fact} where {one(fact, NEW)}" for fact in FACTS
        ],
        "an amount is wrong": [
            f"update marts.{fact} set {amount} = {amount} + 0.01 where {one(fact, NEW)}"
            for fact, (_, _, amount) in FACTS.items()
        ],
    }


@pytest.mark.parametrize(
    "fault", ["a row was missed", "a removed one stays", "a row is there twice", "an amount is wrong"]
)
def test_each_fault_in_what_is_new_is_found_in_an_hour_and_at_night(marts: Marts, fault: str) -> None:
    marts.spoil(faults(marts)[fault])
    for hourly in (True, False):
        assert marts.failed(RECONCILED, hourly=hourly) == ALL, f"hourly: {hourly}"


def test_sound_marts_pass_and_what_was_published_meanwhile_is_no_fault(marts: Marts) -> None:
    """As if the second batch had come while the marts of the first were tested: they do not have it yet."""
    marts.spoil([])
    assert marts.failed("path:models/marts,config.severity:error", hourly=True) == set()
    assert marts.failed(RECONCILED, hourly=True) == set()
    shutil.copyfile(marts.folder / "1" / "warehouse.duckdb", marts.file)
    assert marts.failed(RECONCILED, hourly=True) == ALL, "what was there when the build began has to be in the facts"
    assert marts.failed(RECONCILED, hourly=True, published=PASSED) == set()


def test_rows_of_before_are_counted_every_hour_and_summed_every_night(marts: Marts) -> None:
    counted = {name for name in ALL if "fees" not in name}
    marts.spoil([f"delete from marts.{fact} where {one(fact, OLD)}" for fact in FACTS])
    assert marts.failed(RECONCILED, hourly=True) == counted
    assert marts.failed(RECONCILED, hourly=False) == ALL
    marts.spoil([f"update marts.{fact} set {FACTS[fact][2]} = 0 where {one(fact, OLD)}" for fact in FACTS])
    assert marts.failed(RECONCILED, hourly=True) == set()
    assert marts.failed(RECONCILED, hourly=False) == ALL


OBSOLETE = "select * replace ('obsolete' as lot_key, false as is_first) from marts.dim_lot where is_current and"
DIMENSION = {
    "one_open_row_dim_lot_lot_id": {
        "an obsolete state stays": (
            f"insert into marts.dim_lot select * replace ({PASSED} as _batch) from ({OBSOLETE} {NEW})"
        ),
        "an obsolete state between others stays": (
            "insert into marts.dim_lot select * replace ('obsolete' as lot_key, false as is_first, false as is_current,"
            f" {PASSED} as _batch, _version - 1 as _version, valid_from - interval 2 day as valid_from,"
            f" valid_from - interval 1 day as valid_to) from marts.dim_lot where is_first and {NEW} limit 1"
        ),
        "a state is open twice": f"insert into marts.dim_lot {OBSOLETE} {NEW}",
    },
    "primary_key_dim_lot_lot_key": {
        "a state is there twice": f"insert into marts.dim_lot select * from marts.dim_lot where {NEW} limit 1",
    },
    "primary_key_fct_bids_bid_id": {
        "a bid is there twice": f"insert into marts.fct_bids select * from marts.fct_bids where {NEW} limit 1",
    },
}


@pytest.mark.parametrize("test", DIMENSION)
def test_keys_and_histories_are_looked_at_where_they_are_new(marts: Marts, test: str) -> None:
    for fault, statement in DIMENSION[test].items():
        marts.spoil([statement])
        for hourly in (True, False):
            assert marts.failed(test, hourly=hourly) == {test}, (fault, hourly)


def house(contracts: Contracts, batches: int) -> Slice:
    """A house of which every test passes: an order of each batch with all that belongs to it, and a refund of the first
    order that comes by the second batch."""
    data = Slice(contracts)
    for n in range(1, batches + 1):
        when = f"2026-02-{n:02d}T10:00:00"
        money = {"currency": "EUR", "order_id": f"order-{n}"}
        buyer, lot = {"customer_id": f"buyer-{n}", "registered_at": when}, {"lot_id": f"lot-{n}", "currency": "EUR"}
        for entity, item in (
            ("customers", buyer | {"status": "active"}),
            ("lots", lot | {"seller_id": f"buyer-{n}", "title": "A coin", "category": "Coins", "status": "sold"}),
        ):
            data.put(entity, n, **item | ({"listed_at": when} if entity == "lots" else {}))
            data.change(entity, n, n, **item | ({"listed_at": when} if entity == "lots" else {}))
        fees = [{"kind": "packing", "payer": "buyer", "amount": "5.00"}]
        order = money | {"buyer_id": f"buyer-{n}", "seller_id": f"buyer-{n}", "lot_id": f"lot-{n}", "fees": fees}
        data.put("orders", n, hammer_price="100.00", status="paid", placed_at=when, **order)
        line = {"order_id": f"order-{n}", "line_number": 1, "lot_id": f"lot-{n}", "quantity": 1}
        data.put("order_lines", n, hammer_price="100.00", placed_at=when, **line)
        data.put(
            "bids", n, bid_id=f"bid-{n}", bidder_id=f"buyer-{n}", amount="9", placed_at=when, status="accepted", **lot
        )
        invoice = money | {"invoice_id": f"invoice-{n}", "party_id": f"buyer-{n}", "role": "buyer", "issued_at": when}
        data.put("invoices", n, total_amount="105.00", tax_amount="0.00", status="paid", **invoice)
        lines = {"invoice_id": f"invoice-{n}", "order_id": f"order-{n}", "line_number": 1, "kind": "hammer_price"}
        data.put("invoice_lines", n, amount="105.00", issued_at=when, **lines)
        payment = money | {"kind": "capture", "method": "card", "status": "settled", "created_at": when}
        data.put("payments", n, payment_id=f"p-{n}", invoice_id=f"invoice-{n}", amount="105.00", **payment)
        data.put("shipments", n, shipment_id=f"s-{n}", status="shipped", created_at=when, **money)
    if batches > 1:
        refund = payment | {"order_id": "order-1", "kind": "refund"}
        data.put("payments", 2, payment_id="refund", amount="1.00", **refund)
    return data


NEVER = "date '0001-01-01'"
FOUND = {  # by each test of severity warning: what somebody did to what is new
    "fct_bids_happened_in_the_calendar": f"update marts.fct_bids set placed_day_key = {NEVER} where {NEW}",
    "relationships_fct_bids_lot_id__lot_id__ref_dim_lot_": f"update marts.fct_bids set lot_id = 'no lot' where {NEW}",
    "relationships_fct_shipments_order_id__order_id__ref_fct_orders_": (
        f"update marts.fct_shipments set order_id = 'none' where {NEW}"
    ),
    "invoices_add_up_from_their_lines": f"update marts.fct_invoices set tax = 1 where _lines_{NEW.strip('_')}",
    "fct_invoices_paid_have_their_payments": f"update marts.fct_invoices set settled_at = null where {NEW}",
    "fct_orders_payments_in_the_currency_of_the_order": (
        f"update marts.fct_orders set payments_in_other_currency = 1 where _payments_{NEW.strip('_')}"
    ),
    "orders_have_the_fees_that_are_listed": f"update marts.fct_orders set buyer_fees = 4 where {NEW}",
    "orders_add_up_from_their_lines": f"update marts.fct_order_lines set hammer_price = 99 where {NEW}",
    "orders_have_the_payments_that_are_listed": (
        "update marts.fct_orders set refunded_amount = 0, _payments_batch = 1 where order_id = 'order-1'"
    ),
}


def test_each_warning_about_what_is_new_is_given_in_an_hour_and_at_night(
    dbt: Any, artifacts: Path, contracts: Contracts, tmp_path: Path
) -> None:
    """An increment that missed the payment of an older order, among them."""
    marts = built(tmp_path, dbt, artifacts, lambda batches: house(contracts, batches))
    tests = "path:models/marts,config.severity:warn path:tests/reconciliation,config.severity:warn"
    marts.spoil([])
    for hourly in (True, False):
        assert marts.failed(tests, hourly=hourly) == set(), f"hourly: {hourly}"
    marts.spoil([*FOUND.values()])
    found = {hourly: marts.failed(tests, hourly=hourly) for hourly in (True, False)}
    assert found[True] >= {*FOUND}
    assert found[True] == found[False]
