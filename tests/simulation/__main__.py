"""Play histories: `python -m tests.simulation --seeds A..B [--steps 0,2] [--minutes M] [--trace]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation import streaming
from tests.simulation.history import SimulationFailed, play, shortest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0..100", help="one seed, or a range A..B without its end")
    parser.add_argument("--steps", help="only these steps of the history, by number, with commas between")
    parser.add_argument("--part", choices=["lake", "stream"], default="lake", help="all the way, or as far as landing")
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--trace", action="store_true", help="show what happened in each history")
    wanted = parser.parse_args()
    first, _, last = wanted.seeds.partition("..")
    only = None if wanted.steps is None else [int(n) for n in wanted.steps.split(",") if n]
    begun, fired, jobs = time.perf_counter(), Counter[str](), Counter[str]()
    done = states = 0
    failed: list[int] = []
    for seed in range(int(first), int(last) if last else int(first) + 1):
        if wanted.minutes and time.perf_counter() - begun > wanted.minutes * 60:
            break
        try:
            result = streaming.play(seed) if wanted.part == "stream" else play(seed, only)
        except SimulationFailed as failure:
            failed.append(seed)
            print((wanted.part == "lake" and only is None and shortest(seed)) or failure, file=sys.stderr, flush=True)
            continue
        finally:
            done += 1
        fired += result.fired
        jobs += result.jobs
        states += result.states
        if wanted.trace:
            print(*result.trace, sep="\n")
    seconds = time.perf_counter() - begun
    print(f"{done} histories in {seconds:.0f} s ({done / seconds:.1f}/s), {states} published states compared")
    print(f"jobs: {dict(jobs.most_common())}")
    print(f"{len(fired)} kinds of fault struck {sum(fired.values())} times:")
    for kind, times in fired.most_common():
        print(f"  {times:7d}  {kind}")
    print(f"{len(failed)} failed: {failed[:20]}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
