"""What happens between the table and landing: the stream's readers, Firehose, and the queues of dead letters.

The stream keeps a change for 24 hours, and Firehose tries to deliver for 24 hours: alerts come long before that.
"""

from __future__ import annotations

from datetime import timedelta

from orchestration.alerts.alert import Problem, moment, problem_id, span
from orchestration.alerts.gaps import KEEPS, find_gap
from orchestration.alerts.sensor import Look, Seen, Watch

LATE = timedelta(minutes=15)
UNRELAYED = timedelta(hours=2)
"""How long writes may go without a call of the relay: what is known of them is by the hour, and refused writes
count."""
HALF = timedelta(hours=12)
"""From here on an alert is critical: half of the time is gone after which changes are lost."""
UNDELIVERED = timedelta(minutes=30)


def watch_stream(ui_url: str) -> Watch:
    """How old the oldest change in the stream is, of relay and fan-out."""

    def watch(look: Look, cursor: str | None) -> Seen:
        metrics = look.view.stream()
        problems = []
        for reader, age in sorted(metrics.ages.items()):
            if age > LATE:
                why = f"the oldest change that the {reader} handed over had waited for {span(age)}"
                problems.append(_late(reader, f"{why}; the stream keeps it for 24 h", age, look))
        since = metrics.unrelayed_since
        if since is not None and look.now - since > UNRELAYED and "relay" not in {p.name for p in problems}:
            why = f"the table was written to since {moment(since)}, and the relay was not called since"
            problems.append(_late("relay", f"{why}; the stream keeps changes for 24 h", look.now - since, look))
        if gap := find_gap(metrics, look.now):
            why = (
                f"changes since {moment(gap.since)} may have left the stream before the relay read them "
                f"({gap.reason}). The sensor `gaps` requests their repair from an incremental export, once"
            )
            problems.append(Problem("changes-may-be-lost", "relay", why, gap.since, f"{ui_url}/jobs"))
        text = f"{len(problems)} problems of the stream." if problems else "The stream is read in time."
        return Seen("", text, problems)

    return watch


def _late(reader: str, why: str, age: timedelta, look: Look) -> Problem:
    severity = "critical" if age >= HALF else "error"
    causes = (problem_id("changes-may-be-lost", reader),)
    return Problem("stream-is-late", reader, why, look.now - age, severity=severity, causes=causes)  # type: ignore[arg-type]


def watch_delivery(ui_url: str) -> Watch:
    """How long records wait in Firehose, by entity."""

    def watch(look: Look, cursor: str | None) -> Seen:
        problems = [
            Problem(
                "firehose-is-late",
                entity,
                f"a record of {entity} has waited for {span(age)}; Firehose gives up after {span(KEEPS)}",
                look.now - age,
                f"{ui_url}/assets/landing/{entity}",
                severity="critical" if age >= HALF else None,
            )
            for entity, age in sorted(look.view.stream().undelivered.items())
            if age > UNDELIVERED
        ]
        text = f"Firehose is late with {len(problems)} entities." if problems else "Firehose delivers in time."
        return Seen("", text, problems)

    return watch


def watch_letters(ui_url: str) -> Watch:
    """The queues of dead letters: whatever is in one waits for somebody."""

    def watch(look: Look, cursor: str | None) -> Seen:
        waiting = look.view.letters()
        problems = [
            Problem("dead-letters", queue, f"{count} in {queue}; SQS forgets them after 14 days", size=count)
            for queue, count in sorted(waiting.items())
            if count
        ]
        count = sum(waiting.values())
        return Seen("", f"{count} dead letters wait." if count else "No dead letter waits.", problems)

    return watch
