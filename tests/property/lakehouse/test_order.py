"""The order of changes is total: which change of a key wins depends on the set of its changes, and on nothing else.
With the order that the relay gives, the lake ends as the operational table does, whoever wrote to it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lakehouse.api import compact
from lakehouse.intake.landing import Scope
from lakehouse.publish.publication import publish
from lakehouse.storage.lake import Lake
from tests.support.depth import examples
from tests.support.lakes import PARCELS, Landing, change, local_lake, published_changes, published_rows
from tests.support.limits import LIMITS, limits
from tests.support.operational import LOADED, OperationalTable

Change = dict[str, str | None]
Winner = tuple[int, str, str, bool, bool]
KEYS = 60
SEED = st.integers(0, 1 << 32)

# Near each other and in each other's way: padded and not, differing in case, in length, beyond the basic plane.
VERSIONS = (0, 1, 9, 10, 2**62)
SEQUENCES = ("0", "1", "9", "10", "010", "9" * 40)
EVENTS = ("a", "B", "b", "aa", "10", "9", "é", "e\u0301", "\uffff", "\U0001f511", "a#", "a/")


def history(chance: random.Random) -> list[Change]:
    """Up to eight changes of each of many keys, most of them tied in version, sequence number or both."""
    changes = []
    for number in range(KEYS):
        versions = chance.sample(VERSIONS, chance.randint(1, 2))
        sequences = chance.sample(SEQUENCES, chance.randint(1, 3))
        for event in chance.sample(EVENTS, chance.randint(1, 8)):
            changes.append(
                {
                    **change(
                        f"p-{number}",
                        version=chance.choice(versions),
                        op=chance.choice(("insert", "modify", "remove", "expire", "snapshot")),
                        event=f"{event}{number}",
                        sent_at=f"2026-{chance.randint(1, 2):02d}-15T00:00:00Z",
                        _changed_at=f"2026-11-{chance.randint(1, 3):02d}T00:00:00Z",
                    ),
                    "_seq": chance.choice(sequences),
                }
            )
    return changes


def winners(changes: Sequence[Change]) -> dict[str, Winner]:
    """By hand: the highest version, then the highest sequence number, then the highest event as UTF-8 orders it."""
    found: dict[str, tuple[tuple[int, int, bytes], Winner]] = {}
    for row in changes:
        version, seq, event = int(row["_version"] or 0), row["_seq"] or "", row["_event_id"] or ""
        order = (version, int(seq), event.encode())
        key = row["parcel_id"] or ""
        if key not in found or order > found[key][0]:
            found[key] = order, (version, seq.rjust(40, "0"), event, row["_op"] == "remove", row["_op"] == "expire")
    return {key: winner for key, (_, winner) in found.items()}


def deliver(lake: Lake, changes: Sequence[Change], chance: random.Random) -> None:
    """Land the changes in any order and take them in by any number of batches of any number of objects."""
    delivered = [*changes, *chance.sample(changes, 20)]
    chance.shuffle(delivered)
    landing = Landing(lake, PARCELS)
    for _ in range(chance.randint(1, 3)):
        cut = chance.randint(0, len(delivered))
        batch, delivered = delivered[:cut], delivered[cut:]
        objects = chance.randint(1, 4)
        for number in range(objects):
            landing.land(batch[number::objects])
        ingest(lake)
    landing.land(delivered)
    ingest(lake)


def ingest(lake: Lake) -> None:
    """One batch, published, so that the next one begins from it."""
    result = compact(lake, PARCELS, Scope.everything())
    assert result.held == ()
    publish(lake, PARCELS)


@contextmanager
def fresh() -> Iterator[Lake]:
    with tempfile.TemporaryDirectory() as folder:
        yield local_lake(Path(folder))


@settings(
    max_examples=examples(4),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 1 << 32), groupings=st.tuples(*[st.integers(0, 1 << 32)] * 2), how=st.sampled_from([*LIMITS])
)
def test_the_winner_of_any_changes_does_not_depend_on_their_order_or_grouping(
    seed: int, groupings: tuple[int, ...], how: str
) -> None:
    changes = history(random.Random(seed))
    expected = winners(changes)
    stored: list[Any] = []
    for grouping in groupings:
        with fresh() as lake, limits(how):
            deliver(lake, changes, random.Random(grouping))
            rows = published_rows(lake)
            history_ = published_changes(lake)
        kept = {r["parcel_id"]: (r["_version"], r["_seq"], r["_event_id"], r["_deleted"], r["_expired"]) for r in rows}
        assert len(kept) == len(rows)
        assert kept == expected
        assert sorted(r["_event_id"] for r in history_) == sorted(str(c["_event_id"]) for c in changes)
        stored.append([{n: v for n, v in r.items() if n not in ("_batch", "_object")} for r in (*rows, *history_)])
    assert stored[0] == stored[1]


HAPPENINGS = (
    *("write", "write", "foreign", "foreign", "delete", "remove", "expire", "together", "clock", "clock"),
    *("export", "restore", "stream"),
)


def written(chance: random.Random) -> OperationalTable:
    """A table after some hundred changes of few keys, by everybody who may write to it."""
    table = OperationalTable()
    for _ in range(400):
        key, content = chance.choice(LOADED), chance.randrange(60)
        match chance.choice(HAPPENINGS):
            case "write":
                table.write(key, content, 0)
            case "foreign":
                table.write_foreign(key, content, 0)
            case "together":
                table.write_together((key, *LOADED[: content % 3]), content, 0)
            case "delete" if key in table.items:
                table.mark_deleted(key, 0)
            case "remove" | "expire" as op if key in table.items:
                table.remove(key, 0, op)
            case "clock":
                table.now, table.ahead = table.now + content % 4 - 1, chance.choice((0, 0, 1, 5, -3))
            case "export" | "restore" | "stream" as rare if content < 10:
                {"export": table.export, "restore": lambda: table.restore(0), "stream": table.start_new_stream}[rare]()
    return table


@settings(
    max_examples=examples(3),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=SEED, grouping=SEED)
def test_the_lake_ends_as_the_table_does_whoever_wrote(seed: int, grouping: int) -> None:
    table = written(random.Random(seed))
    with fresh() as lake:
        deliver(lake, [dict(c.text) for c in table.emitted], random.Random(grouping))
        winners = {r["parcel_id"]: r["_event_id"] for r in published_rows(lake)}
    emitted = {c.event: c for c in table.emitted}
    assert winners.keys() == {key[0] for key in table.latest}
    for key, last in table.latest.items():
        found = emitted[winners[key[0]]]
        assert found.tells(last), f"expected {last}, found {found}"
