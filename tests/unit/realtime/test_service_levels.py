"""Service levels: alarms of the budget, widgets and log queries are about what functions and AWS really say."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts import load_contracts, metrics
from orchestration.alerts.watches import budgets
from tests.support.expanded import expanded

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "service-levels.md").read_text("utf-8")
ALLOWED = {"Failed": 0.1, "Slow": 1.0}
"""Of writes, in percent: what the objectives leave."""
WINDOWS = {"M5": 300, "M30": 1800, "H1": 3600, "H2": 7200, "H6": 21600, "D1": 86400}
PAIRS = {14.4: ("H1", "M5"), 6.0: ("H6", "M30"), 3.0: ("D1", "H2")}
LEVELS = {"writes-fail": ("WritesFail", "Failed"), "writes-are-slow": ("WritesAreSlow", "Slow")}

# What AWS publishes, by namespace: the metrics and the sets of dimensions that are used here. From the services' pages
# "CloudWatch metrics".
OF_AWS = {
    "AWS/ApiGateway": (
        {"Count", "4XXError", "5XXError", "Latency"},
        [{"ApiName", "Stage"}, {"ApiName", "Method", "Resource", "Stage"}],
    ),
    "AWS/Lambda": (
        {"Errors", "Throttles", "Duration", "IteratorAge"},
        [{"FunctionName"}, {"FunctionName", "Resource"}, {"FunctionName", "Resource", "ExecutedVersion"}],
    ),
    "AWS/Firehose": (
        {"DeliveryToS3.DataFreshness", "IncomingRecords", "ThrottledRecords"},
        [{"DeliveryStreamName"}],
    ),
    "AWS/DynamoDB": (
        {"ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"},
        [{"TableName"}],
    ),
    "AWS/SQS": ({"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}, [{"QueueName"}]),
}


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return dict(expanded("prod")["Resources"])


def of_product() -> dict[str, set[frozenset[str]]]:
    """The product's own metrics with their sets of dimensions: what functions emit and the pipeline publishes."""
    found: dict[str, set[frozenset[str]]] = {
        metrics.DATA_AGE: {frozenset(metrics.dimensions("e"))},
        metrics.DATA_TIME: {frozenset(metrics.dimensions("e"))},
        metrics.WATERMARK: {frozenset(metrics.dimensions("e", "orders"))},
    }
    for path in (ROOT / "realtime").rglob("*.py"):
        for name, rest in re.findall(r'\bemit\([^{)]*\{"(\w+)": \([^}]*\)\}([^\n]*)\)', path.read_text("utf-8")):
            dimensions = {"environment", *re.findall(r"(\w+)=", rest)}
            found.setdefault(name, set()).add(frozenset(dimensions))
    return found


def shown(metric: list[Any]) -> tuple[str, str, frozenset[str]]:
    """Namespace, name and dimensions of an entry of a widget."""
    (first, *rest) = metric
    if isinstance(first, str):
        names = [str(text) for text in rest if not isinstance(text, dict) or "Fn::Sub" in text or "Ref" in text]
        return first, names[0], frozenset(names[1::2])
    expression = first["expression"]["Fn::Sub"]
    searched = re.match(r"SEARCH\('\{([\w/]+),([\w,]+)\} MetricName=\"([\w.]+)\" ", expression)
    assert searched, expression
    return searched[1], searched[3], frozenset(searched[2].split(","))


def test_every_widget_shows_metrics_that_somebody_publishes(resources: dict[str, Any]) -> None:
    own = of_product()
    assert set(own) >= {"TokensRefused", "KeysNotRead", "InboundMismatches", "RecordsKept"}
    widgets = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::ToJsonString"]["widgets"]
    for widget in widgets:
        for metric in widget["properties"]["metrics"]:
            namespace, name, dimensions = shown(metric)
            if namespace == metrics.NAMESPACE:
                assert dimensions in own.get(name, set()), (widget["properties"]["title"], name, dimensions)
            else:
                names, sets = OF_AWS[namespace]
                assert name in names, name
                assert set(dimensions) in sets, (name, dimensions)


@pytest.mark.parametrize("level", LEVELS)
def test_a_budgets_windows_and_rates_are_those_of_the_page(resources: dict[str, Any], level: str) -> None:
    title, share = LEVELS[level]
    for rate, pair in PAIRS.items():
        for window in pair:
            alarm = resources[f"{title}{window}"]["Properties"]
            assert float(alarm["Threshold"]) == pytest.approx(ALLOWED[share] * rate)
            assert f"{ALLOWED[share] * rate:g} %" in PAGE
            periods = {int(m["MetricStat"]["Period"]) for m in alarm["Metrics"] if "MetricStat" in m}
            assert periods == {WINDOWS[window]}
    composite = resources[f"BudgetOf{title}"]["Properties"]
    rule = composite["AlarmRule"]["Fn::Sub"]
    name = f"gavel-${{Environment}}-{level}"
    together = [f'(ALARM("{name}-{long}") AND ALARM("{name}-{short}"))' for long, short in PAIRS.values()]
    assert rule.split(" OR ") == together
    assert composite["AlarmActions"] == composite["OKActions"] == [{"Ref": "AlertTopic"}]
    assert f"alarm `budget-of-{level}`" in PAGE


