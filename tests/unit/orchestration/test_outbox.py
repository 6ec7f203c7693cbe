"""Whatever messages the topic refuses, and whatever cannot be read: each alert is reported once, sooner or later."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from threading import Event
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as settings_of_search
from hypothesis import strategies as st

from assets.data_times import TableRead
from assets.resources import LakeResource
from contracts import Contract, load_contracts
from lakehouse import api
from lakehouse.intake.landing import LandedObject
from lakehouse.results import Published
from lakehouse.storage.lake import Lake
from lakehouse.storage.store import StoredObject
from orchestration import sensors, set_aside, watches
from orchestration.alert_sensor import Look, Seen, alert_sensor, look_at_all
from orchestration.alerts import SUBJECT_LIMIT, Alert, AlertResource
from orchestration.definitions import build
from orchestration.late import Late
from orchestration.outbox import MOST_OWED, PATIENCE_SECONDS, Outbox, deliver
from orchestration.settings import Settings
from orchestration.ticks import Trouble
from tests.support.depth import examples

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ENTITIES = ("orders", "bids", "lots", "payments")
STREAMED = tuple(contract.name for contract in load_contracts().of_origin("stream"))
REPORTS = {f"r{n}": dg.AssetKey(["reports", f"r{n}"]) for n in range(4)}
READS = {"r0": ("orders",), "r1": ("bids", "lots"), "r2": ("payments",), "r3": ("orders", "payments")}
STATES = ("fresh", "late", "unreadable")
searching = settings_of_search(
    max_examples=examples(10), deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


class Log:
    """A tick's log that nobody reads."""

    def warning(self, msg: str) -> None: ...
    def error(self, msg: str) -> None: ...


class Topic:
    """Takes messages or not, as the answers say in their order; when they are used up it takes all."""

    def __init__(self, answers: list[bool]) -> None:
        self.answers, self.sent = chain(answers, repeat(True)), list[Alert]()

    def send(self, alert: Alert) -> bool:
        if not next(self.answers):
            raise OSError("Throttling: rate exceeded")
        self.sent.append(alert)
        return True

    @property
    def reported(self) -> Counter[str]:
        return Counter(f"{alert.what}: {alert.why}" for alert in self.sent)


TOPIC = Topic([])


class Alerts(AlertResource):
    """The topic of the moment."""

    def send(self, alert: Alert) -> bool:
        return TOPIC.send(alert)


