"""A gap in the stream is repaired once: not at each tick, not again by a cursor that was reset, and not by a run that
cannot start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_search
from hypothesis import strategies as st

from assets.backfill import backfill_job
from assets.resources import LakeResource
from contracts import load_contracts
from orchestration.alerts.drill_scenarios import SeededView
from orchestration.alerts.gaps import KEEPS, MARGIN, Repaired, find_gap, to_repair
from orchestration.alerts.stream_metrics import StreamMetrics, read_metrics
from orchestration.gap_sensor import REPAIRED, gap_sensor, repair_request
from tests.support.alerting import NOON
from tests.support.depth import examples

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("metrics", "since"),
    [
        (StreamMetrics(), None),
        (StreamMetrics(ages={"relay": 23 * HOUR, "fanout": 24 * HOUR}), None),
        (StreamMetrics(ages={"relay": 24 * HOUR}), NOON - 25 * HOUR),
        (StreamMetrics(unrelayed_since=NOON - 24 * HOUR), None),
        (StreamMetrics(unrelayed_since=NOON - 26 * HOUR), NOON - 27 * HOUR),
    ],
)
def test_a_gap_begins_an_hour_before_what_is_known_to_be_lost(metrics: StreamMetrics, since: datetime | None) -> None:
    gap = find_gap(metrics, NOON)
    assert (gap and gap.since) == since


@given(outage=st.integers(1, 24 * 6), checked=st.integers(5, 120))
@settings_of_search(max_examples=examples(30), deadline=None)
def test_however_long_the_relay_stands_all_that_is_lost_is_repaired_and_little_twice(outage: int, checked: int) -> None:
    """The relay stands for hours while something is written in each; ticks come at any pace. When it reads again, the
    stream has the last 24 hours, and the repairs have what was before."""
    repaired, repairs, now, until = Repaired(), [], NOON, NOON + outage * HOUR
    while now < until:
        gap = find_gap(StreamMetrics(unrelayed_since=NOON), now)
        if gap and (between := to_repair(gap, repaired, now)):
            repairs.append(between)
            repaired = Repaired(between[1])
        now += timedelta(minutes=checked)
    lost_until = until - KEEPS - timedelta(minutes=checked)
    at = NOON
    while at < lost_until:
        assert any(begin <= at < end for begin, end in repairs), (at, repairs)
        at += HOUR / 2
    assert len(repairs) <= outage / 20 + 1
    assert sum((end - begin for begin, end in repairs), timedelta()) <= (outage + 1 + 2 * len(repairs)) * HOUR


def job(started: list[Any]) -> dg.JobDefinition:
    """A job with the configuration of the backfill, as far as a repair uses it."""

    @dg.op(name="exports", config_schema={"source": {"incremental": {"since": str, "until": str}}})
    def op(context) -> None:  # type: ignore[no-untyped-def]
        started.append(context.op_config["source"]["incremental"])

    return dg.GraphDefinition(name="backfill", node_defs=[op]).to_job("backfill")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def ticking(instance: dg.DagsterInstance, of: dg.JobDefinition) -> Callable[[str | None, StreamMetrics], Any]:
    view = SeededView()
    sensor = gap_sensor(of, lambda lake, memory, now: view)

    def tick(cursor: str | None, metrics: StreamMetrics) -> Any:
        view.metrics = metrics
        lake = LakeResource(environment="local", bucket="b")
        return sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"lake": lake}))

    return tick


def test_a_gap_is_repaired_once_by_a_run_that_starts(instance: dg.DagsterInstance) -> None:
    started: list[Any] = []
    of = job(started)
    tick = ticking(instance, of)
    now = datetime.now(UTC)
    lost = StreamMetrics(unrelayed_since=now - 30 * HOUR)
    assert not tick(None, StreamMetrics()).run_requests
    first = tick(None, lost)
    (request,) = first.run_requests
    again = tick(first.cursor, lost)
    assert not again.run_requests
    assert "was requested" in again.skip_message
    result = of.execute_in_process(run_config=request.run_config, tags=request.tags, instance=instance)
    assert result.success
    (config,) = started
    since, until = (datetime.fromisoformat(config[name]) for name in ("since", "until"))
    assert abs(since - (now - 30 * HOUR - MARGIN)) < timedelta(seconds=2)
    assert timedelta(0) < now - until < timedelta(minutes=2)
    reset = tick(None, lost)
    assert not reset.run_requests, "the run says what it repairs, also where the cursor is lost"


def test_while_an_export_is_brought_in_the_repair_waits_and_is_not_forgotten(instance: dg.DagsterInstance) -> None:
    of = job([])
    tick = ticking(instance, of)
    lost = StreamMetrics(ages={"relay": 24 * HOUR})
    config = repair_request(NOON - HOUR, NOON).run_config
    other = instance.create_run_for_job(of, run_config=config, status=dg.DagsterRunStatus.STARTED)
    waiting = tick(None, lost)
    assert "the repair follows it" in waiting.skip_message
    instance.report_run_canceled(other)
    assert len(tick(waiting.cursor, lost).run_requests) == 1


def test_a_run_that_could_not_start_is_not_requested(instance: dg.DagsterInstance) -> None:
    @dg.op(name="something_else")
    def op() -> None: ...

    tick = ticking(instance, dg.GraphDefinition(name="backfill", node_defs=[op]).to_job("backfill"))
    with pytest.raises(dg.DagsterInvalidConfigError):
        tick(None, StreamMetrics(ages={"relay": 24 * HOUR}))


def test_the_backfill_of_the_product_takes_the_request() -> None:
    of = backfill_job(load_contracts(), {})
    dg.validate_run_config(of, repair_request(NOON - 30 * HOUR, NOON).run_config)
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(of, {"ops": {"exports": {"config": {"source": {"incremental": {}}}}}})


def test_a_run_of_the_tag_of_another_form_repairs_nothing() -> None:
    assert Repaired.of_tag("yesterday") == Repaired()
    assert Repaired.of_tag(NOON.isoformat()) == Repaired(NOON) == Repaired.from_text(Repaired(NOON).to_text())
    assert REPAIRED.startswith("gavel/")


class CloudWatch:
    """Values by metric: pairs of the moment and the value."""

    def __init__(self, **values: list[tuple[datetime, float]]) -> None:
        self.values = values

    def get_paginator(self, _: str) -> CloudWatch:
        return self

    def paginate(self, MetricDataQueries: list[Any], StartTime: datetime, EndTime: datetime) -> list[Any]:
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            where = metric["Dimensions"][0]["Value"].rpartition("-")[2] if metric["Dimensions"] else ""
            name = f"{metric['MetricName'].rpartition('.')[2]}_{where}"
            some = [(at, value) for at, value in self.values.get(name, []) if StartTime <= at < EndTime]
            results.append({"Id": query["Id"], "Timestamps": [a for a, _ in some], "Values": [v for _, v in some]})
        return [{"MetricDataResults": results}]


def test_metrics_are_read_from_cloudwatch() -> None:
    hours = {n: NOON - n * HOUR for n in range(40)}
    client = CloudWatch(
        IteratorAge_relay=[(NOON - timedelta(minutes=2), 60_000.0), (NOON - HOUR, 9e9)],
        DataFreshness_bids=[(NOON - timedelta(minutes=3), 120.0)],
        ConsumedWriteCapacityUnits_local=[(hours[n], 5.0) for n in (39, 35, 30, 29, 2)],
        Invocations_relay=[(hours[35], 3.0), (hours[31], 1.0), (hours[30], 0.0)],
    )
    assert read_metrics(client, "local", ["orders", "bids"], NOON) == StreamMetrics(
        ages={"relay": timedelta(minutes=1)},
        undelivered={"bids": timedelta(minutes=2)},
        unrelayed_since=hours[30],
    )
