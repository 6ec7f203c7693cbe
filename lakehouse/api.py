"""The door to the lake for those who start quickly: every function under its name, imported when it is first used.

`from lakehouse import api` costs nothing; `api.compact` brings DuckDB and pyiceberg. Dagster's code location and the
command line go through here, and nothing in the lake does.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse.batch.compaction import compact as compact
    from lakehouse.batch.compaction import pending as pending
    from lakehouse.batch.compaction import rebuild as rebuild
    from lakehouse.batch.compaction import requeue as requeue
    from lakehouse.batch.planned import plan_rebuild as plan_rebuild
    from lakehouse.batch.planned import plan_replay as plan_replay
    from lakehouse.batch.planned import plan_requeue as plan_requeue
    from lakehouse.batch.planned import plan_roll_back as plan_roll_back
    from lakehouse.batch.races import win as win
    from lakehouse.erasure.operational import erase_operational as erase_operational
    from lakehouse.erasure.operational import erase_summaries as erase_summaries
    from lakehouse.erasure.requests import erasure_requests as erasure_requests
    from lakehouse.erasure.requests import load_request as load_request
    from lakehouse.erasure.requests import request_erasure as request_erasure
    from lakehouse.erasure.retention import keep_to_contract as keep_to_contract
    from lakehouse.erasure.run import clean_late as clean_late
    from lakehouse.erasure.run import erase_entity as erase_entity
    from lakehouse.erasure.run import erase_rest as erase_rest
    from lakehouse.erasure.run import needles_of as needles_of
    from lakehouse.erasure.run import note_marts as note_marts
    from lakehouse.erasure.run import prove_erasure as prove_erasure
    from lakehouse.erasure.run import remove_earlier as remove_earlier
    from lakehouse.erasure.run import search_person as search_person
    from lakehouse.intake.failing import again_and_again as again_and_again
    from lakehouse.intake.failing import held as held
    from lakehouse.intake.failing import ledger_head_at as ledger_head_at
    from lakehouse.intake.hourly import hourly as hourly
    from lakehouse.intake.quarantine import list_files as list_files
    from lakehouse.maintenance.run import maintain as maintain
    from lakehouse.parity.parity_log import recent_parity as recent_parity
    from lakehouse.parity.run import await_arrival as await_arrival
    from lakehouse.parity.run import check_parity as check_parity
    from lakehouse.parity.run import request_export as request_export
    from lakehouse.parity.sampling import judge_samples as judge_samples
    from lakehouse.parity.sampling import take_sample as take_sample
    from lakehouse.publish.audit import audit_table as audit_table
    from lakehouse.publish.lateness import follow as follow
    from lakehouse.publish.publication import publish as publish
    from lakehouse.publish.publication import rollback as rollback
    from lakehouse.publish.publication_log import billed as billed
    from lakehouse.publish.publication_log import join_days as join_days
    from lakehouse.publish.publication_log import record_build as record_build
    from lakehouse.publish.published import content_hash as content_hash
    from lakehouse.publish.published import published as published
    from lakehouse.publish.published import watermark as watermark
    from lakehouse.recovery.catalog import recover_catalog as recover_catalog
    from lakehouse.recovery.exporting import dry_run_backfill as dry_run_backfill
    from lakehouse.recovery.exporting import run_backfill as run_backfill
    from lakehouse.recovery.lake import recover_lake as recover_lake
    from lakehouse.recovery.recovering import bring_export as bring_export
    from lakehouse.recovery.recovering import document as document
    from lakehouse.recovery.recovering import prove_export as prove_export
    from lakehouse.recovery.recovering import recover as recover
    from lakehouse.recovery.recovering import recover_entity as recover_entity
    from lakehouse.recovery.recovering import said as said
    from lakehouse.serving.drift import check_served as check_served
    from lakehouse.serving.sync import sync_served as sync_served
    from lakehouse.table.glue_tables import landing_table as landing_table
    from lakehouse.table.glue_tables import refresh_landing as refresh_landing
    from lakehouse.table.schema_plan import plan_schema as plan_schema
    from lakehouse.table.tables import check_follows as check_follows

_IMPORT = re.compile(r"^    from (lakehouse\.[\w.]+) import (\w+) as \2$", re.MULTILINE)


@cache
def _rooms() -> dict[str, str]:
    """The module of each name, by the imports above, which nobody but type checkers executes. They are read as lines:
    Python 3.11 fails where two threads make syntax trees at once, and the watches of the alerts are threads."""
    return {name: module for module, name in _IMPORT.findall(Path(__file__).read_text("utf-8"))}


def __getattr__(name: str) -> Any:
    rooms = _rooms()
    if name not in rooms:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(rooms))}")
    return getattr(import_module(rooms[name]), name)
