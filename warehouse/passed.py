"""Up to which commits tests have passed: the hourly builds let them look at later rows alone.

A test that has passed was passed on everything: by a build of everything, and by each later build on what was new to
it. It says so as long as nobody but those builds wrote what it reads. Whatever else is known of a test, it looks at
all there is. How its statement makes use of the commits is in `dbt_project/macros/passed.sql`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from warehouse.manifest import Manifest, source_entity
from warehouse.news import Outcome, Present, inputs

SETTING = "GAVEL_PASSED"
"""What dbt finds it under in its environment."""

LONGEST = 120_000
"""Characters of the setting, all of them ASCII: Linux allows a variable 128 KiB, its name included."""

Commits = Mapping[str, tuple[int, int]]
"""Of an entity, the commit up to which a test has passed, and the one up to which it is published now."""

_REACHED = re.compile(r"batch (\d+), (\d+) changes\b(?:.*\bsnapshot (\d+))?")


def reached(batch: int, changes: int) -> str:
    """The part of a table's version that says how far it got: its last commit, and how many changes it is made of."""
    return f"batch {batch}, {changes} changes"


def as_setting(commits: Mapping[str, Commits]) -> dict[str, str]:
    """What dbt finds in its environment, given the commits by the ids of tests. The tests that do not fit in, those of
    most tables, look at everything: a system starts no program with a longer variable."""
    left, kept = LONGEST, dict[str, Commits]()
    for test, of in sorted(commits.items(), key=lambda item: len(item[1])):
        left -= len(json.dumps({test: of}))
        if left < 0:
            break
        kept[test] = of
    return {SETTING: json.dumps(kept)}


def passed(manifest: Manifest, tests: Iterable[str], now: Present) -> dict[str, Commits]:
    """The commits of those tests, by id, that need not look at everything again.

    A warning is not enough: what it is about is not new, and would be shown no more.
    """
    found: dict[str, Commits] = {}
    for test in tests:
        outcome = now.record.tests.get(test)
        if outcome is None or outcome.status != "pass" or outcome.project != now.project:
            continue
        if commits := _commits(manifest, inputs(manifest, test), outcome, now):
            found[test] = commits
    return found


def _commits(manifest: Manifest, reads: Iterable[str], outcome: Outcome, now: Present) -> dict[str, tuple[int, int]]:
    """None where what the test reads is not what it passed on, or went back since, by a roll back or an erasure, also
    where it is further by now."""
    found: dict[str, tuple[int, int]] = {}
    for read in reads:
        for source, version in _made_of(manifest, read, outcome, now):
            if version is not None and version == now.version(source) and not _REACHED.match(version):
                continue  # a table without a commit, then and now
            before, present = _REACHED.match(version or ""), _REACHED.match(now.version(source) or "")
            if not before or not present or not _goes_on(before, present, now.lineages.get(source, ())):
                return {}
            entity = source_entity(manifest["sources"][source]["name"])
            upto, until = found.get(entity, (int(before[1]), int(present[1])))
            found[entity] = (min(upto, int(before[1])), max(until, int(present[1])))
    return found


def _goes_on(before: re.Match[str], present: re.Match[str], lineage: Collection[int]) -> bool:
    """Whether a table has all that it had, and nothing but commits came since. Files of a slice have no snapshots."""
    if int(present[1]) < int(before[1]) or int(present[2]) < int(before[2]):
        return False
    return before[3] == present[3] or (before[3] is not None and int(before[3]) in lineage)


def _made_of(manifest: Manifest, read: str, outcome: Outcome, now: Present) -> Iterator[tuple[str, str | None]]:
    """The sources of which what a test reads was made when it passed, each with its version then; one of no version
    where that is not known."""
    if read in manifest["sources"]:
        yield read, outcome.reads.get(read)
        return
    made = now.record.models.get(read)
    known = made is not None and made.version == outcome.reads.get(read)
    for source in (i for i in inputs(manifest, read) if i in manifest["sources"]):
        yield source, made.reads.get(source) if made and known else None