@pytest.fixture(scope="module")
def tick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Evaluates one tick of a sensor of the code location, or of one that has a single watch."""
    from tests.support.manifests import small_manifest

    home = tmp_path_factory.mktemp("home")
    manifest = home / "dbt" / "local" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps(small_manifest()))
    repository = build(Settings(home=home, endpoint_url="http://127.0.0.1:1")).get_repository_def()
    lags = {key: timedelta(minutes=30) for key in REPORTS.values()}
    contracts = load_contracts()
    of_watch = {
        name: alert_sensor({name: watch}, 60, "http://ui")
        for name, watch in watches.watches(contracts, lags, "http://ui").items()
    }
    lake = LakeResource(environment="local", bucket="bucket")
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(name: str, cursor: str | None, of: dg.DagsterInstance = instance, **resources: object) -> Any:
            context = dg.build_sensor_context(
                instance=of,
                cursor=cursor,
                repository_def=repository,
                resources={"alerts": Alerts(), "lake": lake, **resources},
            )
            sensor = of_watch.get(name) or repository.get_sensor_def(name)
            return sensor.evaluate_tick(context)

        yield tick


def through(
    topic: list[bool],
    name: str,
    steps: list[Any],
    evaluate: Callable[..., Any],
    arrange: Callable[[Any], dict[str, Any]],
) -> tuple[Counter[str], list[Any]]:
    """A tick for each step, then ticks in a world that stays: what was reported, and the ticks."""
    global TOPIC
    TOPIC = Topic(topic)
    cursor, ticks = None, []
    for step in [*steps, *[steps[-1]] * (len(topic) + 2)]:
        ticks.append(evaluate(name, cursor, **arrange(step)))
        cursor = ticks[-1].cursor
        assert len(cursor) < 20_000
    assert not Outbox.from_cursor(cursor).owed
    return TOPIC.reported, ticks


answers = st.lists(st.booleans(), max_size=12)
states = st.lists(
    st.fixed_dictionaries({entity: st.sampled_from(STATES) for entity in ENTITIES}), min_size=1, max_size=5
)


def published_as(patch: pytest.MonkeyPatch, step: Mapping[str, str]) -> None:
    def published(_: Lake, contract: Contract) -> Published | None:
        state = step.get(contract.name)
        if state == "unreadable":
            raise FileNotFoundError("metadata.json")
        if state is None:
            return None
        mark = datetime.now(UTC).replace(microsecond=0) if state == "fresh" else NOON
        return Published(contract.name, "m", "c", 1, 1, mark, 1, 1, 1, 1, "1")

    patch.setattr(api, "published", published)


@given(steps=states, topic=answers)
@searching
def test_tables_are_reported_once_for_each_time_that_they_turn(
    tick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, steps: list[dict[str, str]], topic: list[bool]
) -> None:
    lake = LakeResource(environment="local", bucket="bucket")

    def arrange(step: dict[str, str]) -> dict[str, Any]:
        published_as(monkeypatch, step)
        return {"lake": lake}

    reported, ticks = through(topic, "published tables", steps, tick, arrange)
    assert reported == through([], "published tables", steps, tick, arrange)[0]
    unreadable = sum(
        step[e] == "unreadable" and (not n or steps[n - 1][e] != "unreadable")
        for n, step in enumerate(steps)
        for e in ENTITIES
    )
    assert sum(count * text.count("cannot be read: ") for text, count in reported.items()) == unreadable
    late = sum(text.count("is published up to") * count for text, count in reported.items())
    assert late == sum(turned_late([step[entity] for step in steps]) for entity in ENTITIES)
    assert all(("could not be sent" in t.skip_message) == bool(Outbox.from_cursor(t.cursor).owed) for t in ticks)


def turned_late(history: list[str]) -> int:
    """How often one became late; nothing is known of it while it is unreadable."""
    known = [state for state in history if state != "unreadable"]
    return sum(state == "late" and (not n or known[n - 1] != "late") for n, state in enumerate(known))


@given(steps=states, topic=answers)
@searching
def test_models_are_reported_once_and_not_forgotten_while_a_table_is_unreadable(
    tick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, steps: list[dict[str, str]], topic: list[bool]
) -> None:
    """A model is as late as its tables: while one of them is unreadable it stays what it was, and is not reported."""
    lake = LakeResource(environment="local", bucket="bucket")
    built = {REPORTS[name]: {e: TableRead("1:1", NOON) for e in read} for name, read in READS.items()}
    monkeypatch.setattr(watches, "recorded_reads", lambda instance, models: built)

    def arrange(step: dict[str, str]) -> dict[str, Any]:
        published_as(monkeypatch, step)
        return {"lake": lake}

    reported, ticks = through(topic, "marts and reports", steps, tick, arrange)
    assert reported == through([], "marts and reports", steps, tick, arrange)[0]
    of_model = {
        name: ["unreadable" if "unreadable" in now else "late" if "late" in now else "fresh" for now in each]
        for name, read in READS.items()
        for each in [[[step[entity] for entity in read] for step in steps]]
    }
    for name, history in of_model.items():
        count = sum(n * text.count(f"reports/{name} is true for") for text, n in reported.items())
        assert count == turned_late(history), (name, history)
        known = [state for state in history if state != "unreadable"]
        last = Late.from_text(json.loads(Outbox.from_cursor(ticks[-1].cursor).inner or "")["marts and reports"]).late
        assert (f"reports/{name}" in last) == (known[-1:] == ["late"])


@given(
    steps=st.lists(
        st.fixed_dictionaries(
            {
                "broken": st.sets(st.sampled_from(sorted(set_aside.WATCHED))),
                "new": st.sets(st.sampled_from(sorted(set_aside.WATCHED))),
            }
        ),
        min_size=1,
        max_size=5,
    ),
    topic=answers,
)
@searching
def test_every_prefix_is_reported_by_itself(
    tick: Callable[..., Any], steps: list[dict[str, set[str]]], topic: list[bool]
) -> None:
    """What is new where it can be listed, and once for each streak that it cannot: neither hides the other."""

    def world() -> Callable[[dict[str, set[str]]], dict[str, Any]]:
        objects: list[StoredObject] = []
        seen: list[int] = []

        def arrange(step: dict[str, set[str]]) -> dict[str, Any]:
            if id(step) not in seen:
                seen.append(id(step))
                objects.extend(
                    StoredObject(f"{p}orders/{len(seen)}", "e", 1, NOON + timedelta(minutes=len(seen)))
                    for p in step["new"]
                )

            def listing(prefix: str) -> Iterator[StoredObject]:
                yield from (o for o in objects if o.key.startswith(prefix))
                if prefix in step["broken"]:
                    raise ConnectionError(f"{prefix} timed out")

            store = SimpleNamespace(list=listing)
            return {"lake": SimpleNamespace(lake=SimpleNamespace(store=store, endpoint=None, bucket="b", region="r"))}

        return arrange

    reported, ticks = through(topic, "objects that are set aside", steps, tick, world())
    assert reported == through([], "objects that are set aside", steps, tick, world())[0]
    for prefix in set_aside.WATCHED:
        streaks = sum(
            prefix in step["broken"] and (not n or prefix not in steps[n - 1]["broken"]) for n, step in enumerate(steps)
        )
        said = [text for text in reported.elements() if text.startswith(f"Objects below {prefix} cannot be watched")]
        assert len(said) == streaks
        readable = any(prefix not in step["broken"] for step in steps)
        last = max((n for n, step in enumerate(steps) if prefix not in step["broken"]), default=-1)
        new = sum(prefix in step["new"] for step in steps[: last + 1])
        counts = [int(text.split()[0]) for text in reported.elements() if f"new object(s) below {prefix}" in text]
        assert sum(counts) == (new if readable else 0)
    for step, ticked in zip(steps, ticks, strict=False):
        assert all(f"{prefix}: ConnectionError" in ticked.skip_message for prefix in step["broken"])


@given(steps=st.lists(st.sets(st.sampled_from(STREAMED[:6])), min_size=1, max_size=5), topic=answers)
@searching
def test_entities_that_cannot_be_listed_are_reported_once_a_streak(
    tick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, steps: list[set[str]], topic: list[bool]
) -> None:
    def arrange(step: set[str]) -> dict[str, Any]:
        def listing(_: Lake, contract: Contract, scope: object) -> list[LandedObject]:
            if contract.name in step:
                raise OSError("the connection ended")
            return []

        monkeypatch.setattr(sensors, "list_objects", listing)
        return {"lake": LakeResource(environment="local", bucket="bucket")}

    reported, ticks = through(topic, "landed_objects", steps, tick, arrange)
    assert reported == through([], "landed_objects", steps, tick, arrange)[0]
    for entity in STREAMED[:6]:
        streaks = sum(entity in step and (not n or entity not in steps[n - 1]) for n, step in enumerate(steps))
        assert sum(count * text.count(f"{entity}: OSError") for text, count in reported.items()) == streaks
    assert all(set(Outbox.from_cursor(t.cursor).unseen) == step for t, step in zip(ticks, steps, strict=False))


@given(steps=st.lists(st.sets(st.sampled_from("abcdef")), min_size=1, max_size=5), topic=answers)
@searching
def test_ticks_in_trouble_are_reported_once_a_streak(
    tick: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, steps: list[set[str]], topic: list[bool]
) -> None:
    begun: dict[str, datetime] = {}

    def arrange(step: set[str]) -> dict[str, Any]:
        for name in set(begun) - step:
            del begun[name]
        for name in step - set(begun):
            begun[name] = NOON
        found = [Trouble(name, "sensor", since, "tick failed") for name, since in begun.items()]
        noted = [Trouble("freshness", "sensor", NOON, "2 alert(s) could not be sent", noted=True)]
        monkeypatch.setattr(watches, "troubles", lambda instance, now: found + noted)
        return {}

    reported, _ = through(topic, "ticks", steps, tick, arrange)
    for name in "abcdef":
        streaks = sum(name in step and (not n or name not in steps[n - 1]) for n, step in enumerate(steps))
        assert sum(n for text, n in reported.items() if f"sensor {name} does not" in text) == streaks
    assert not any("freshness" in text for text in reported), "it tells them itself"


@given(failing=st.lists(st.integers(0, 3), min_size=1, max_size=4), topic=answers)
@settings_of_search(
    max_examples=examples(5), deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_every_failed_run_is_reported_once(tick: Callable[..., Any], failing: list[int], topic: list[bool]) -> None:
    """Those of other code locations are not ours to tell, and what failed before the first look is history."""

    global TOPIC
    TOPIC = Topic(topic)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        for fail in [2, *failing, *[0] * (len(topic) + 2)]:
            for number in range(fail):
                job = "compaction" if number % 2 == 0 else "somebody_elses"
                instance.report_run_failed(instance.create_run_for_job(_trivial(job)))
            cursor = tick("failed runs", cursor, of=instance).cursor
    assert not Outbox.from_cursor(cursor).owed
    assert len(TOPIC.sent) == sum((fail + 1) // 2 for fail in failing)
    assert len({alert.link for alert in TOPIC.sent}) == len(TOPIC.sent)


def _trivial(name: str) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    return dg.GraphDefinition(name=name, node_defs=[nothing]).to_job(name)


CHECKS = [dg.AssetCheckKey(dg.AssetKey(["catalog", e]), "no_hand_made_change") for e in ("orders", "bids", "lots")]


@given(
    steps=st.lists(st.lists(st.sampled_from((None, False, True)), min_size=3, max_size=3), min_size=1, max_size=5),
    topic=answers,
)
@searching
def test_every_check_that_turns_red_is_reported_once_a_streak(
    tick: Callable[..., Any], steps: list[list[bool | None]], topic: list[bool]
) -> None:
    """Of whatever severity; a check that is not run again stays what it was."""

    with dg.DagsterInstance.ephemeral() as instance:

        def evaluate(name: str, cursor: str | None, **_: object) -> Any:
            return tick(name, cursor, of=instance)

        def arrange(step: list[bool | None]) -> dict[str, Any]:
            for key, passed in zip(CHECKS, step, strict=True):
                if passed is not None:
                    result = dg.AssetCheckEvaluation(key.asset_key, key.name, passed, {}, description="who was it?")
                    instance.report_runless_asset_event(result)
            return {}

        reported, _ = through(topic, "checks", steps, evaluate, arrange)
    for number, key in enumerate(CHECKS):
        history = [step[number] for step in steps if step[number] is not None]
        streaks = sum(not passed and (not n or history[n - 1] is True) for n, passed in enumerate(history))
        said = f"{key.asset_key.to_user_string()} {key.name}: who was it?"
        assert sum(count * text.count(said) for text, count in reported.items()) == streaks


def test_a_watch_that_fails_or_takes_long_hides_no_other() -> None:
    going_on = Event()

    def fails(look: Look, cursor: str | None) -> Seen:
        raise PermissionError("the bucket")

    def hangs(look: Look, cursor: str | None) -> Seen:
        going_on.wait()
        return Seen("later", "")

    def works(look: Look, cursor: str | None) -> Seen:
        return Seen("now", "All is well.")

    look: Any = None
    try:
        found = look_at_all({"a": fails, "b": hangs, "c": works}, look, {}, seconds=0.2)
    finally:
        going_on.set()
    assert isinstance(found["a"], PermissionError)
    assert isinstance(found["b"], TimeoutError)
    assert found["c"] == Seen("now", "All is well.")


def test_what_cannot_be_watched_is_reported_once_and_looked_at_again(tick: Callable[..., Any]) -> None:
    global TOPIC
    TOPIC = Topic([])
    broken = SimpleNamespace(lake=SimpleNamespace())  # no store, no name: nothing can be looked at
    cursor = None
    for lake in (broken, broken, SimpleNamespace(lake=SimpleNamespace(store=SimpleNamespace(list=lambda _: ())))):
        ticked = tick("objects that are set aside", cursor, lake=lake)
        cursor = ticked.cursor
    assert [alert.what for alert in TOPIC.sent] == [
        f"Objects below {p} cannot be watched" for p in sorted(set_aside.WATCHED)
    ]
    assert ticked.skip_message == "Nothing new was set aside."


alerts = st.builds(
    Alert,
    what=st.text(min_size=1, max_size=900),
    why=st.text(max_size=100) | st.just("x" * 100_000),
    when=st.datetimes(timezones=st.just(UTC)),
    link=st.text(max_size=20),
)


@given(st.lists(alerts, max_size=5), st.text())
def test_a_cursor_keeps_what_it_is_given(owed: list[Alert], memory: str) -> None:
    outbox = Outbox(
        memory, tuple(a.bounded() for a in owed), len(owed), NOON if owed else None, "r", {"x": (NOON, "y")}
    )
    assert Outbox.from_cursor(outbox.to_cursor(memory)) == outbox
    assert all(len(a.subject) <= SUBJECT_LIMIT and a.subject.isprintable() for a in owed)
    assert all(len(a.bounded().message.encode()) < 256_000 for a in owed)


@pytest.mark.parametrize("count", [MOST_OWED, MOST_OWED + 1, 20 * MOST_OWED])
def test_what_a_cursor_cannot_keep_is_reported_as_a_number(count: int) -> None:
    def refuse(alert: Alert) -> bool:
        raise OSError

    outbox = Outbox()
    for number in range(count):
        outbox = deliver(Log(), refuse, outbox, [Alert(str(number), "y" * 10_000, NOON, "")], NOON)
    assert len(outbox.to_cursor("")) < MOST_OWED * 6_000
    (problem,) = outbox.problems
    assert problem == (NOON, f"{count} alert(s) could not be sent: OSError:")
    topic = Topic([])
    outbox = deliver(Log(), topic.send, outbox, [], NOON)
    outbox = deliver(Log(), topic.send, outbox, [], NOON)
    assert outbox == Outbox()
    more = [f"{count - MOST_OWED} more alert(s) could not be sent"] if count > MOST_OWED else []
    assert [alert.what for alert in topic.sent] == [*map(str, range(MOST_OWED)), *more]


@given(st.integers(1, 40), st.integers(0, 39))
def test_no_alert_waits_behind_those_that_take_long(count: int, which: int) -> None:
    """Each takes so long that few fit in a tick, and one that is never taken does not stand in the way."""
    now, sent = [0.0], list[str]()

    def send(alert: Alert) -> bool:
        now[0] += PATIENCE_SECONDS / 3
        if alert.what == str(which):
            raise OSError
        sent.append(alert.what)
        return True

    outbox = deliver(Log(), send, Outbox(), [Alert(str(n), "", NOON, "") for n in range(count)], NOON, lambda: now[0])
    for _ in range(count):
        outbox = deliver(Log(), send, outbox, [], NOON, lambda: now[0])
    assert sorted(sent, key=int) == [str(n) for n in range(count) if n != which]
    assert [a.what for a in outbox.owed] == [str(which)] * (which < count)


@pytest.mark.parametrize("cursor", [None, "", "[]", '["orders"]', '{"form":1}', "{", "null", '{"owed": 1}', "7"])
def test_a_cursor_of_another_form_is_the_memory_of_one_that_owes_nothing(cursor: str | None) -> None:
    assert Outbox.from_cursor(cursor) == Outbox(cursor)
