"""The template for environments other than the laptop's, with the mappings and rules that the laptop does without."""

from __future__ import annotations

import pytest

from local import deploy
from tests.support.emulated import emulated
from tests.support.laptop import Laptop

pytestmark = pytest.mark.stack

NAME = "gavel-prod"
NOT_ON_LAPTOPS = {
    "RelayMapping", "FanoutMapping", "RelayGivenUpRule", "FanoutGivenUpRule", "AlertSubscription", "RelayNoticesFail",
    "FanoutNoticesFail", "FirehoseLogStreambids",
}  # fmt: skip


def test_what_production_gets_can_be_deployed(laptop: Laptop) -> None:
    cloudformation = laptop.aws.client("cloudformation")
    (local,) = cloudformation.describe_stacks(StackName=deploy.STACK_NAME)["Stacks"]
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in local["Parameters"]}
    parameters |= {"Environment": "prod", "AlertEmail": "on-call@gavel.example", "Mfa": "ON", "Firewall": "OFF"}
    template = emulated(deploy.TEMPLATE.read_text(encoding="utf-8"))
    try:
        outputs = deploy.deploy_stack(laptop.aws, template, parameters, lambda *what: None, name=NAME)
        assert outputs["TableName"] == NAME
        assert outputs["ApiUrl"].startswith("https://")
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=NAME)
        made = {r["LogicalResourceId"] for page in pages for r in page["StackResourceSummaries"]}
        assert made >= NOT_ON_LAPTOPS
        table = laptop.aws.client("dynamodb").describe_table(TableName=NAME)["Table"]
        assert table["DeletionProtectionEnabled"] is True
        (mapping,) = (
            m
            for m in laptop.aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]
            if m["FunctionArn"].endswith(":gavel-prod-relay:live")
        )
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["MaximumRetryAttempts"] == 3
    finally:  # its mappings would go on reading
        cloudformation.delete_stack(StackName=NAME)
