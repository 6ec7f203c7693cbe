"""What staff see of the pipeline's health: all that a look of the alerts found, and what it could not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace

import dagster as dg
import orjson
import pytest

from assets.parity import sample_result
from assets.resources import LakeResource
from contracts import load_contracts
from contracts.health import Health
from lakehouse.publish.lateness import in_order
from orchestration.alerts.alert import Problem
from orchestration.alerts.drill_scenarios import SeededView
from orchestration.alerts.health import MOST_ALERTS, WAITING, Found, health_of
from orchestration.alerts.open_alerts import OpenAlerts, follow
from orchestration.alerts.outbox import LOST_SECONDS, PATIENCE_SECONDS
from orchestration.alerts.sensor import LOOK_SECONDS, SHOW_SECONDS, alert_sensor, show
from orchestration.alerts.watches.budgets import watch_budgets
from orchestration.alerts.watches.checks import watch_checks
from orchestration.alerts.watches.stream import watch_letters
from tests.support.alerting import NOON, Topic

KEY = dg.AssetKey(["catalog", "orders"])
DIFFERENT = dg.AssetCheckResult(check_name="parity", passed=False, description="2 keys differ.")


def seen(*problems: Problem, unknown: tuple[str, ...] = ()) -> Health:
    open_alerts, _ = follow(OpenAlerts(), problems, unknown, NOON)
    return health_of(open_alerts, Found(problems, unknown, None, None), NOON)


def test_the_worst_alert_comes_first_and_one_that_another_explains_says_so() -> None:
    cause = Problem("tables-cannot-be-read", "orders", "gone", NOON - timedelta(hours=1), severity="critical")
    follows = Problem("marts-are-late", "fct_orders", "old", NOON, causes=(cause.id,))
    first, second = seen(follows, cause)["alerts"]
    assert (first["what"], first["severity"], first["reported"]) == (
        "Published tables cannot be read: orders", "critical", True,
    )  # fmt: skip
    assert first["since"] == "2026-11-21T11:00:00Z"
    assert (second["kind"], second["reported"]) == ("marts-are-late", False)


def test_what_waits_is_counted_by_kind_and_what_could_not_be_seen_is_not_zero() -> None:
    found = seen(
        Problem("rows-in-quarantine", "orders", "bad", size=3),
        Problem("rows-in-quarantine", "bids", "bad", size=4),
        unknown=("firehose-errors", "objects-held orders"),
    )
    assert found["waiting"] == {
        **dict.fromkeys(WAITING, 0), "rows-in-quarantine": 7, "firehose-errors": None, "objects-held": None,
    }  # fmt: skip
    assert found["budgets"] is None


def test_an_alert_of_which_nothing_can_be_said_now_stays() -> None:
    before, _ = follow(OpenAlerts(), [Problem("dead-letters", "inbound", "wait", size=2)], (), NOON)
    after, _ = follow(before, [], ("dead-letters",), NOON)
    (alert,) = health_of(after, Found([], ("dead-letters",), None, None), NOON)["alerts"]
    assert (alert["what"], alert["why"]) == ("2 dead letter(s) wait: inbound", "")


def test_many_alerts_are_cut_and_counted() -> None:
    found = seen(*(Problem("run-failed", f"run {n}", "why") for n in range(MOST_ALERTS + 5)))
    assert (len(found["alerts"]), found["more"]) == (MOST_ALERTS, 5)


def test_a_name_of_any_length_and_letters_can_be_shown() -> None:
    (alert,) = seen(Problem("cannot-be-watched", "\udce9{}%s/" + "n" * 5_000, "why \udce9"))["alerts"]
    assert alert["what"].startswith("?{}%s/nnn")
    assert len(orjson.dumps(alert)) < 1_000


@dataclass
class Unwritable(SeededView):
    """A view whose bucket takes nothing."""

    tried: list[Health] = field(default_factory=list)

    def show(self, found: Health) -> None:
        self.tried.append(found)
        raise ConnectionError("no answer")


@pytest.fixture
def tick() -> Callable[[SeededView], tuple[dg.SensorResult, Topic]]:
    """Evaluates a tick of the alerts in a view, with three of their watches."""

    def evaluated(view: SeededView, result: dg.AssetCheckResult = DIFFERENT) -> tuple[dg.SensorResult, Topic]:
        name = str(result.check_name)

        @dg.asset(key=KEY, check_specs=[dg.AssetCheckSpec(name, asset=KEY)])
        def orders() -> dg.MaterializeResult:  # type: ignore[type-arg]
            return dg.MaterializeResult(check_results=[result])

        watches = {
            "checks": watch_checks("http://ui"),
            "dead letters": watch_letters("http://ui"),
            "freshness budgets": watch_budgets(load_contracts(), {}, "http://ui"),
        }
        topic = Topic([])
        with dg.DagsterInstance.ephemeral() as instance:
            dg.materialize([orders], instance=instance)
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=dg.Definitions(assets=[orders]).get_repository_def(),
                resources={"alerts": topic, "lake": LakeResource(environment="local", bucket="bucket")},
            )
            sensor = alert_sensor(watches, lambda lake, memory, now: view, 60, "http://ui")
            found = sensor.evaluate_tick(context)
        return found, topic  # type: ignore[return-value]

    return evaluated


def test_a_tick_shows_comparisons_budgets_and_letters(tick: Callable[[SeededView], object]) -> None:
    now = datetime.now(UTC)
    late = in_order({("table", "orders"): [(now - timedelta(days=1), now - timedelta(days=2), True)]})
    view = SeededView(queues={"inbound-dead-letters": 2})
    view.publications = type(view.publications)(now, late)
    tick(view)
    (found,) = view.shown
    assert found["waiting"]["dead-letters"] == 2
    assert [(c["name"], c["outcome"], c["text"]) for c in found["comparisons"] or ()] == [
        ("orders: parity", "different", "2 keys differ.")
    ]
    (budget,) = found["budgets"] or ()
    assert (budget["name"], budget["judged"]) == ("orders", False)
    assert abs(budget["late_seconds"] - 86_400) < 5
    assert abs(budget["allowed_seconds"] - 864) < 2
    assert {alert["kind"] for alert in found["alerts"]} >= {"dead-letters", "lake-and-table-differ"}


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (DIFFERENT, "different"),
        (sample_result("orders", []), "not yet"),
        (dg.AssetCheckResult(check_name="parity", passed=True, metadata={"outcome": "not yet"}), "not yet"),
        (dg.AssetCheckResult(check_name="parity", passed=True, metadata={"outcome": "equal"}), "equal"),
        (dg.AssetCheckResult(check_name="parity", passed=False, severity=dg.AssetCheckSeverity.WARN), "unproven"),
    ],
)
def test_what_could_not_be_compared_is_not_called_equal(
    tick: Callable[..., object], result: dg.AssetCheckResult, outcome: str
) -> None:
    view = SeededView()
    tick(view, result)
    assert [compared["outcome"] for compared in view.shown[0]["comparisons"] or ()] == [outcome]


def test_alerts_are_sent_though_their_document_cannot_be_written(
    tick: Callable[[SeededView], tuple[dg.SensorResult, Topic]],
) -> None:
    view = Unwritable(queues={"inbound-dead-letters": 2})
    _, topic = tick(view)
    assert len(view.tried) == 1
    assert "2 dead letter(s) wait: inbound-dead-letters" in [part.what for part in topic.parts()]


def test_a_bucket_that_does_not_answer_keeps_no_tick() -> None:
    """Else the tick is given up, and what it sent is sent again by the next."""
    answered = Event()
    try:
        view = SimpleNamespace(show=lambda found: answered.wait())
        assert isinstance(show(view, seen, seconds=0.1), TimeoutError)
    finally:
        answered.set()
    assert isinstance(show(Unwritable(), seen), ConnectionError)
    assert show(SeededView(), seen) is None
    assert isinstance(show(SeededView(), lambda: seen(Problem("no-such-kind", "x", "y"))), KeyError)


def test_a_tick_is_over_before_dagster_gives_it_up() -> None:
    assert LOOK_SECONDS + PATIENCE_SECONDS + LOST_SECONDS + SHOW_SECONDS < 60
