"""A person's data is erased everywhere, and nobody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from lakehouse.api import rebuild
from lakehouse.erasure import proof, requests, run
from lakehouse.erasure.contents import holds
from lakehouse.erasure.needles import Needles
from lakehouse.erasure.objects import purge_versions
from lakehouse.maintenance.indexing import write_indexes
from lakehouse.publish.publication import publish, rollback
from lakehouse.publish.published import content_hash, published
from lakehouse.storage.context import Context
from lakehouse.storage.duck import connect
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import StoredVersion
from lakehouse.table import key_index
from lakehouse.table.tables import expect_published
from tests.support.lakes import Clock, Landing, published_changes, published_rows, without
from tests.support.persons import (
    BOTH,
    PERSONS,
    SALES,
    erase,
    everything,
    first_phase,
    ingest,
    lake_of_persons,
    of_others,
    person,
    sale,
    second_phase,
)
from tests.support.readers import by_duckdb


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lake(tmp_path: Path, clock: Clock) -> Lake:
    return lake_of_persons(tmp_path, clock)


def land_usual(lake: Lake) -> None:
    persons, sales = Landing(lake, PERSONS), Landing(lake, SALES)
    persons.land([person("p-1", version=1, name="Ann Old"), person("p-2", version=1), person("p-11", version=1)])
    persons.land([person("p-1", version=2, tags='["vip p one"]'), person("p-3", version=2)])
    sales.land([sale("s-1", "p-1", "p-2", version=1), sale("s-2", "p-2", "p-3", version=1)])
    sales.land([sale("s-1", "p-1", "p-2", version=2, amount="11.00"), sale("s-3", "p-3", "p-1", version=2)])


def test_a_person_is_nowhere_and_others_are_as_they_were(lake: Lake, clock: Clock) -> None:
    land_usual(lake)
    ingest(lake)
    before = {c.name: published_changes(lake, c) for c in BOTH.values()}
    request, finished = erase(lake, "p-1", clock)
    assert request.status == "done"
    assert [r["person_id"] for r in published_rows(lake, PERSONS)] == ["p-11", "p-2", "p-3"]
    sales = {r["sale_id"]: r for r in published_rows(lake, SALES)}
    assert (sales["s-1"]["buyer_id"], sales["s-1"]["recipient"]) == (request.pseudonym, request.pseudonym)
    assert (sales["s-1"]["seller_id"], sales["s-1"]["pickup"]) == ("p-2", "Yard 1 of p-2")
    assert str(sales["s-1"]["amount"]) == "11.00"
    assert (sales["s-3"]["buyer_id"], sales["s-3"]["seller_id"], sales["s-3"]["pickup"]) == (
        "p-3",
        request.pseudonym,
        None,
    )
    for contract in BOTH.values():
        now = published_changes(lake, contract)
        assert of_others(now, request.pseudonym) == of_others(before[contract.name], "p-1")
    for key, content in everything(lake).items():
        for value in (b"p-1@", b"Ann Old", b"Name of p-1\x00", b"vip p one"):
            assert value not in content, key
    signed = orjson.loads(lake.store.read(finished.proof))
    assert proof.verify(lake, signed)
    assert not proof.verify(lake, {**signed, "done_at": "never"})
    assert signed["scan"]["found"] == []


def test_a_rebuild_gives_the_erased_tables(lake: Lake, clock: Clock) -> None:
    land_usual(lake)
    ingest(lake)
    erase(lake, "p-1", clock)
    for contract in BOTH.values():
        erased = content_hash(lake, contract)
        rebuild(lake, contract)
        publish(lake, contract)
        assert content_hash(lake, contract) == erased
    assert [r.objects for r in ingest(lake)] == [0, 0]


def test_no_state_from_before_can_be_gone_back_to(lake: Lake, clock: Clock) -> None:
    land_usual(lake)
    ingest(lake)
    request = requests.request_erasure(lake, "p-1")
    first_phase(lake, request)
    with pytest.raises(LookupError):
        rollback(lake, PERSONS)
    now = published(lake, PERSONS)
    assert now is not None
    assert now.lineage == {now.snapshot_id}, "nobody takes it for one that only grew"


def test_what_still_arrives_of_the_person_comes_to_nothing(lake: Lake, clock: Clock) -> None:
    land_usual(lake)
    ingest(lake)
    request, _ = erase(lake, "p-1", clock)
    rows = published_rows(lake, PERSONS)
    Landing(lake, PERSONS, 10).land([person("p-1", version=9), person("p-4", version=9)])
    Landing(lake, SALES, 10).land(
        [sale("s-1", "p-1", "p-2", version=9, amount="1e1"), sale("s-9", "p-2", "p-3", version=9)]
    )
    persons, sales = ingest(lake)
    assert (persons.erased, sales.erased) == (1, 1)
    assert persons.counts.conserved
    assert without(of_others(published_rows(lake, PERSONS), "p-4"), "_batch") == without(rows, "_batch")
    found = {r["sale_id"]: r for r in published_rows(lake, SALES)}
    assert (found["s-1"]["buyer_id"], str(found["s-1"]["amount"])) == (request.pseudonym, "10.00")
    assert len(list(lake.store.list("erasures/late/"))) == 2
    assert [run.clean_late(lake, contract) for contract in BOTH.values()] == [1, 1]
    assert list(lake.store.list("erasures/late/")) == []
    for key, content in everything(lake).items():
        assert not holds(content, Needles("p-1", {})), key
    for contract in BOTH.values():
        now = content_hash(lake, contract)
        rebuild(lake, contract)
        publish(lake, contract)
        assert content_hash(lake, contract) == now


def test_a_hold_stops_an_erasure_until_it_is_lifted(lake: Lake, clock: Clock) -> None:
    land_usual(lake)
    ingest(lake)
    request = requests.request_erasure(lake, "p-1")
    requests.hold(lake, "p-1", "a case before the court")
    with pytest.raises(requests.OnHold, match="legal hold"):
        run.erase_entity(lake, PERSONS, request)
    with pytest.raises(requests.OnHold, match="legalHold: true"):
        run.erase_entity(lake, replace(PERSONS, legal_hold=True), replace(request, person="another"))
    assert requests.lift(lake, "p-1")
    first_phase(lake, request)
    assert not [r for r in published_rows(lake, PERSONS) if r["person_id"] == "p-1"]


def test_a_record_with_the_former_name_of_the_grace_period_is_read(lake: Lake) -> None:
    request = requests.request_erasure(lake, "p-1")
    record = orjson.loads(lake.store.read(request.key))
    record["guard"] = record.pop("grace")
    lake.store.write(request.key, orjson.dumps(record))
    assert requests.erasure_requests(lake) == [request]


def test_earlier_states_stay_until_the_grace_period_is_over(lake: Lake, clock: Clock) -> None:
    land_usual(lake)
    ingest(lake)
    state = published(lake, PERSONS)
    assert state is not None
    request = first_phase(lake, requests.request_erasure(lake, "p-1"))
    clock.forward(hours=23)
    with pytest.raises(run.ErasureIncomplete, match="may still be open"):
        run.remove_earlier(lake, PERSONS, request)
    assert len(by_duckdb(state.metadata_location)) == 4  # a reader who opened it before goes on
    clock.forward(hours=2)
    second_phase(lake, BOTH, request)
    assert lake.store.size(lake.store.key(state.metadata_location)) is None


def test_a_name_that_others_have_is_theirs(lake: Lake, clock: Clock) -> None:
    Landing(lake, PERSONS).land([person("p-1", version=1, name="Jo Doe"), person("p-2", version=1, name="Jo Doe")])
    Landing(lake, SALES).land([sale("s-1", "p-2", "p-3", version=1, recipient="Jo Doe")])
    ingest(lake)
    lake.store.write("relay-failures/x.json", orjson.dumps({"Records": [{"name": "Jo Doe", "id": "p-2"}]}))
    _, finished = erase(lake, "p-1", clock)
    assert finished.shared == 1
    assert lake.store.size("relay-failures/x.json")
    assert [r["name"] for r in published_rows(lake, PERSONS)] == ["Jo Doe"]


def test_what_is_left_somewhere_is_found_and_nothing_is_signed(lake: Lake, clock: Clock) -> None:
    land_usual(lake)
    ingest(lake)
    Landing(lake, SALES).land([sale("s-7", "p-2", "p-3", version=7, title="From p-1 with thanks")])
    ingest(lake)
    request = first_phase(lake, requests.request_erasure(lake, "p-1"))
    clock.forward(hours=25)
    with pytest.raises(run.ErasureIncomplete, match="nothing is signed"):
        second_phase(lake, BOTH, request)
    assert requests.load_request(lake, request.id).status == "rewritten"


def test_a_dry_run_says_what_would_be_rewritten_and_changes_nothing(lake: Lake) -> None:
    land_usual(lake)
    ingest(lake)
    before = everything(lake)
    found = {s.entity: (s.rows, s.files, s.landed) for s in run.search_person(lake, BOTH, "p-1")}
    assert found["persons"] == (3, 2, 2)
    assert found["sales"][0] == 5
    assert everything(lake) == before


def key_indexes(lake: Lake) -> set[str]:
    """Every version of every key index."""
    return {key for address in everything(lake) if (key := address.partition("@")[0]).endswith(key_index.SUFFIX)}


def test_digests_of_the_person_go_with_the_files_that_held_her(
    lake: Lake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_index, "FEWEST_ROWS", 1)
    land_usual(lake)
    ingest(lake)
    for contract in BOTH.values():
        with connect(lake) as duck:
            write_indexes(duck, Context(lake, contract), expect_published(lake, contract))
    before = key_indexes(lake)
    assert before
    erase(lake, "p-1", clock)
    left = key_indexes(lake)
    live = {lake.store.key(f.path) for c in BOTH.values() for f in expect_published(lake, c).files}
    for contract in BOTH.values():
        root = f"warehouse/{contract.name}/"
        assert {data for key in left if (data := key_index.described_by(root, key))} <= live
    assert left < before


def test_earlier_versions_of_key_indexes_go_however_young(
    lake: Lake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, data = (f"warehouse/{PERSONS.name}/{key}" for key in ("index/data/x.parquet.keys", "data/x.parquet"))
    present = [StoredVersion(key, "1", "", 9, clock(), latest=False) for key in (data, index)]
    present.append(replace(present[1], version="2", latest=True))
    deleted: list[StoredVersion] = []
    monkeypatch.setattr(type(lake.store), "versions", lambda *_: iter(present))
    monkeypatch.setattr(type(lake.store), "delete_versions", lambda _, versions: deleted.extend(versions))
    cutoffs = dict.fromkeys(BOTH, clock() - timedelta(hours=1))
    assert list(purge_versions(lake, BOTH, Needles("p-1", {}), cutoffs)) == deleted == [present[1]]
