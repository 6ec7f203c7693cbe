"""The goals that the results are compared with. Nothing fails when one is missed: the report says so."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.merge.cases import CELLS, OURS, SLOPE_SIZES, Case, grid, rows, slope
from benchmarks.merge.results import Results
from benchmarks.merge.work import ENGINES

_M = 1_000_000
Measurement = Callable[[Results, str], float | None]


def seconds(value: float) -> str:
    """Seconds, as exact as they are good for."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _times(value: float) -> str:
    return f"{value:.2f} ×"


def _gigabytes(value: float) -> str:
    return f"{value:.2f} GB"


@dataclass(frozen=True)
class Goal:
    """What is wanted of a measurement: at most `most`, or at least `least`, or (neither) only to be known. `of` is the
    engine that it is wanted of."""

    what: str
    found: Measurement
    shown: Callable[[float], str]
    most: float | None = None
    least: float | None = None
    of: str = OURS[0]

    @property
    def wanted(self) -> str:
        """The goal in words."""
        if self.most is not None:
            return f"≤ {self.shown(self.most)}"
        return f"≥ {self.shown(self.least)}" if self.least is not None else "to be known"

    def met(self, value: float) -> bool | None:
        """Whether a value meets the goal; None for a measurement that is only to be known."""
        if self.most is not None:
            return value <= self.most
        return value >= self.least if self.least is not None else None


def _case(rows_: int, percent: int, spread: str) -> Case:
    return next(c for c in grid() if (c.rows, c.count, c.spread) == (rows_, rows_ * percent // 100, spread))


def _seconds(results: Results, case: Case, engine: str) -> float | None:
    median = results.median(case, engine)
    return None if median is None or median.failed else median.seconds


def _of_copy(case: Case) -> Measurement:
    def found(results: Results, engine: str) -> float | None:
        ours, copy = _seconds(results, case, engine), _seconds(results, case, "copy")
        return None if ours is None or copy is None else ours / copy

    return found


def _faster_than(peer: str, case: Case) -> Measurement:
    def found(results: Results, engine: str) -> float | None:
        ours, other = _seconds(results, case, engine), _seconds(results, case, peer)
        return None if ours is None or other is None else other / ours

    return found


def _peak(case: Case) -> Measurement:
    def found(results: Results, engine: str) -> float | None:
        median = results.median(case, engine)
        return None if median is None or median.failed else median.peak_bytes / 1e9

    return found


def _slope(spread: str) -> Measurement:
    """Time at the largest table over time at the smallest."""
    smallest, largest = (
        next(c for c in slope() if (c.rows, c.spread) == (size, spread)) for size in (SLOPE_SIZES[0], SLOPE_SIZES[-1])
    )

    def found(results: Results, engine: str) -> float | None:
        small, large = _seconds(results, smallest, engine), _seconds(results, largest, engine)
        return None if small is None or large is None else large / small

    return found


def laps_in_a_row(results: Results, case: Case, engine: str) -> list[float]:
    """The median seconds of each merge in a row; empty where that was not measured."""
    runs = [measured.merges for measured in results.of(case, engine) if not measured.failed]
    return [statistics.median(lap.seconds for lap in laps) for laps in zip(*runs, strict=True)]


def _last_of_first(spread: str) -> Measurement:
    case = next(c for c in rows() if c.spread == spread)

    def found(results: Results, engine: str) -> float | None:
        laps = laps_in_a_row(results, case, engine)
        return laps[-1] / laps[0] if laps else None

    return found


_MERGES = {name: case for name, case in CELLS.items() if case.spread != "first"}
_PEERS = [engine for engine in ENGINES if engine not in (*OURS, "copy")]


def _worst(cases: Sequence[Case], found: Callable[[Results, Case, str], float | None]) -> Measurement:
    """The highest value of those cells in which there is one."""

    def worst(results: Results, engine: str) -> float | None:
        return max((value for case in cases if (value := found(results, case, engine)) is not None), default=None)

    return worst


def _of_fastest(results: Results, case: Case, engine: str) -> float | None:
    """Over the fastest of the peers whose rows are right: who knows no order does less."""
    ours = _seconds(results, case, engine)
    right = (median for peer in _PEERS if (median := results.median(case, peer)) and not median.wrong_rows)
    peers = [median.seconds for median in right if not median.failed]
    return None if ours is None or not peers else ours / min(peers)


def _of_delta(results: Results, case: Case, engine: str) -> float | None:
    ours, delta = _seconds(results, case, engine), _seconds(results, case, "delta-rs")
    return None if ours is None or delta is None else ours / delta


def _peak_of(results: Results, case: Case, engine: str) -> float | None:
    return _peak(case)(results, engine)


def _of_shapes() -> Iterator[Goal]:
    """What is wanted of the worst cell of the other shapes."""
    few = [case for case in _MERGES.values() if case.count * 10 <= case.rows]
    many = [case for case in _MERGES.values() if case not in few]
    firsts = [case for case in CELLS.values() if case.spread == "first"]
    batch = OURS[1]
    yield Goal(
        "other shapes: time over that of the fastest", _worst([*_MERGES.values()], _of_fastest), _times, most=1.1
    )
    yield Goal("up to a tenth of the rows: time over delta-rs", _worst(few, _of_delta), _times, most=1.0, of=batch)
    yield Goal("more than a tenth: time over delta-rs", _worst(many, _of_delta), _times, most=1.5, of=batch)
    yield Goal("first loads: time over delta-rs", _worst(firsts, _of_delta), _times, most=1.0, of=batch)
    yield Goal("other shapes: peak memory", _worst([*CELLS.values()], _peak_of), _gigabytes, most=1.0, of=batch)


GOALS = (
    *(
        Goal(f"10M rows, 1% {spread}: time over that of copy", _of_copy(_case(10 * _M, 1, spread)), _times, most=0.25)
        for spread in ("recent", "uniform")
    ),
    *(
        Goal(
            f"10M rows, 1% {spread}: times faster than delta-rs",
            _faster_than("delta-rs", _case(10 * _M, 1, spread)),
            _times,
            least=6.0,
        )
        for spread in ("recent", "uniform")
    ),
    Goal("10M rows, 10% uniform: time over that of copy", _of_copy(_case(10 * _M, 10, "uniform")), _times, most=0.6),
    *(
        Goal(f"30M rows, 1% {spread}: peak memory", _peak(_case(30 * _M, 1, spread)), _gigabytes, most=1.0)
        for spread in ("recent", "uniform")
    ),
    Goal("same changes in one key range: time at 30M over time at 3M", _slope("range"), _times, most=1.5),
    Goal("same changes spread uniformly: time at 30M over time at 3M", _slope("uniform"), _times, most=1.3),
    *(
        Goal(f"ten merges in a row, {spread}: tenth over first", _last_of_first(spread), _times, most=1.5)
        for spread in ("uniform", "recent")
    ),
    *_of_shapes(),
)