def test_a_budget_is_about_every_write_and_no_read(resources: dict[str, Any]) -> None:
    body = resources["Api"]["Properties"]["Body"]["paths"]
    writes = {
        (method.upper(), path)
        for path, methods in body.items()
        for method in methods
        if method in ("post", "put", "patch", "delete") and path.startswith(("/{entity}", "/imports"))
    }
    for title, _ in LEVELS.values():
        alarm = resources[f"{title}M5"]["Properties"]
        counted = set()
        for metric in alarm["Metrics"]:
            if metric.get("MetricStat", {}).get("Metric", {}).get("MetricName") == "Count":
                of = {d["Name"]: d["Value"] for d in metric["MetricStat"]["Metric"]["Dimensions"]}
                counted.add((of["Method"], of["Resource"]))
        assert counted == writes
        ids = [metric["Id"] for metric in alarm["Metrics"]]
        expression = alarm["Metrics"][-1]["Expression"]
        assert set(re.findall(r"[a-z]+_[a-z]+", expression)) == set(ids[:-1])
        assert len(ids) - 1 <= 10, "an alarm takes ten metrics at most"


def share(expression: str, values: dict[str, float]) -> float:
    """What CloudWatch computes, for expressions of IF, FILL and arithmetic."""
    text = re.sub(r"FILL\((\w+), (\d+)\)", r"fill('\1', \2)", " ".join(expression.split())).replace("IF(", "choose(")
    condition, _, rest = text.removeprefix("choose(").partition(" > 0, ")
    known = {"__builtins__": {}, "fill": lambda name, other: values.get(name, other)}
    return float(eval(f"({rest.removesuffix(', 0)')}) if ({condition}) > 0 else 0", known))


def test_the_share_of_writes_is_what_it_says(resources: dict[str, Any]) -> None:
    failed = resources["WritesFailH1"]["Properties"]["Metrics"][-1]["Expression"]
    slow = resources["WritesAreSlowH1"]["Properties"]["Metrics"][-1]["Expression"]
    assert share(failed, {}) == share(slow, {}) == 0
    counts = {"post_count": 90.0, "import_count": 10.0}
    assert share(failed, counts | {"import_failed": 2.0}) == 2.0
    assert share(slow, counts | {"post_quick": 100.0, "import_quick": 50.0}) == 5.0


def test_freshness_is_promised_as_the_alerts_and_contracts_have_it() -> None:
    assert budgets.OBJECTIVE == 0.99
    assert timedelta(days=30) == budgets.WINDOW
    assert (1 - budgets.OBJECTIVE) * budgets.WINDOW / timedelta(hours=1) == pytest.approx(7.2)
    assert "7.2 hours" in PAGE
    for long, short, rate in budgets.BURNS:
        spoken = [re.sub(r"^(\d+) (\w+?)s?$", r"\1 \2", f"{n} {unit}") for n, unit in map(_unit, (long, short))]
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {rate:g} |"))
        assert all(part in row.replace("s,", ",") for part in spoken), (row, spoken)
        assert f"late for {rate:g} %" in row
    assert {c.freshness_minutes for c in load_contracts().of_origin("stream")} >= {15}


def _unit(span: timedelta) -> tuple[int, str]:
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if span >= length:
            return int(span / length), unit
    raise ValueError(span)


# ---- log queries ----------------------------------------------------------------------------------------------------

OF_INSIGHTS = {"@timestamp", "@message", "@log"}


def logged(resources: dict[str, Any]) -> set[str]:
    """The fields of log lines: those that functions write, and those of the gateway's access log."""
    found = {"timestamp", "level", "message", "trace", "wrote.0", "import_id", "repeats", "error", "code", "at"}
    for path in (ROOT / "realtime").rglob("*.py"):
        for call in re.findall(r"\blog\(\s*\n?(.*?)\n?\s*\)\n", path.read_text("utf-8"), re.DOTALL):
            found |= set(re.findall(r"(?:^|[\s(,])(\w+)=", call))
    found |= set(re.findall(r'"(entity|by|message_id)":', (ROOT / "realtime/inbound/service.py").read_text("utf-8")))
    for stage in (r for r in resources.values() if r["Type"] == "AWS::ApiGateway::Stage"):
        found |= set(json.loads(stage["Properties"]["AccessLogSetting"]["Format"]))
    return found


def test_every_query_asks_groups_and_fields_that_are_there(resources: dict[str, Any]) -> None:
    groups = {
        r["Properties"]["LogGroupName"]["Fn::Sub"]
        for r in resources.values()
        if r["Type"] == "AWS::Logs::LogGroup" and "Fn::Sub" in (r["Properties"]["LogGroupName"] or {})
    }
    fields = logged(resources)
    queries = {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::Logs::QueryDefinition"}
    assert len(queries) == 9
    for name, query in queries.items():
        assert {g["Fn::Sub"] for g in query["LogGroupNames"]} <= groups, name
        text = re.sub(r"'[^']*'", "", query["QueryString"])
        made = set(re.findall(r" as (\w+)", text))
        functions = {
            "count",
            "pct",
            "stats",
            "filter",
            "fields",
            "sort",
            "limit",
            "ispresent",
            "like",
            "in",
            "and",
            "or",
        }
        words = set(re.findall(r"[@a-z][\w.]*", text)) - functions - {"by", "as", "asc", "desc"}
        assert words - fields - made - OF_INSIGHTS == set(), name
        title = query["Name"]["Fn::Sub"].rpartition("/")[2]
        assert f"*{title}*" in " ".join(PAGE.split()), title
