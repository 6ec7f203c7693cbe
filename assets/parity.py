"""Parity as checks of the published tables: compared with an export at night and on demand, and by samples each hour.

One op compares all entities, because an export holds all of them. What differs is repaired in the same op if that is
requested; a race with another writer of a table is lost or won by Glue's version check, and begins again.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial

import dagster as dg

from assets import keys
from assets.presentation import markdown_table
from assets.resources import ExportsResource, LakeResource
from assets.run_configuration import ParityConfig, SampleConfig
from contracts import Contracts
from lakehouse import api
from lakehouse.parity.findings import Difference, Parity, Repaired, Sampled
from lakehouse.parity.wanted import Sampling
from lakehouse.recovery.wanted import Source

PARITY = "parity"
SAMPLE = "parity_sample"
COMPARE, COMPARE_SAMPLES = "compare_with_export", "compare_samples"
"""The ops, which have other names than the jobs."""
KEYS_COMPARED = "keys compared"
"""Metadata of a sample's check; none means that there was nothing to judge."""
SHOWN = 50
"""Differences in the metadata of a check; the parity log has all numbers."""


def parity_checks(contracts: Contracts) -> list[dg.AssetChecksDefinition]:
    """The comparison of all entities, and the samples of those that live in the operational table."""
    return [_compared(contracts), _sampled(contracts)]


def _compared(contracts: Contracts) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=COMPARE,
        specs=[
            dg.AssetCheckSpec(
                PARITY,
                asset=keys.catalog(entity),
                description="The lake says of each key what the operational table said at the moment of an export, and "
                "the table says what its history says.",
            )
            for entity in contracts
        ],
        can_subset=True,
    )
    def parity(
        context: dg.AssetCheckExecutionContext, config: ParityConfig, lake: LakeResource, exports: ExportsResource
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = [entity for entity in contracts if _selected(context, entity, PARITY)]
        if _beside_assets(context):
            return
        address = config.export
        if config.request_export and not config.dry_run:
            run = context.run.tags.get("dagster/root_run_id") or context.run.run_id
            requested = api.request_export(
                lake.lake, Source(exports.table, exports.client), run, progress=context.log.info
            )
            address = address or requested
        request = config.request(wanted, context.run.run_id, address)
        if config.wait_hours and request.export is not None:
            limit = timedelta(hours=config.wait_hours)
            api.await_arrival(lake.lake, contracts, request, limit, progress=context.log.info)
        for done in api.check_parity(lake.lake, contracts, request, progress=context.log.info):
            yield parity_result(done)

    return parity


def _sampled(contracts: Contracts) -> dg.AssetChecksDefinition:
    streamed = [contract.name for contract in contracts.of_origin("stream")]

    @dg.multi_asset_check(
        name=COMPARE_SAMPLES,
        specs=[
            dg.AssetCheckSpec(
                SAMPLE,
                asset=keys.catalog(entity),
                description="Keys that were read of the operational table are in the lake as they were then.",
            )
            for entity in streamed
        ],
        can_subset=True,
    )
    def parity_sample(
        context: dg.AssetCheckExecutionContext, config: SampleConfig, lake: LakeResource, exports: ExportsResource
    ) -> Iterator[dg.AssetCheckResult]:
        if _beside_assets(context):
            return
        sampling = Sampling(
            exports.table, exports.table_client(), config.sample_size, config.lateness, run_id=context.run.run_id
        )
        found: dict[str, list[Sampled]] = {}
        for sampled in api.judge_samples(lake.lake, contracts, sampling, progress=context.log.info):
            found.setdefault(sampled.entity, []).append(sampled)
        api.take_sample(lake.lake, contracts, sampling, progress=context.log.info)
        for entity in filter(partial(_selected, context, name=SAMPLE), streamed):
            yield sample_result(entity, found.get(entity, []))

    return parity_sample


def _beside_assets(context: dg.AssetCheckExecutionContext) -> bool:
    """Whether the run materializes assets: Dagster then adds all checks of theirs, also those that nobody requested.
    An export costs money, and these checks say nothing of a single batch."""
    return bool(context.run.asset_selection)


def _selected(context: dg.AssetCheckExecutionContext, entity: str, name: str) -> bool:
    return dg.AssetCheckKey(keys.catalog(entity), name) in context.selected_asset_check_keys


def parity_result(done: Repaired) -> dg.AssetCheckResult:
    """A comparison as the result of a check: one that cannot be made yet fails nothing."""
    last: Parity = done.after or done.before
    texts = [str(done), str(last)] if done.after or done.dry_run else [str(last)]
    return dg.AssetCheckResult(
        asset_key=keys.catalog(last.entity),
        check_name=PARITY,
        passed=last.outcome in ("equal", "not yet"),
        severity=dg.AssetCheckSeverity.WARN if last.outcome == "unproven" else dg.AssetCheckSeverity.ERROR,
        description=" ".join(f"{text.rstrip('.')}." for text in (*texts, *last.notes)),
        metadata={
            "outcome": last.outcome,
            "export": last.export or "none",
            "items": last.items,
            "keys": last.keys,
            "rows": last.rows,
            "set aside": last.aside,
            "differences before": done.before.total,
            "differences": last.total,
            "corrections": done.corrections,
            "rows written again": done.mended,
            "found": dg.MetadataValue.md(differences_table(done.before.differences)),
            "details": done.before.details or "none",
            "seconds by step": dg.MetadataValue.json(dict(last.seconds)),
        },
    )


def sample_result(entity: str, samples: Sequence[Sampled]) -> dg.AssetCheckResult:
    """The samples of an entity that could be judged, as the result of a check."""
    differences = [difference for sampled in samples for difference in sampled.differences]
    texts = [str(sampled) for sampled in samples] or [f"{entity}: no sample can be judged yet."]
    return dg.AssetCheckResult(
        asset_key=keys.catalog(entity),
        check_name=SAMPLE,
        passed=not differences,
        severity=dg.AssetCheckSeverity.ERROR,
        description=" ".join(texts),
        metadata={
            KEYS_COMPARED: sum(s.compared for s in samples),
            "set aside": sum(s.aside for s in samples),
            "read capacity units": dg.MetadataValue.float(float(sum(s.capacity_units for s in samples))),
            "found": dg.MetadataValue.md(differences_table(differences)),
        },
    )


def differences_table(differences: Sequence[Difference]) -> str:
    """The first differences as a Markdown table."""
    rows = [
        {"table": d.table, "key": d.key, "class": d.kind, "cause": d.cause, "evidence": d.evidence}
        for d in differences[:SHOWN]
    ]
    return markdown_table(["table", "key", "class", "cause", "evidence"], rows)
