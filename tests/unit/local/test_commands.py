"""What a command says at its end."""

from __future__ import annotations

import io

from rich.console import Console

from local.commands import Refreshed, summarize
from local.dagster.pipeline_result import PipelineResult
from local.screen import Screen


def test_a_report_that_lacks_changes_says_so() -> None:
    result = PipelineResult((), 0, None, None, {}, (), 0.0)
    said = {}
    for left in ({}, {"gavel-local-bids: no answer": 1_200}):
        screen = Screen(Console(file=io.StringIO(), width=200))
        summarize(Refreshed(5, left, result), screen)
        said[len(left)] = screen.console.file.getvalue()  # type: ignore[attr-defined]
    assert "missing" not in said[0]
    assert "missing 1,200 changes" in said[1]
    assert "gavel-local-bids: no answer" in said[1]
