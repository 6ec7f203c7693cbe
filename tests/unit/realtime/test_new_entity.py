"""A new entity is one contract file: the functions serve it without a line of code."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from contracts import Contracts, load_contracts
from contracts.compact import load_compact
from contracts.loader import ENTITIES
from realtime.api.entities import Entities
from realtime.api.handler import Api
from realtime.api.store import Store
from realtime.api.writer import Writer
from realtime.bundle import CONTRACTS_FILE, build_bundles
from realtime.relay.batch import transform


@pytest.fixture
def extended(tmp_path: Path) -> Contracts:
    """The contracts with one more: auctioneers, written as shipping addresses are."""
    folder = tmp_path / "entities"
    shutil.copytree(ENTITIES, folder)
    text = (folder / "shipping_addresses.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("shipping_addresses", "auctioneers"),
        ("address_id", "auctioneer_id"),
        ("ADDRESS", "AUCTIONEER"),
        ("value: address", "value: auctioneer"),  # its dimension
    ):
        text = text.replace(old, new)
    (folder / "auctioneers.yaml").write_text(text, encoding="utf-8")
    return load_contracts(folder)


def test_the_api_and_the_relay_serve_a_new_entity(api: Any, extended: Contracts) -> None:
    writer = Writer(Entities(extended), Store(api.client, api.table.name))
    api.api = Api(writer, api.receipts)
    required = [f.name for f in extended["auctioneers"].fields if f.required]
    refused = api("POST", "/auctioneers", {})
    assert (refused.status, [e["field"] for e in refused.body["errors"]]) == (422, required)
    values = {"customer_id": "c-1", "name": "Ann", "line1": "1 High Street", "city": "Bath", "country": "GB"}
    values |= {name: "GB" for name in required if name not in values and "country" in name}
    values |= {name: "2026-11-21T01:02:03Z" for name in required if name.endswith("_at")}
    values = {k: v for k, v in values.items() if k in extended["auctioneers"].field_names}
    values |= {name: "x" for name in required if name not in values}
    assert api("PUT", "/auctioneers/a-1", values | {"auctioneer_id": "a-1"}).status == 201
    item = api.item("AUCTIONEER#a-1", "AUCTIONEER")
    record = {
        "eventID": "e-1",
        "eventName": "INSERT",
        "dynamodb": {"NewImage": item, "SequenceNumber": "1", "ApproximateCreationDateTime": 1_795_222_923},
    }
    assert list(transform([record], extended).aggregations) == ["auctioneers"]


def test_a_bundle_carries_the_new_contract(extended: Contracts, tmp_path: Path) -> None:
    bundles = build_bundles(tmp_path / "bundles", contracts=extended)
    for function in ("api", "inbound", "relay", "fanout"):
        with zipfile.ZipFile(bundles[function].path) as file:
            assert list(load_compact(file.read(CONTRACTS_FILE))) == list(extended)
