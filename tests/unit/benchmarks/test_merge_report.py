"""The report of the merge says of each cell what failed and which rows were wrong, and shows only what was run."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.merge import results as kept
from benchmarks.merge.cases import CELLS, Measurement
from benchmarks.merge.goals import GOALS
from benchmarks.merge.measure import Lap, Measured
from benchmarks.merge.report import _everything, _part
from benchmarks.merge.results import Results, Run


def measured(seconds: float, wrong: int = 0, failed: str = "") -> Measured:
    laps = [] if failed else [Lap(seconds, seconds, 1_000_000, 1, {"read": 0.5}, {})]
    return Measured(laps, peak_bytes=2 * 10**9, rows=10, wrong_rows=wrong, others_right=True, load=3.4, failed=failed)


def lines_of(*runs: tuple[str, int, Measured]) -> list[str]:
    case = CELLS["random-1m"]
    made = [Run(Measurement(case, engine, repeat), found) for engine, repeat, found in runs]
    return list(_everything(results_of("x", *made), ()))


def results_of(processor: str, *runs: Run) -> Results:
    machine = {"cores": 2, "processor": processor, "memory_bytes": 1, "system": "y", "python": "3"}
    return Results(machine, {}, list(runs))


def test_a_cell_says_medians_failures_and_wrong_rows():
    lines = lines_of(
        ("ours", 1, measured(1.0)),
        ("ours", 2, measured(9.0)),
        ("ours", 3, measured(2.0)),
        ("ducklake", 1, measured(3.0, wrong=7)),
        ("delta-rs", 1, measured(0.0, failed="stopped after 300 s")),
    )
    assert "| | ours | delta-rs | ducklake |" in [line.replace("|  |", "| |") for line in lines]
    assert "| random-1m | 2.00 / 2.00 | failed / 2.00 | 3.00 / 2.00, **7 wrong** |" in lines


def test_the_load_of_the_machine_stands_beside_the_figures():
    assert any("load before a run was at most 3.4" in line for line in lines_of(("ours", 1, measured(1.0))))


def test_the_worst_cell_decides_over_a_goal():
    made = {
        ("random-1m", "ours"): 3.0, ("random-1m", "ours, whole batch"): 5.0, ("random-1m", "delta-rs"): 4.0,
        ("random-1m", "polars"): 2.0, ("wide-10k", "ours"): 1.0, ("wide-10k", "delta-rs"): 2.0,
        ("wide-10k", "ours, whole batch"): 3.0, ("wide-first", "ours, whole batch"): 1.0,
        ("wide-first", "delta-rs"): 2.0,
    }  # fmt: skip
    runs = [Run(Measurement(CELLS[cell], engine, 1), measured(seconds)) for (cell, engine), seconds in made.items()]
    runs.append(Run(Measurement(CELLS["random-1m"], "deltalite", 1), measured(0.5, wrong=7)))
    results = Results({}, {}, runs)
    found = {g.what: (v := g.found(results, g.of), v is not None and g.met(v)) for g in GOALS if g.found(results, g.of)}
    assert found == {
        "other shapes: time over that of the fastest": (1.5, False),
        "up to a tenth of the rows: time over delta-rs": (1.5, False),
        "more than a tenth: time over delta-rs": (1.25, True),
        "first loads: time over delta-rs": (0.5, True),
        "other shapes: peak memory": (2.0, False),
    }


def test_cells_without_a_run_are_not_shown():
    lines = lines_of(("ours", 1, measured(1.0)))
    assert not any("wide-10" in line for line in lines)


def test_results_of_another_machine_are_not_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept, "_versions", dict)  # of peers, which are not installed here
    file, here = tmp_path / "merge.json", kept.new()
    assert kept.going_on(file) == here
    kept.save(here, file)
    assert kept.going_on(file) == here
    kept.save(replace(here, machine={**here.machine, "processor": "another"}), file)
    with pytest.raises(ValueError, match=r"found some of \d+ cores of another; name another file"):
        kept.going_on(file)


@pytest.mark.parametrize("page", [_everything, lambda here, others: _part(here, [], others)])
def test_results_of_another_machine_have_a_table_of_their_own(page: Callable[[Results, list[Results]], Iterator[str]]):
    here, there = (
        results_of(name, Run(Measurement(CELLS["wide-10"], "ours", 1), measured(took)))
        for name, took in (("a", 1.0), ("b", 4.0))
    )
    before, title, after = "\n".join(page(here, [there])).partition("### The same on another machine (b)")
    assert title
    assert "| wide-10 | 1.00 / 2.00 |" in before
    assert "| wide-10 | 4.00 / 2.00 |" in after
