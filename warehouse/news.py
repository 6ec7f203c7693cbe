"""What of the project has news: which models would get other rows from a build, and which tests another outcome.

A model has none while its record says that it was made by the same project of the same rows, and while its relation is
the one that the record is about. A build that leaves such models out gives what a build of everything gives. Here is
what follows from records; where they are kept, and what a relation is known by, is in `made`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from warehouse.manifest import WATERMARKS_MODEL, Manifest, is_model, is_proven, is_table, reads_of

PASSED = ("pass", "warn")
"""The outcomes of a test that the next build need not look at again, as long as nothing changes."""

Versions = Mapping[str, str | None]
"""The version of the rows of each source, and of all watermarks under the id of the model that shows them: another text
whenever they are others. None or absent where it is not known."""


@dataclass(frozen=True)
class Made:
    """What a model was made by and of: the digest of the `project`, and the versions that it read, by id. `version` is
    that of its own rows, another after each build; `place` is what its relation was known by then."""

    project: str
    reads: Mapping[str, str]
    version: str
    place: str


@dataclass(frozen=True)
class Outcome:
    """By which project and `build` a test passed or warned, the versions that it read, by id, and what dbt said."""

    project: str
    reads: Mapping[str, str]
    build: str
    status: str
    failures: int
    message: str


@dataclass(frozen=True)
class Record:
    """What is known of the models that readers have, and of the tests that passed on them, by id."""

    models: Mapping[str, Made] = field(default_factory=dict)
    tests: Mapping[str, Outcome] = field(default_factory=dict)

    def about(self, places: Mapping[str, str]) -> Record:
        """The part that is about the relations as they are known now: what somebody else changed, put back or dropped
        is not known."""
        return replace(self, models={i: made for i, made in self.models.items() if places.get(i) == made.place})


@dataclass(frozen=True)
class Present:
    """What a build begins with: the digest of the project, the versions of what it reads, and what is known of the
    relations that readers have. `lineages` are the snapshots that a source was made of, by its id."""

    project: str
    versions: Versions
    record: Record
    lineages: Mapping[str, Collection[int]] = field(default_factory=dict)

    def without(self, models: Collection[str]) -> Present:
        """The same, knowing nothing of these models (ids)."""
        left = {i: made for i, made in self.record.models.items() if i not in models}
        return replace(self, record=replace(self.record, models=left))

    def version(self, unique_id: str) -> str | None:
        """That of a source's or a table's rows; None where it is not known."""
        if unique_id in self.versions:
            return self.versions[unique_id]
        made = self.record.models.get(unique_id)
        return made.version if made else None


def inputs(manifest: Manifest, unique_id: str) -> list[str]:
    """The ids of all whose rows a node reads, in order: sources, tables and the watermarks, through what is a view."""
    found: dict[str, None] = {}
    for parent in reads_of(manifest, unique_id):
        node = manifest["nodes"].get(parent)
        through = node is not None and not is_table(node) and node["name"] != WATERMARKS_MODEL
        found |= dict.fromkeys(inputs(manifest, parent) if through else [parent])
    return list(found)


def news(manifest: Manifest, models: Collection[str], now: Present) -> dict[str, str]:
    """Which of the `models` have news, by id, each with the first reason that was found: they, and of the others none,
    would get other rows from a build of all these models."""
    found: dict[str, str] = {}
    for unique_id in in_order(manifest, models):
        if reason := _reason(manifest, unique_id, found, now):
            found[unique_id] = reason
    return found


def _reason(manifest: Manifest, unique_id: str, found: Collection[str], now: Present) -> str:
    made = now.record.models.get(unique_id)
    if made is None:
        return "nothing is known of it: it was not built yet, or was changed since by something else"
    if made.project != now.project:
        return "the project is another one"
    for read in _read(manifest, unique_id):
        name = read.split(".")[-1]
        if read in found:
            return f"{name} is built again"
        version = now.version(read)
        if version is None and is_table(manifest["nodes"][unique_id]):
            return f"it is not known whether {name} is the same"
        if version is not None and version != made.reads.get(read):
            return f"{name} has news"
    return ""


def _read(manifest: Manifest, unique_id: str) -> list[str]:
    """What a model reads; the view of all watermarks shows them."""
    shows = manifest["nodes"][unique_id]["name"] == WATERMARKS_MODEL
    return [unique_id] if shows else inputs(manifest, unique_id)


def due(manifest: Manifest, tests: Iterable[str], built: Collection[str], now: Present) -> list[str]:
    """Which of the tests, by id, could have another outcome than they had once these models are `built`: those that
    read one of them or other rows than then, and those that did not pass. One that is proven of all news is due until
    it has passed by this project."""
    return [i for i in tests if _is_due(manifest, i, built, now)]


def can_run(manifest: Manifest, test: str, built: Collection[str], now: Present) -> bool:
    """Whether all models that a test (id) reads are there once these are `built`: the calendar, which reads no table,
    may be built later than the facts that have its days. A test that cannot run yet is due when it can."""
    read = (i for i in (*reads_of(manifest, test), *inputs(manifest, test)) if is_model(manifest, i))
    return all(i in built or i in now.record.models for i in read)


def _is_due(manifest: Manifest, test: str, built: Collection[str], now: Present) -> bool:
    passed = now.record.tests.get(test)
    if passed is None or passed.project != now.project:
        return True
    if is_proven(manifest["nodes"][test]):
        return False
    about = {*reads_of(manifest, test), manifest["nodes"][test].get("attached_node"), *inputs(manifest, test)}
    if not about.isdisjoint(built):
        return True
    return {read: now.version(read) for read in inputs(manifest, test)} != passed.reads


def after(
    manifest: Manifest,
    now: Present,
    given: Collection[str],
    results: Mapping[str, Mapping[str, Any]],
    build: str,
    places: Mapping[str, str],
) -> Record:
    """The record after a build with these results, of which readers have the models `given`. `build` is its own name
    and becomes the version of their rows; `places` are what relations are known by now.

    A test that did not pass has no record, so that it is due until it does; nor has one that ran on rows which readers
    did not get, nor a model that was built, or tried, and is not among those that are given.
    """
    kept = {i: made for i, made in now.record.models.items() if i not in given and i not in results}
    version = {**{i: made.version for i, made in kept.items()}, **dict.fromkeys(given, build), **now.versions}
    new = {
        i: Made(now.project, _known(_read(manifest, i), version), build, places[i])
        for i in given
        if i in places and is_model(manifest, i)
    }
    withheld = {i for i in results if is_model(manifest, i)} - {*given}
    tests = dict(now.record.tests)
    for test in (i for i in results if i.startswith("test.")):
        tests.pop(test, None)
        read = inputs(manifest, test)
        if results[test]["status"] in PASSED and withheld.isdisjoint({*read, *reads_of(manifest, test)}):
            tests[test] = _outcome(now.project, _known(read, version), build, results[test])
    return Record({**kept, **new}, tests)


def _outcome(project: str, reads: Mapping[str, str], build: str, result: Mapping[str, Any]) -> Outcome:
    failures, message = int(result.get("failures") or 0), str(result.get("message") or "")
    return Outcome(project, reads, build, str(result["status"]), failures, message)


def _known(reads: Iterable[str], versions: Versions) -> dict[str, str]:
    return {read: version for read in reads if (version := versions.get(read)) is not None}


def in_order_of(manifest: Manifest, models: Collection[str], there: Collection[str]) -> Iterator[str]:
    """Those of the models that are `there`, each after those that it reads, and none that reads a model that is not."""
    missing: set[str] = set()
    for i in in_order(manifest, models):
        if i in there and missing.isdisjoint(reads_of(manifest, i)):
            yield i
        else:
            missing.add(i)


def in_order(manifest: Manifest, models: Collection[str]) -> Iterator[str]:
    """The models, each after those of them that it reads, also by way of others."""
    left, done = sorted(models), set[str]()

    def visit(unique_id: str) -> Iterator[str]:
        if unique_id in done:
            return
        done.add(unique_id)
        for parent in reads_of(manifest, unique_id):
            yield from visit(parent)
        if unique_id in models:
            yield unique_id

    for unique_id in left:
        yield from visit(unique_id)
