"""Questions to the archive that came by the API, answered by a job of one step."""

from typing import Any

import dagster as dg

from assets.resources import LakeResource
from contracts import Contracts

ARCHIVE = "archive"
ANSWER = "answer_questions"
"""The op, which has another name than its job."""


def archive_job(contracts: Contracts, tags: dict[str, str]) -> dg.JobDefinition:
    """Answers what waits, one question after the other."""

    @dg.op(name=ANSWER, out=dg.Out(dg.Nothing), pool=ARCHIVE, description="Questions that came by the API.")
    def answer_questions(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        from retrieval.answering import answer_waiting

        done: Any = answer_waiting(lake.lake, contracts, context.log.info)
        context.log.info(f"{done.answered} questions answered, {done.refused} refused")

    @dg.job(name=ARCHIVE, description="Answer the questions to the archive that came by the API.", tags=tags)
    def archive() -> None:
        answer_questions()

    return archive
