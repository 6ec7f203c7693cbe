"""The job `backfill`: one op that requests, awaits, reads and lands exports of the operational table, ingests and
publishes them. What it did is metadata of the op's output and materializations of the tables.

It is no asset: which rows it brings, and of which entities, is said for each run.
"""

from typing import Any

import dagster as dg

from assets import keys
from assets.catalog import publication_metadata
from assets.resources import ExportsResource, LakeResource
from assets.run_configuration import BackfillConfig
from contracts import Contracts
from lakehouse import api
from lakehouse.recovery.wanted import Source

ROOT_RUN = "dagster/root_run_id"


def backfill_job(contracts: Contracts, tags: dict[str, str]) -> dg.JobDefinition:
    """The job, for these contracts."""

    @dg.op(
        name="exports",
        description="Bring an export of DynamoDB into the lake: a full or incremental one that is requested here, or "
        "one that is there. Nothing is lost or doubled if it is killed, run twice, or run beside the stream.",
        out=dg.Out(list, description="What was done, export by export."),
    )
    def bring_in(
        context: dg.OpExecutionContext, config: BackfillConfig, lake: LakeResource, exports: ExportsResource
    ) -> dg.Output[list[dict[str, Any]]]:
        source = Source(exports.table, exports.client)
        wanted = config.wanted(context.run.tags.get(ROOT_RUN) or context.run_id)
        if config.dry_run:
            lines = api.dry_run_backfill(lake.lake, contracts, source, wanted)
            for line in lines:
                context.log.info(f"dry run: {line}")
            return dg.Output([{"would": line} for line in lines], metadata={"dry run": dg.MetadataValue.json(lines)})
        done = api.run_backfill(lake.lake, contracts, source, wanted, progress=context.log.info, run_id=context.run_id)
        for name in sorted({entity.entity for result in done for entity in result.entities}):
            _materialize(context, contracts, lake, name)
        documents = [result.document() for result in done]
        problems = [problem for result in done for problem in result.problems]
        for problem in problems:
            context.log.warning(problem)
        return dg.Output(
            documents,
            metadata={
                "exports": dg.MetadataValue.json(documents),
                "items": sum(result.items for result in done),
                "problems": dg.MetadataValue.json(problems),
            },
        )

    @dg.job(
        name="backfill",
        description="Bring an export of the operational table into the lake: seeds a table that was never connected, "
        "and repairs one that lost changes. See docs/operations.md.",
        tags=tags,
    )
    def job() -> None:
        bring_in()

    return job


def _materialize(context: dg.OpExecutionContext, contracts: Contracts, lake: LakeResource, entity: str) -> None:
    """Let what follows the published table know of its new rows."""
    state = api.published(lake.lake, contracts[entity])
    if state is None:
        return
    context.log_event(
        dg.AssetMaterialization(
            keys.catalog(entity),
            metadata=publication_metadata(state, contracts[entity], lake.lake),
        )
    )
