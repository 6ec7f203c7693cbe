"""The replay of auction bids equals what pandas computes from the same file by other means."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from contracts import load_contracts
from contracts.validation import parse
from local.replay import prepare, replay

CONTRACTS = load_contracts()
REAL = Path(__file__).resolve().parents[5] / "shared" / "data" / "ebay_auctions.csv"
START = datetime(2025, 3, 1, tzinfo=UTC)


def prepared(path, tmp_path, start="2025-03-01"):
    return prepare(path, "ebay_auctions", options={"start_date": start}, rejects=tmp_path / "rejects.csv")


def frame(path):
    data = pd.read_csv(path, dtype=str, keep_default_na=False)
    data["amount"] = data.bid.map(Decimal)
    data["since"] = data.bidtime.map(Decimal)
    return data


def of(replay_, entity):
    return [i.payload for i in replay_.result.items if i.entity == entity]


def check_against_pandas(path, tmp_path):
    made, data = prepared(path, tmp_path), frame(path)
    assert not made.result.rejects
    assert not made.result.warnings
    assert made.result.counts() == {
        "customers": data.bidder.nunique() + data.auctionid.nunique(),
        "lots": data.auctionid.nunique(),
        "bids": len(data),
        "orders": data.auctionid.nunique(),
        "order_lines": data.auctionid.nunique(),
    }
    name = {c["customer_id"]: c["name"] for c in of(made, "customers")}
    category = {lot["lot_id"]: lot["category"] for lot in of(made, "lots")}

    bids = pd.DataFrame(of(made, "bids"))
    bids["item"] = bids.lot_id.map(category)
    bids["value"] = bids.amount.map(Decimal)
    assert bids.groupby("item")["value"].sum().to_dict() == data.groupby("item").amount.sum().to_dict()
    expected = {
        (r.auctionid, r.bidder, r.amount, START + timedelta(microseconds=round(r.since * 86_400_000_000)))
        for r in data.itertuples()
    }
    assert expected == {
        (b.lot_id.removeprefix("lot-"), name[b.bidder_id], b.value, datetime.fromisoformat(b.placed_at))
        for b in bids.itertuples()
    }

    prices = data.drop_duplicates("auctionid").set_index("auctionid")
    orders = {o["lot_id"].removeprefix("lot-"): o for o in of(made, "orders")}
    assert {a: Decimal(o["hammer_price"]) for a, o in orders.items()} == prices.price.map(Decimal).to_dict()
    ordered = data.sort_values(["auctionid", "amount", "since"], ascending=[True, False, True])
    winners = ordered.groupby("auctionid").bidder.first().to_dict()
    assert {a: name[o["buyer_id"]] for a, o in orders.items()} == winners
    assert {a: o["seller_id"] for a, o in orders.items()} == {a: f"seller-{a}" for a in winners}
    lengths = prices.auction_type.str.split().str[0].map(int)
    for auction, order in orders.items():
        assert datetime.fromisoformat(order["placed_at"]) == START + timedelta(days=int(lengths[auction]))
    lines = {line["order_id"]: Decimal(line["hammer_price"]) for line in of(made, "order_lines")}
    assert lines == {o["order_id"]: Decimal(o["hammer_price"]) for o in orders.values()}
    assert all("country_code" not in c for c in of(made, "customers"))
    return data, made


def test_synthetic_auctions_equal_the_pandas_computation(auctions_csv, tmp_path):
    data, made = check_against_pandas(auctions_csv, tmp_path)
    top = data.groupby("auctionid").amount.transform("max")
    assert (data[data.amount == top].groupby("auctionid").bidder.nunique() > 1).any(), "the file must hold a tie"
    assert (data.price.map(Decimal) != top).any(), "a closing price must disagree with the highest bid"
    ids = {c["customer_id"] for c in of(made, "customers")}
    assert "bidder-NA" in ids, "a bidder called NA is a bidder"
    assert not any(set(i) & set(" /#%?'") for i in ids), "ids need no escaping in a path or key"


@pytest.mark.skipif(not REAL.exists(), reason="the real file is not part of the project")
def test_real_auctions_equal_the_pandas_computation(tmp_path):
    data, _ = check_against_pandas(REAL, tmp_path)
    assert len(data) == 10681


ITEMS_BEFORE = "e8e4745de78ada0b7debbba0e778597c52802a89a1aa937310ba3a6176ced4e9"  # pragma: allowlist secret
"""SHA-256 of the items that the mapping language of earlier versions made of the synthetic auctions, in their order."""


def test_the_items_are_those_of_the_mapping_language_of_earlier_versions(auctions_csv, tmp_path):
    digest = hashlib.sha256()
    for item in prepared(auctions_csv, tmp_path).result.items:
        values = parse(CONTRACTS[item.entity], item.payload).values
        plain = {name: str(v.normalize()) if isinstance(v, Decimal) else v for name, v in values.items()}
        line = [item.entity, list(item.key), plain, item.line]
        digest.update(json.dumps(line, sort_keys=True, default=str).encode())
    assert digest.hexdigest() == ITEMS_BEFORE


def test_the_same_file_gives_the_same_items_and_another_date_only_other_times(auctions_csv, tmp_path):
    one, two = prepared(auctions_csv, tmp_path), prepared(auctions_csv, tmp_path)
    assert list(one.result.items) == list(two.result.items)
    later = prepared(auctions_csv, tmp_path, start="2025-04-01")
    assert [i.key for i in later.result.items] == [i.key for i in one.result.items]
    assert list(later.result.items) != list(one.result.items)


def test_every_item_satisfies_its_contract_and_follows_what_it_refers_to(auctions_csv, tmp_path):
    seen = set()
    for item in prepared(auctions_csv, tmp_path).result.items:
        assert parse(CONTRACTS[item.entity], item.payload).problems == ()
        for relation in CONTRACTS[item.entity].relations:
            target = item.payload.get(relation.field)
            assert target is None or relation.entity == "countries" or (relation.entity, (target,)) in seen
        seen.add((item.entity, item.key))


class Store:
    """A client that keeps items as the API would, and can die in the middle."""

    def __init__(self, survive=None):
        self.items, self.survive = {}, survive

    def replace(self, entity, key, payload):
        if self.survive is not None and len(self.items) >= self.survive:
            raise ConnectionError("killed")
        self.items[entity, key] = dict(payload)


def test_replaying_again_after_an_interruption_ends_in_the_same_items(auctions_csv, tmp_path):
    made, whole, store = prepared(auctions_csv, tmp_path), Store(), Store(survive=70)
    replay(whole, made, concurrency=1)
    with pytest.raises(RuntimeError, match="killed"):
        replay(store, made, concurrency=1)
    assert len(store.items) == 70
    store.survive = None
    replay(store, prepared(auctions_csv, tmp_path), concurrency=3)
    assert store.items == whole.items
