"""Topic, queues and rules: whether alerts reach somebody, and what fails is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator

from botocore.exceptions import ClientError

from ops.dead_letters import QUEUES
from ops.doctor.findings import DEPLOY, Finding, Patient

RETENTION_SECONDS = 1_209_600  # 14 days


def topic(patient: Patient) -> Iterator[Finding]:
    """The topic of alerts, and who hears of them."""
    sns, name = patient.client("sns"), patient.name("alerts")
    topics = [t["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for t in page["Topics"]]
    arn = next((arn for arn in topics if arn.endswith(f":{name}")), None)
    if arn is None:
        yield Finding(f"topic {name}", "that it is there", "none", DEPLOY)
        return
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
    subscriptions = [s["SubscriptionArn"] for page in pages for s in page["Subscriptions"]]
    confirmed = [s for s in subscriptions if s.startswith("arn:")]
    if patient.on_aws and not confirmed:
        waiting = len(subscriptions)
        yield Finding(
            f"subscriptions of {name}",
            "at least one that is confirmed",
            f"{waiting} that wait for their confirmation" if waiting else "none",
            "Deploy with AlertEmail and confirm the mail, or subscribe an incident service: nobody hears of alerts.",
        )


def queues(patient: Patient) -> Iterator[Finding]:
    """Queues, where their letters go, and how long they are kept."""
    sqs = patient.client("sqs")

    def attributes(name: str) -> dict[str, str] | None:
        try:
            url = sqs.get_queue_url(QueueName=patient.name(name))["QueueUrl"]
        except ClientError as error:
            if "NonExistentQueue" in error.response["Error"]["Code"]:
                return None
            raise
        found: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return found

    for queue in QUEUES:
        letters = f"{queue}-dead-letters"
        found = attributes(letters)
        if found is None:
            yield Finding(f"queue {patient.name(letters)}", "that it is there", "none", DEPLOY)
        elif int(found.get("MessageRetentionPeriod", 0)) < RETENTION_SECONDS:
            days = int(found.get("MessageRetentionPeriod", 0)) / 86_400
            yield Finding(f"retention of {patient.name(letters)}", "14 days", f"{days:.1f} days", DEPLOY)
    for queue in ("inbound", "tracking"):
        found = attributes(queue)
        if found is None:
            yield Finding(f"queue {patient.name(queue)}", "that it is there", "none", DEPLOY)
            continue
        target = json.loads(found.get("RedrivePolicy") or "{}").get("deadLetterTargetArn", "")
        wanted = patient.name(f"{queue}-dead-letters")
        if not target.endswith(f":{wanted}"):
            do = f"{DEPLOY} Until then a message that fails for good is lost after 14 days."
            yield Finding(f"redrive policy of {patient.name(queue)}", wanted, target or "none", do)


def rules(patient: Patient) -> Iterator[Finding]:
    """Rules of EventBridge that were switched off."""
    events = patient.client("events")
    for bus in ("default", f"gavel-{patient.environment.name}"):
        found = events.list_rules(EventBusName=bus, NamePrefix=f"gavel-{patient.environment.name}-")["Rules"]
        for rule in found:
            if rule.get("State") != "ENABLED":
                do = "Enable it (EventBridge, rules): what it hands on is not handed on."
                yield Finding(f"rule {rule['Name']}", "ENABLED", rule.get("State", "unknown"), do)
