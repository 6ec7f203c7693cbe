"""Every kind of alert that the pipeline sends: its title, how bad it is, and who watches for it.

The name of a kind is the anchor of its section in docs/operations.md; a test holds that each has one, and the drill
(`drill_scenarios`) fires and resolves each. What makes one arise is decided in `watches`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("warning", "error", "critical")
"""How bad: somebody looks at it in the next days; today; now, because data may be lost or wrong."""

RUNS, TICKS, CHECKS = "runs", "ticks", "checks"
TABLES, MODELS = "published tables", "marts and reports"
SET_ASIDE, HELD = "objects that are set aside", "held objects"
QUARANTINE, LETTERS = "quarantine rate", "dead letters"
STREAM, DELIVERY, VOLUME, COST = "stream", "delivery", "volume", "cost"
BUDGETS = "freshness budgets"
DRIFT = "drift"
ITSELF = "alerts"
"""Names of the watches; the last one is the sensor's own."""


@dataclass(frozen=True)
class Kind:
    """One kind of alert. `title` has `{names}` of what is concerned, or `{count}`; `severity` is the usual one."""

    name: str
    title: str
    severity: Severity
    watch: str


_ALL = (
    Kind("run-failed", "Run of {names} failed", "error", RUNS),
    Kind("run-takes-long", "Run of {names} takes long", "warning", RUNS),
    Kind("sensor-does-not-work", "The sensor {names} does not do its work", "error", TICKS),
    Kind("schedule-does-not-work", "The schedule {names} does not do its work", "error", TICKS),
    Kind("landing-cannot-be-listed", "What landed cannot be listed: {names}", "error", TICKS),
    Kind("checks-failed", "Checks failed: {names}", "error", CHECKS),
    Kind("lake-and-table-differ", "Lake and table differ: {names}", "critical", CHECKS),
    Kind("published-data-is-late", "Published data is late: {names}", "error", TABLES),
    Kind("tables-cannot-be-read", "Published tables cannot be read: {names}", "error", TABLES),
    Kind("marts-are-late", "Marts or reports are late: {names}", "error", MODELS),
    Kind("freshness-budget-is-used-up", "The freshness budget is used up: {names}", "error", BUDGETS),
    Kind("freshness-budget-burns-fast", "The freshness budget burns fast: {names}", "warning", BUDGETS),
    Kind("rows-in-quarantine", "{count} object(s) below quarantine/", "warning", SET_ASIDE),
    Kind("firehose-errors", "{count} object(s) below firehose-errors/", "error", SET_ASIDE),
    Kind("relay-failures", "{count} object(s) below relay-failures/", "error", SET_ASIDE),
    Kind("batches-given-up", "{count} object(s) below aws/lambda/", "error", SET_ASIDE),
    Kind("objects-held", "{count} landed object(s) of {names} held or failing", "error", HELD),
    Kind("many-rows-break-their-contract", "Many rows break their contract: {names}", "error", QUARANTINE),
    Kind("dead-letters", "{count} dead letter(s) wait: {names}", "error", LETTERS),
    Kind("stream-is-late", "The stream is read too slowly: {names}", "error", STREAM),
    Kind("changes-may-be-lost", "Changes may be lost: {names}", "critical", STREAM),
    Kind("firehose-is-late", "Firehose does not deliver: {names}", "error", DELIVERY),
    Kind("volume-is-unusual", "Volume is unusual: {names}", "warning", VOLUME),
    Kind("cost-is-high", "The lake costs more than usual: {names}", "warning", COST),
    Kind("environment-drifted", "The environment drifted: {names}", "warning", DRIFT),
    Kind("cannot-be-watched", "{names} cannot be watched", "error", ITSELF),
    Kind("alerts-not-sent", "Alerts cannot be sent to {names}", "error", ITSELF),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
"""Every kind by its name."""
