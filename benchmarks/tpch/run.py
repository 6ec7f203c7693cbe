"""What one engine does, in a process of its own: base, five refresh pairs, queries before, between and after."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.tpch.data import ROUNDS, Data, query, rows
from benchmarks.tpch.engines import ENGINES, Engine


class _Clock:
    """Seconds by the clock and of the processor since it was made."""

    def __init__(self) -> None:
        self._started, self._used = time.perf_counter(), time.process_time()

    def took(self) -> dict[str, float]:
        """Both, for a result."""
        seconds, used = time.perf_counter() - self._started, time.process_time() - self._used
        return {"seconds": round(seconds, 3), "processor seconds": round(used, 3)}


def main(engine: str, root: str, refresh: str, folder: str, said: str) -> None:
    """Run the engine in its folder; say in the file `said` what it took and whether its rows and answers were right."""
    data, place = Data(Path(root), Path(refresh)), Path(folder)
    running: Engine = ENGINES[engine](place)
    expected = data.expected()
    running.load(data)
    pairs: list[dict[str, Any]] = []
    looks = [_look(running, expected[0])]
    for number in range(1, ROUNDS + 1):
        running.land(data, number)
        before, clock = _stored(place), _Clock()
        running.refresh(data, number)
        pairs.append({**clock.took(), "written MB": round((_stored(place) - before) / 1e6, 2)})
        looks.append(_look(running, expected[number]))
    clock = _Clock()
    maintenance = clock.took() if (maintained := running.maintain()) else None
    result = {
        "pairs": pairs,
        "looks": looks,
        "maintenance": maintenance,
        "look after maintenance": _look(running, expected[-1]) if maintained else None,
    }
    Path(said).write_text(json.dumps(result))


def _look(running: Engine, expected: dict[str, Any]) -> dict[str, Any]:
    """The seconds of each query, and whether rows and answers are those of the reference."""
    duck, all_queries = running.reader(), _Clock()
    took, wrong = [], []
    for number, right in enumerate(expected["answers"], start=1):
        started = time.perf_counter()
        found = query(duck, number)
        took.append(round(time.perf_counter() - started, 4))
        if found != right:
            wrong.append(number)
    passed = all_queries.took()
    return {**passed, "queries": took, "rows right": rows(duck) == expected["rows"], "wrong answers": wrong}


def _stored(folder: Path) -> int:
    """The bytes of all files that are neither scratch nor landed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not {"scratch", "landing"} & set(path.parts))
    return sum(path.stat().st_size for path in files)


if __name__ == "__main__":
    main(*sys.argv[1:])
