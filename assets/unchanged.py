"""What a build leaves out because it has no news, and what Dagster reads of it: each such model is reported as it was
made before, with the reason, and each such check with the outcome that it had. So what reads models goes on, what is
red stays red, and nothing looks older than it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets import data_times
from lakehouse.results import Published
from warehouse.made import Kept, lineages, project_digest, versions_of_lake, versions_of_slice
from warehouse.manifest import Manifest, is_proven
from warehouse.news import Outcome, Present, can_run, due, news
from warehouse.passed import Commits, passed
from warehouse.project import DbtFiles

ONLY_NEWS = "gavel/only_news"
"""The tag of runs that build what has news and leave out the rest; its value says nothing."""
LEFT_AS_IT_WAS = "left as it was"
"""The metadata in which a model or a check says why it was not built or run."""

_OF_ONE_BUILD = ("Execution Duration", "invocation_id", "execution duration")


@dataclass(frozen=True)
class Unchanged:
    """Models that are left as they were, as their last builds reported them, and what tests said that are left. Those
    of them that are `proven` may have news in what they read."""

    models: Mapping[dg.AssetKey, Mapping[str, Any]] = field(default_factory=dict)
    tests: Mapping[dg.AssetCheckKey, Outcome] = field(default_factory=dict)
    proven: Collection[dg.AssetCheckKey] = ()


@dataclass(frozen=True)
class Work:
    """What dbt is to build and to test, and what is left. Without `tests` it is all that Dagster selected. Tests need
    not look at rows of the commits up to which they have `passed`."""

    models: Mapping[str, dg.AssetKey]
    tests: Collection[str] | None = None
    passed: Mapping[str, Commits] = field(default_factory=dict)
    unchanged: Unchanged = field(default_factory=Unchanged)

    @property
    def is_nothing(self) -> bool:
        """Whether dbt need not run."""
        return not self.models and self.tests is not None and not self.tests


def begun(
    files: DbtFiles, manifest: Manifest, record: Kept, states: Iterable[Published], unpublished: Collection[str]
) -> Present:
    """What a build begins with. It is read before dbt pins the tables: what is published in between is news again."""
    folder, states = files.slice, [*states]
    versions = versions_of_slice(manifest, folder) if folder else versions_of_lake(manifest, states, [*unpublished])
    known = record.read().about(record.places())
    return Present(
        project_digest(files, datetime.now(UTC)), versions, known, {} if folder else lineages(manifest, states)
    )


def wanted(
    manifest: Manifest,
    checks: Mapping[str, dg.AssetCheckKey],
    models: Mapping[str, dg.AssetKey],
    context: dg.AssetExecutionContext,
    now: Present,
) -> Work:
    """What the run is to do: all that was selected or, in a run with the tag `ONLY_NEWS`, the part that has news. What
    Dagster does not remember is built, too."""
    if ONLY_NEWS not in context.run.tags:
        return Work(models)
    last = {
        record.asset_entry.asset_key: event.asset_materialization.metadata
        for record in context.instance.get_asset_records([*models.values()])
        if (event := record.asset_entry.last_materialization) and event.asset_materialization
    }
    forgotten = {i for i, key in models.items() if key not in last}
    found = news(manifest, models, now.without(forgotten))
    selected = {i: key for i, key in checks.items() if key in context.selected_asset_check_keys}
    tests = {i: key for i, key in selected.items() if can_run(manifest, i, found, now)}
    tested = due(manifest, tests, found, now)
    for i, reason in found.items():
        context.log.info(f"{manifest['nodes'][i]['name']} is built: {reason}")
    unchanged = Unchanged(
        {key: last[key] for i, key in models.items() if i not in found},
        {key: now.record.tests[i] for i, key in tests.items() if i not in tested},
        [key for i, key in tests.items() if is_proven(manifest["nodes"][i])],
    )
    context.log.info(f"Without news: {len(unchanged.models)} models and {len(unchanged.tests)} tests")
    if waiting := selected.keys() - tests.keys():
        context.log.info(f"{len(waiting)} tests wait for models that are not there: {', '.join(sorted(waiting))}")
    return Work({i: key for i, key in models.items() if i in found}, tested, passed(manifest, tested, now), unchanged)


def model_as_before(key: dg.AssetKey, before: Mapping[str, Any], now: data_times.Reads) -> dg.MaterializeResult[Any]:
    """What Dagster reads of a model that is left as it was: what was reported of it `before`, true for now."""
    metadata = {name: value for name, value in before.items() if name not in _OF_ONE_BUILD}
    metadata.pop(data_times.DATA_TIME, None)
    if (read := data_times.reads_in(before)) is not None:
        metadata[data_times.TABLES_READ] = data_times.as_metadata(data_times.renewed(read, now))
    if moment := data_times.data_time(read, now):
        metadata[data_times.DATA_TIME] = dg.MetadataValue.timestamp(moment)
    metadata[LEFT_AS_IT_WAS] = "no news in what it reads since it was built, and the same project"
    return dg.MaterializeResult(asset_key=key, metadata=metadata)


def checks_as_before(unchanged: Unchanged) -> Iterator[dg.AssetCheckResult]:
    """What Dagster reads of the tests that are left: what they said."""
    for check, tested in unchanged.tests.items():
        passed = tested.status == "pass"
        reason = "no news in what it reads"
        if check in unchanged.proven:
            reason = "each publication was audited for what it says"
        yield dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR if passed else dg.AssetCheckSeverity.WARN,
            description=tested.message or None,
            metadata={
                "rows found wrong": tested.failures,
                LEFT_AS_IT_WAS: f"{reason} since it ran in {tested.build}",
            },
        )
