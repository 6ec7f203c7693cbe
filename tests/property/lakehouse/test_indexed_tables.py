"""Whatever happens to key indexes between batches, the table holds the newest change of each key, once."""

from __future__ import annotations

import random
import tempfile
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.merge import planning
from lakehouse.publish.audit import Audited
from lakehouse.publish.publication import publish
from lakehouse.results import Check, StateRetention
from lakehouse.storage.lake import Lake
from lakehouse.table import key_index
from tests.support.depth import examples
from tests.support.lakes import PARCELS, Landing, change, local_lake, published_rows

KEYS = 60
NEVER = StateRetention(recent=timedelta(0), days=0, states=1, grace=timedelta(0))
INDEX = "warehouse/parcels/index/"


def _damage(lake: Lake, chance: random.Random) -> None:
    """Lose an index, cut it, change a byte of it, or put another one in its place."""
    present = [stored.key for stored in lake.store.list(INDEX)]
    if not present:
        return
    key = chance.choice(present)
    content = lake.store.read(key)
    what = chance.randrange(4)
    if what == 0:
        lake.store.delete([key])
    elif what == 1:
        lake.store.write(key, content[: chance.randrange(len(content) + 1)])
    elif what == 2 and content:
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        lake.store.write(key, bytes(changed))
    elif what == 3:
        lake.store.write(key, lake.store.read(chance.choice(present)))


@settings(
    max_examples=examples(6),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes too long
    suppress_health_check=[HealthCheck.too_slow],
)
@given(seed=st.integers(0, 1 << 32))
def test_a_table_with_indexes_in_any_state_is_that_of_its_changes(seed: int) -> None:
    chance = random.Random(seed)
    newest: dict[tuple[str, int], int] = {}
    used = 0

    def count(audited: Audited) -> Check:
        nonlocal used
        used += len(audited.reduced.indexed)
        return Check("counted", True, "")

    with (
        tempfile.TemporaryDirectory() as folder,
        patch.multiple(key_index, FEWEST_ROWS=1, ROWS_PER_KEY=0),
        patch.multiple(planning, SMALL_FILE=0, TINY_FILE=0, FULL_FILE=0),
    ):
        lake = local_lake(Path(folder))
        landing = Landing(lake, PARCELS)
        for batch in range(8):
            size = chance.choice((1, 3, KEYS)) if batch else KEYS
            rows = []
            for number in chance.sample(range(KEYS), size):
                key, version = (f"p-{number % 20}", number // 20), chance.randrange(4 * batch + 4)
                rows.append(
                    change(
                        *key,
                        version=version,
                        op=chance.choice(("modify", "remove")),
                        sent_at=f"2026-{chance.randint(1, 2):02d}-15T00:00:00Z",
                    )
                )
                newest[key] = max(version, newest.get(key, -1))
            landing.land(rows)
            assert not compact(lake, PARCELS, Scope.everything(), invariants=[count]).held
            publish(lake, PARCELS)
            if batch % 2 == 0:
                maintain(lake, PARCELS, state_retention=NEVER)
            elif chance.random() < 0.7:
                _damage(lake, chance)
        found = [((r["parcel_id"], r["part"]), r["_version"]) for r in published_rows(lake)]
    assert used
    assert sorted(found) == sorted(newest.items())
