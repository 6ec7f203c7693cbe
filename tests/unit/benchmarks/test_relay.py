"""What the relay's benchmark compares: the same changes, in the same columns, by each way."""

from __future__ import annotations

import json

from benchmarks.relay.data import records
from benchmarks.relay.ways import bare, ours, peer
from contracts import load_contracts


def test_ours_and_the_peer_deliver_the_same_changes_in_the_same_columns() -> None:
    contracts = load_contracts()
    made = records(contracts, 300)
    rows = {
        way.__name__: {
            row["_event_id"]: row for data in way(contracts)(made) for row in map(json.loads, data.splitlines())
        }
        for way in (ours, peer)
    }
    assert len(rows["ours"]) == len(made) == 300
    assert rows["ours"].keys() == rows["peer"].keys()
    for identity, row in rows["ours"].items():
        other = rows["peer"][identity]
        assert row.keys() == other.keys()
        assert (row["_seq"], row["_op"]) == (other["_seq"], other["_op"])
        assert int(row["_version"]) // 1_000_000 == int(other["_version"]) // 1_000_000  # ours is the order: its end
    assert len(b"".join(bare(contracts)(made)).splitlines()) == 300
