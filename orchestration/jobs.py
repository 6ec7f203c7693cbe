"""The jobs over assets: what schedules and sensors run, and a person starts from the UI. Work on one entity, such as a
replay, is run configuration of its assets (`assets.run_configuration`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets import keys
from assets.parity import PARITY, SAMPLE
from assets.unchanged import ONLY_NEWS
from contracts import Contracts

RESUME_TAGS = {"dagster/max_retries": "2", "dagster/retry_strategy": "FROM_FAILURE"}
"""A run whose worker was killed is started again from the step that was lost."""
HAS_NEWS = {ONLY_NEWS: "true"}

COMPACTION = "compaction"
MARTS = "marts"
REPORTS = "reports"
NIGHTLY = "nightly"
FULL_CHECK = "full_check"
REFRESH = "refresh"


def tables(contracts: Contracts) -> dg.AssetSelection:
    """Compaction and publication of every entity, without the comparisons of what is published, which are jobs of their
    own: Dagster runs all checks of assets beside them that nothing leaves out."""
    made = dg.AssetSelection.assets(*(key(entity) for entity in contracts for key in (keys.compacted, keys.catalog)))
    compared = [
        *(dg.AssetCheckKey(keys.catalog(contract.name), PARITY) for contract in contracts.values()),
        *(dg.AssetCheckKey(keys.catalog(contract.name), SAMPLE) for contract in contracts.of_origin("stream")),
    ]
    return made - dg.AssetSelection.checks(*compared)


def audits(contracts: Contracts) -> dg.AssetSelection:
    """The nightly maintenance of every entity."""
    return dg.AssetSelection.assets(*(keys.maintenance(entity) for entity in contracts))


@dataclass(frozen=True)
class AssetJobs:
    """The jobs over assets, by what they are for."""

    compaction: Any
    marts: Any
    reports: Any
    nightly: Any
    full_check: Any
    refresh: Any

    def all(self) -> list[Any]:
        """Every job."""
        return [self.compaction, self.marts, self.reports, self.nightly, self.full_check, self.refresh]


def asset_jobs(
    contracts: Contracts, marts: dg.AssetSelection, reports: dg.AssetSelection, at_night: dg.AssetSelection
) -> AssetJobs:
    """The jobs over assets. `marts` selects staging and marts, `reports` the report tables and pages, `at_night`
    what only the full check does with both: more tests, and care of their tables."""

    def job(name: str, selection: dg.AssetSelection, description: str, tags: Mapping[str, str] | None = None) -> Any:
        return dg.define_asset_job(name, selection, description=description, tags={**RESUME_TAGS, **(tags or {})})

    return AssetJobs(
        compaction=job(COMPACTION, tables(contracts), "Ingest what landed, audit it and publish it."),
        marts=job(MARTS, marts, "Bring the marts that have news to the published tables.", HAS_NEWS),
        reports=job(
            REPORTS,
            marts | reports,
            "Bring marts, report tables and report pages that have news to the published tables.",
            HAS_NEWS,
        ),
        nightly=job(
            NIGHTLY,
            tables(contracts) | audits(contracts),
            "Look at everything that is retained, then maintain every table and audit each of its rows.",
        ),
        full_check=job(
            FULL_CHECK,
            marts | reports | at_night,
            "Build every model and run every test, those that a build of some models has to leave out, too; then "
            "maintain the tables.",
        ),
        refresh=job(
            REFRESH, tables(contracts) | marts | reports, "The whole pipeline, from landed objects to the report."
        ),
    )
