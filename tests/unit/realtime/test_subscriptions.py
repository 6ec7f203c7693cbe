"""Filters of the template pass what they should: of the stream to the fan-out, of the bus to the sample subscriber."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.events.models import EventPattern

from contracts import Contracts
from contracts.item import POINTER
from realtime.fanout.events import SOURCE, events_of
from realtime.tracking.notices import STATUSES, notice_of

Sample = Callable[[str], dict[str, Any]]
EVENTS = ("stream_insert", "stream_modify", "stream_marked_deleted", "stream_remove", "stream_ttl_removal")


def test_the_streams_filter_passes_exactly_what_gives_an_event(
    template: dict[str, Any], contracts: Contracts, sample: Sample
) -> None:
    filters = template["Resources"]["FanoutMapping"]["Properties"]["FilterCriteria"]["Filters"]
    patterns = [EventPattern.load(f["Pattern"]) for f in filters]
    records = [record for name in EVENTS for record in sample(name)["Records"]]
    (removed,) = sample("stream_remove")["Records"]
    removed["dynamodb"]["OldImage"]["_deleted"] = {"BOOL": True}
    pointers = [json.loads(json.dumps(r).replace('"S": "bids"', f'"S": "{POINTER}"')) for r in records]
    records += [removed, *pointers]
    passed = [n for n, record in enumerate(records) if any(p.matches_event(record) for p in patterns)]
    assert passed == [event.position for event in events_of(records, contracts).events]
    assert len(passed) == len(EVENTS)


def test_the_subscribers_rule_passes_exactly_what_asks_for_a_notice(template: dict[str, Any]) -> None:
    pattern = EventPattern.load(json.dumps(template["Resources"]["TrackingRule"]["Properties"]["EventPattern"]))
    for entity in ("shipments", "orders"):
        for operation in ("insert", "modify", "remove", "expire"):
            for changed in (["cost", "status"], ["cost"], []):
                for status in ("packed", *STATUSES):
                    values = {"shipment_id": "s", "order_id": "o", "status": status}
                    detail = {"operation": operation, "changed": changed, "version": "1", "values": values}
                    event = {"source": SOURCE, "detail-type": entity, "detail": detail}
                    wanted = entity == "shipments" and notice_of(event) is not None
                    assert pattern.matches_event(event) is wanted, event


def test_an_alert_reports_what_a_streams_mapping_gives_up(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    plain = {name: r for name, r in resources.items() if not name.startswith("Fn::")}
    mappings = {n for n, r in plain.items() if r["Properties"].get("EventSourceArn") == {"GetAtt": "Table.StreamArn"}}
    assert mappings == {"RelayMapping", "FanoutMapping"}
    for mapping in mappings:
        rule = resources[f"{mapping.removesuffix('Mapping')}GivenUpRule"]["Properties"]
        (key,) = rule["EventPattern"]["detail"]["object"]["key"]
        assert key == {"prefix": {"Sub": f"aws/lambda/${{{mapping}}}/"}}, "where AWS keeps what this mapping gave up"
        (target,) = rule["Targets"]
        assert target["Arn"] == {"Ref": "AlertTopic"}
        text = target["InputTransformer"]["InputTemplate"]["Sub"]
        function = mapping.removesuffix("Mapping").lower()
        assert f"gavel-${{Environment}}-{function}" in text
        assert {"<time>", "<bucket>", "<key>"} <= set(text.replace("/", " ").replace(";", " ").split())
    assert resources["DataBucket"]["Properties"]["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }
