"""Both engines give the same rows: random histories on a table that Athena merges, in turn with the embedded engine,
and on one that only the embedded engine merges.

The histories are those that the property tests draw from: every type, keys that sort unlike in other encodings, foreign
writes that move a key to another partition, restored exports, new streams, contracts that evolve.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from contracts import Contract
from lakehouse.api import compact, maintain
from lakehouse.intake.landing import Scope
from lakehouse.publish.audit import audit_table
from lakehouse.publish.publication import publish
from lakehouse.publish.published import published
from lakehouse.results import BatchResult
from lakehouse.storage.lake import Lake
from tests.conformance.support.athena_service import AthenaService
from tests.conformance.support.witnesses import by_duckdb
from tests.support.lakes import Landing, local_lake
from tests.support.operational import CONTRACTS, KEYS, Change, OperationalTable
from tests.support.readers import by_duckdb as by_local_duckdb

EXAMPLES = int(os.environ.get("CONFORMANCE_EXAMPLES", "8"))
Engine = Literal["embedded", "athena"]

STEP = st.tuples(
    st.sampled_from(
        ["write"] * 4 + ["delete", "remove", "expire", "foreign", "foreign", "export", "restore", "stream"]
    ),
    st.sampled_from(KEYS),
    st.integers(0, 40),
    st.integers(-2, 3),
)


@dataclass(frozen=True)
class Batch:
    """What lands between two ticks, in objects; who merges it, under which contract; and whether the night comes."""

    objects: tuple[tuple[Change, ...], ...]
    engine: Engine
    generation: int
    night: bool


def play(table: OperationalTable, step: tuple[str, Any, int, int], generation: int) -> None:
    action, key, content, seconds = step
    table.now = max(1, table.now + seconds)
    present = key in table.items
    match action:
        case "write":
            table.write(key, content, generation)
        case "foreign":
            table.write_foreign(key, content, generation)
        case "delete" if present:
            table.mark_deleted(key, generation)
        case "remove" | "expire" if present:
            table.remove(key, generation, action)
        case "export":
            table.export()
        case "restore":
            table.restore(generation)
        case "stream":
            table.start_new_stream()


@st.composite
def histories(draw: st.DrawFn) -> list[Batch]:
    """Batches of changes in any order: some come later, some again, and each batch in objects of any size."""
    table, batches, late, generation = OperationalTable(), list[Batch](), list[Change](), 0
    for _ in range(draw(st.integers(2, 4))):
        generation = min(len(CONTRACTS) - 1, generation + draw(st.sampled_from([0, 0, 1])))
        known = len(table.emitted)
        for step in draw(st.lists(STEP, min_size=1, max_size=12)):
            play(table, step, generation)
        arriving = late + table.emitted[known:]
        late = [c for c in arriving if draw(st.integers(0, 4)) == 0]
        again = draw(st.lists(st.sampled_from(table.emitted), max_size=3)) if table.emitted else []
        delivered = draw(st.permutations([c for c in arriving if c not in late] + again))
        cut = draw(st.integers(0, len(delivered)))
        objects = tuple(tuple(o) for o in (delivered[:cut], delivered[cut:]) if o)
        engine: Engine = draw(st.sampled_from(["athena", "athena", "embedded"]))
        batches.append(Batch(objects, engine, generation, draw(st.integers(0, 3)) == 0))
    return batches


@dataclass
class Side:
    """One of the two lakes, and how its tables are read."""

    lake: Lake
    read: Callable[[str], list[dict[str, Any]]]
    landed: int = 0

    def take(self, batch: Batch, contract: Contract) -> BatchResult:
        landing = Landing(self.lake, contract, count=self.landed)
        for rows in batch.objects:
            landing.land([c.text for c in rows])
        self.landed = landing.count
        result = compact(self.lake, contract, Scope.everything())
        publish(self.lake, contract)
        if batch.night:
            maintain(self.lake, contract)
        return result

    def rows(self, contract: Contract) -> tuple[Sequence[Any], Sequence[Any]]:
        """What readers see of the table and of its history."""
        state = published(self.lake, contract)
        assert state is not None
        return tuple(sorted(self.read(a), key=repr) for a in (state.metadata_location, state.changes_location))  # type: ignore[return-value]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes half a minute: none is made smaller
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(history=histories())
@pytest.mark.timeout(3600)
def test_both_engines_give_the_same_rows(
    history: list[Batch], make_lake: Callable[[], Lake], athena: AthenaService
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        on_s3 = make_lake()
        mixed = Side(on_s3, lambda location: by_duckdb(on_s3, location))
        embedded = Side(local_lake(Path(folder)), by_local_duckdb)
        for batch in history:
            contract = CONTRACTS[batch.generation]
            expected = embedded.take(batch, contract)
            result = mixed.take(batch, replace(contract, engine=batch.engine))
            event(f"engine {result.engine}, night {batch.night}")
            assert result.engine == batch.engine
            assert (result.counts, result.batch) == (expected.counts, expected.batch)
            assert result.audit_result is None or result.audit_result.passed
            assert mixed.rows(contract) == embedded.rows(contract)
        assert audit_table(on_s3, CONTRACTS[history[-1].generation]).passed
