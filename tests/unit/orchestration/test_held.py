"""Each object that is held, or fails again and again, is reported once by name, whatever other entities do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lakehouse.api import compact
from lakehouse.batch import commit
from lakehouse.batch.compaction import requeue
from lakehouse.intake.landing import Scope
from lakehouse.intake.quarantine import list_files
from lakehouse.publish.publication import publish
from lakehouse.results import Failing, Failure
from orchestration.held import held_alert, look, unreported
from tests.support.lakes import NOON, PARCELS, Clock, Landing, local_lake

OTHERS = dataclasses.replace(PARCELS, name="others")
CONTRACTS: Any = {"parcels": PARCELS, "others": OTHERS}


@pytest.mark.parametrize("error", [RuntimeError("poison"), commit.ChunkFailed.__new__(commit.ChunkFailed)])
def test_an_object_is_reported_once_until_it_is_ingested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Of class poison from its second failure, of class data at once."""
    clock = Clock(NOON)
    lake = local_lake(tmp_path, clock)
    bad = Landing(lake, PARCELS).land_bytes(b"x", NOON - timedelta(hours=1), "bad.parquet")
    really_commit, broken = commit.commit_chunk, True

    def commit_chunk(duck: Any, work: Any, objects: Sequence[Any], *, last: bool) -> None:
        if broken and any(o.key == bad for o in objects):
            raise error
        really_commit(duck, work, objects, last=last)

    monkeypatch.setattr(commit, "commit_chunk", commit_chunk)
    poison = isinstance(error, RuntimeError)
    memory, known, reported = None, {}, []
    for _ in range(4):
        compact(lake, PARCELS, Scope())
        publish(lake, PARCELS)
        clock.forward(minutes=1)
        unread: dict[str, Exception] = {}
        failing = look(lake, CONTRACTS, known, unread.__setitem__)
        memory, new = unreported(memory, failing)
        reported.append([(o.key, o.failure, o.held) for objects in new.values() for o in objects])
    once = [(bad, Failure.POISON, False)] if poison else [(bad, Failure.DATA, True)]
    assert reported == ([[], once, [], []] if poison else [once, [], [], []])
    (now,) = failing["parcels"]
    assert (now.held, now.failure) == (True, Failure.POISON if poison else Failure.DATA)
    message = held_alert("parcels", [now], NOON, "http://ui")
    assert bad in message.why
    requested = message.why.partition("with ")[2].partition(". ")[0]
    given = {"ops": {"compacted__parcels": {"config": {"work": {"requeue": {"objects": [bad]}}}}}}
    assert json.loads(requested) == given
    assert now.failure.value in message.why
    broken = False
    requeue(lake, PARCELS)
    publish(lake, PARCELS)
    memory, new = unreported(memory, look(lake, CONTRACTS, known, unread.__setitem__))
    assert (new, json.loads(memory), unread) == ({}, {}, {})
    assert [(file.origin, file.whole) for file in list_files(lake, PARCELS)] == [(bad, True)], (
        "what it is in truth: no Parquet file"
    )


def test_of_what_cannot_be_read_nothing_is_forgotten_and_others_are_reported() -> None:
    one, other = (Failing(e, f"landing/{e}/x", "1", Failure.DATA, "r", held=True) for e in ("parcels", "others"))
    memory, new = unreported(None, {"parcels": [one], "others": []})
    assert new == {"parcels": [one]}
    memory, new = unreported(memory, {"others": [other]})
    assert new == {"others": [other]}
    memory, new = unreported(memory, {"parcels": [one], "others": [other]})
    assert new == {}
    memory, _ = unreported(memory, {"parcels": [], "others": []})
    assert json.loads(memory) == {}


def test_an_alert_names_some_and_counts_the_rest() -> None:
    many = [Failing("parcels", f"landing/{n}", "1", Failure.DATA, "r" * 999, held=True) for n in range(1000)]
    alert = held_alert("parcels", many, NOON, "http://ui").bounded()
    assert alert.what == "1000 landed object(s) of parcels held or failing"
    assert "and 990 more" in alert.why
    assert "landing/0 (data; held)" in alert.why
