"""Sending changes: dependencies are kept whatever the concurrency, and a refused change stops everything clearly."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from contracts import load_contracts
from local.simulator import generate, simulate, simulate_live
from local.traffic import Dependencies, Request, TrafficError, send

CONTRACTS = load_contracts()
END = datetime(2026, 11, 21, tzinfo=UTC)
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Recorder:
    """A client that remembers what began and ended in which order, and refuses one change if so configured."""

    def __init__(self, refuse=None, gate=None):
        self.lock, self.began, self.ended, self.at_once, self.most = threading.Lock(), [], [], 0, 0
        self.refuse, self.gate = refuse, gate

    def _call(self, method, entity, key, payload):
        with self.lock:
            self.began.append((method, entity, key))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        if self.gate:
            self.gate.wait(5)
        with self.lock:
            self.at_once -= 1
            if self.refuse and self.refuse(method, entity, key):
                raise RuntimeError("422 amount: expected decimal(14,2)")
            self.ended.append((method, entity, key, payload))

    def replace(self, entity, key, payload):
        self._call("PUT", entity, key, payload)

    def patch(self, entity, key, payload):
        self._call("PATCH", entity, key, payload)

    def delete(self, entity, key):
        self._call("DELETE", entity, key, None)


def put(entity, key, **payload):
    return Request("PUT", entity, key if isinstance(key, tuple) else (key,), payload, AT)


def patch(entity, key, **payload):
    return Request("PATCH", entity, (key,), payload, AT)


def waits(*requests):
    dependencies = Dependencies(CONTRACTS)
    return [dependencies.add(n, r) for n, r in enumerate(requests)]


def test_a_bid_waits_for_lot_and_bidder_but_not_for_other_bids():
    assert waits(
        put("customers", "c"), put("lots", "l", seller_id="c"), put("bids", "b1", lot_id="l", bidder_id="c"),
        put("bids", "b2", lot_id="l", bidder_id="c"),
    ) == [set(), {0}, {0, 1}, {0, 1}]  # fmt: skip


def test_closing_a_lot_waits_for_its_bids():
    assert waits(put("lots", "l"), put("bids", "b1", lot_id="l"), put("bids", "b2", lot_id="l"), patch("lots", "l"))[
        3
    ] == {0, 1, 2}


def test_changes_of_one_item_keep_their_order_and_others_do_not_wait():
    assert waits(put("lots", "l"), put("lots", "m"), patch("lots", "l"), patch("lots", "l")) == [set(), set(), {0}, {2}]


def test_an_estimate_counts_as_a_write_of_its_order():
    found = waits(
        put("orders", "o"),
        put("estimates", "e1", order_id="o"),
        put("estimates", "e2", order_id="o"),
        patch("orders", "o"),
    )
    assert found == [set(), {0}, {1}, {2}]


def test_a_later_patch_of_a_payment_stays_before_the_patch_of_its_order():
    found = waits(put("orders", "o"), put("payments", "p", order_id="o"), patch("payments", "p"), patch("orders", "o"))
    assert 2 in found[3]


@pytest.mark.parametrize("concurrency", [1, 7])
def test_every_change_is_sent_once_and_after_what_it_depends_on(concurrency):
    requests = generate(seed=11, changes=900, end=END)
    client, seen = Recorder(), []
    sent = send(
        client, iter(requests), CONTRACTS, concurrency=concurrency, total=900, progress=lambda d, t: seen.append((d, t))
    )
    assert sent.total == 900
    assert seen == [(n, 900) for n in range(1, 901)]
    assert client.most <= concurrency
    place, dependencies = {}, Dependencies(CONTRACTS)
    by_key = {}
    for n, (method, entity, key, _) in enumerate(client.ended):
        by_key.setdefault((entity, key), []).append((n, method))
    for index, request in enumerate(requests):
        n, method = by_key[request.entity, request.key].pop(0)
        assert method == request.method, "changes of one item changed places"
        place[index] = n
        assert all(place[i] < n for i in dependencies.add(index, request)), f"{request} overtook what it needs"


def test_changes_go_out_at_the_same_time_but_never_more_than_allowed():
    barrier = threading.Barrier(4)

    class Together(Recorder):
        def _call(self, *change):
            barrier.wait(10)  # passes only if four calls are under way at once
            super()._call(*change)

    client = Together()
    assert send(client, [put("lots", f"l{n}") for n in range(20)], CONTRACTS, concurrency=4).total == 20


def test_a_refused_change_stops_sending_and_says_which_and_why():
    client = Recorder(refuse=lambda method, entity, key: key == ("l5",))
    requests = [put("lots", f"l{n}") for n in range(4000)]
    with pytest.raises(TrafficError, match=r"PUT /lots/l5: 422 amount: expected decimal") as caught:
        send(client, requests, CONTRACTS, concurrency=1)
    assert [key for _, _, key in client.began] == [(f"l{n}",) for n in range(6)], "sending went on after a refusal"
    assert caught.value.request.key == ("l5",)


def test_what_depends_on_a_refused_change_is_not_sent():
    client = Recorder(refuse=lambda method, entity, key: entity == "lots")
    with pytest.raises(TrafficError):
        send(client, [put("lots", "l"), put("bids", "b", lot_id="l")], CONTRACTS)
    assert [entity for _, entity, _ in client.began] == ["lots"]


def test_an_interruption_leaves_the_rest_unsent():
    turn = threading.Semaphore(1)

    class OneTurn(Recorder):
        def _call(self, *change):
            turn.acquire(timeout=0.3)  # only the first change goes through at once
            super()._call(*change)

    client = OneTurn()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(client, [put("lots", f"l{n}") for n in range(5000)], CONTRACTS, concurrency=2, progress=interrupt)
    assert len(client.began) <= 3, "what had not begun was sent all the same"


def test_simulating_twice_sends_the_same():
    first, second = Recorder(), Recorder()
    simulate(first, seed=1, changes=300, end=END)
    simulate(second, seed=1, changes=300, end=END)
    assert sorted(map(str, first.ended)) == sorted(map(str, second.ended))


def test_live_auctions_wait_for_their_time_and_stop_on_request():
    clock, stop = [END], threading.Event()

    class Watch:
        def __init__(self):
            self.waited = timedelta(0)

        def wait(self, seconds):
            clock[0] += timedelta(seconds=seconds)
            self.waited += timedelta(seconds=seconds)
            return stop.is_set()

    watch, client = Watch(), Recorder()
    began = time.monotonic()
    sent = simulate_live(
        client, seed=1, stop=watch, now=lambda: clock[0], progress=lambda d, t: d >= 200 and stop.set()
    )
    assert sent.total == 200
    assert watch.waited > timedelta(seconds=30)
    assert time.monotonic() - began < 20
