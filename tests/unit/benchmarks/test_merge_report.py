"""The report of the merge says of each cell what failed and which rows were wrong, and shows only what was run."""

from benchmarks.merge.cases import CELLS, Measurement
from benchmarks.merge.measure import Lap, Measured
from benchmarks.merge.report import _everything
from benchmarks.merge.results import Results, Run


def measured(seconds: float, wrong: int = 0, failed: str = "") -> Measured:
    laps = [] if failed else [Lap(seconds, seconds, 1_000_000, 1, {"read": 0.5}, {})]
    return Measured(laps, peak_bytes=2 * 10**9, rows=10, wrong_rows=wrong, others_right=True, load=3.4, failed=failed)


def lines_of(*runs: tuple[str, int, Measured]) -> list[str]:
    case = CELLS["random-1m"]
    made = [Run(Measurement(case, engine, repeat), found) for engine, repeat, found in runs]
    machine = {"cores": 2, "processor": "x", "memory_bytes": 1, "system": "y", "python": "3"}
    return list(_everything(Results(machine, {}, made)))


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


def test_cells_without_a_run_are_not_shown():
    lines = lines_of(("ours", 1, measured(1.0)))
    assert not any("wide-10" in line for line in lines)
