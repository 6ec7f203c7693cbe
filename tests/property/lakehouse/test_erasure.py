"""Random histories of persons and sales, a person erased with a crash at any write: nothing of the person is left in
any version of any object, and every row of everybody else is as it was."""

from __future__ import annotations

import gzip
import io
import tempfile
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from contracts import Contract
from lakehouse.api import compact, rebuild, requeue
from lakehouse.erasure import proof, requests, run
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.publish.published import content_hash
from lakehouse.storage.lake import Lake
from tests.support.lakes import NOON, Clock, Landing, published_changes, published_rows, without
from tests.support.persons import (
    BOTH,
    PERSONS,
    SALES,
    everything,
    ingest,
    lake_of_persons,
    of_others,
    person,
    sale,
    second_phase,
)
from tests.support.versions import VersionedStore

WHO = "c-7"
SHARED = "Max Mustermann"
MINE = ("c-7", "c7@private.example", "Calle 7, tercero", "tag of c-7", "+34 7 777")


class Crash(Exception):
    """The process dies here."""


def texts(content: bytes) -> Iterator[str]:
    """Everything that a content says, by means of its own."""
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    yield content.decode(errors="replace")
    if content[:4] == b"PAR1":
        yield repr(pq.read_table(io.BytesIO(content)).to_pylist())
    if content[:4] == b"Obj\x01":  # any stretch of it that decompresses is a block
        for start in range(len(content) - 2):
            try:
                yield zlib.decompressobj(wbits=-15).decompress(content[start:]).decode(errors="replace")
            except zlib.error:
                continue


def land(lake: Lake, rng: Random) -> None:
    """Some objects of both entities, batches in between, failures with records of several persons, bad rows."""
    landings = {c.name: Landing(lake, c) for c in (PERSONS, SALES)}
    others = ["c-1", "c-2", "c-77", "c-7-b"]
    version = 0
    for _ in range(rng.randint(2, 5)):
        persons, sales = [], []
        for _ in range(rng.randint(1, 6)):
            version += 1
            who = rng.choice([WHO, *others])
            mine = {"name": SHARED, "email": MINE[1], "tags": orjson.dumps([MINE[3]]).decode()} if who == WHO else {}
            if who != WHO and rng.random() < 0.3:
                mine = {"name": SHARED}
            if rng.random() < 0.15:
                mine |= {"status": "unheard of"}
            op = "remove" if rng.random() < 0.15 else "modify"
            extra = orjson.dumps({"phone": {"S": MINE[4]}}).decode() if who == WHO and rng.random() < 0.3 else None
            persons.append(person(who, version=version, op=op, _extra=extra, **mine))
            buyer, seller = rng.choice([WHO, *others]), rng.choice([WHO, *others, None])
            said = {
                "recipient": SHARED if buyer == WHO else f"Name of {buyer}",
                "pickup": MINE[2] if seller == WHO else "Main yard, left",
                "title": rng.choice(["A vase", "c-77 of the catalogue", None]),
                "_by": f"user:{rng.choice([buyer, 'clerk'])}" if buyer == WHO else None,
            }
            what = f"s-{rng.randint(1, 8)}"
            if rng.random() < 0.15:
                said |= {"amount": "a lot"}
            sales.append(sale(what, buyer, seller, version=version, **said))
        landings["persons"].land(persons)
        landings["sales"].land(sales)
        if rng.random() < 0.7:
            ingest(lake)
    ingest(lake)
    record = {"dynamodb": {"NewImage": {"person_id": {"S": WHO}, "email": {"S": MINE[1]}}}}
    other = {"dynamodb": {"NewImage": {"person_id": {"S": "c-1"}}}}
    lake.store.write("relay-failures/persons/a.json", orjson.dumps({"Records": [record, other]}))
    lines = b"\n".join(orjson.dumps({"row": r}) for r in (record, other))
    lake.store.write("firehose-errors/sales/b.gz", gzip.compress(lines))
    lake.store.write("athena-results/q.csv", f"name,email\n{SHARED},{MINE[1]}\n".encode())
    lake.store.write("aws/lambda/c.json", orjson.dumps({"payload": orjson.dumps(record).decode()}))


def replayed(lake: Lake, contract: Contract) -> None:
    compact(lake, contract, Scope.replay(NOON, NOON + timedelta(hours=1)))


def erased_with_crashes(lake: Lake, clock: Clock, rng: Random, patch: pytest.MonkeyPatch) -> requests.Request:
    """Erase, dying at some writes; each time it goes on from where it was left."""
    request = requests.request_erasure(lake, WHO)
    left = rng.randint(1, 40)

    def dying(name: str) -> Any:
        whole = getattr(VersionedStore, name)

        def write(self: VersionedStore, *arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and rng.random() < 0.5:
                raise Crash  # before it was done
            done = whole(self, *arguments)
            if left == 0:
                raise Crash
            return done

        return write

    for name in ("write", "upload", "delete", "delete_versions"):
        patch.setattr(VersionedStore, name, dying(name))
    for _ in range(12):
        try:
            request = requests.load_request(lake, request.id)
            if request.status == "open":
                for contract in BOTH.values():
                    run.erase_entity(lake, contract, request)
                request = run.erase_rest(lake, BOTH, request)
            clock.forward(hours=25)
            second_phase(lake, BOTH, request)
        except Crash:
            vars(lake).pop("kept", None)
            lake.__dict__["kept"] = {}
            left = rng.choice([rng.randint(5, 60), 10_000])
            if requests.load_request(lake, request.id).status == "done":
                break
            continue
        break
    patch.undo()
    return requests.load_request(lake, request.id)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_of_the_person_is_left_and_everything_of_others(seed: int) -> None:
    rng, clock = Random(seed), Clock()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        lake = lake_of_persons(Path(folder), clock)
        land(lake, rng)
        rows = {c.name: (published_rows(lake, c), published_changes(lake, c)) for c in BOTH.values()}
        request = erased_with_crashes(lake, clock, rng, patch)
        assert request.status == "done"
        for contract in BOTH.values():
            for before, now in zip(
                rows[contract.name], (published_rows(lake, contract), published_changes(lake, contract)), strict=True
            ):
                kept = without(of_others(now, request.pseudonym), "_batch")
                assert kept == without(of_others(before, WHO), "_batch")
                hers = [r for r in now if request.pseudonym in (r.get("buyer_id"), r.get("seller_id"))]
                if contract is SALES:
                    assert [(r["sale_id"], r["amount"]) for r in hers] == [
                        (r["sale_id"], r["amount"]) for r in before if WHO in (r["buyer_id"], r["seller_id"])
                    ]
        for key, content in everything(lake).items():
            for text in texts(content):
                for value in MINE[1:]:
                    assert value not in text, (key, value)
                for mention in ("'c-7'", '"c-7"', "c-7,", "\x00c-7\x00", "user:c-7'"):
                    assert mention not in text, (key, mention)
        assert proof.verify(lake, orjson.loads(lake.store.read(request.proof)))
        for contract in BOTH.values():
            erased = content_hash(lake, contract)
            for again in (replayed, requeue, rebuild):
                again(lake, contract)
                publish(lake, contract)
                assert content_hash(lake, contract) == erased
