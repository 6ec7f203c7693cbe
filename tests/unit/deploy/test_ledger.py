"""No right is widened unseen, and resources are open to AWS's services alone, each for what is ours.

Calls are recorded of functions and tasks; who deploys, who looks and what AWS itself may do to a resource makes no call
here. So all rights of all templates are written down once more, as production has them, and a change shows there.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.iam import listed
from tests.support.ledger import lines, stacks, statements, text

LEDGER = Path(__file__).with_name("rights.txt")


def test_every_right_is_in_the_ledger() -> None:
    written = LEDGER.read_text("utf-8").splitlines()
    change = [
        line
        for line in difflib.unified_diff(written, lines(), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    assert change == [], (
        "if this is what they are to do: python -m tests.support.ledger > tests/unit/deploy/rights.txt, and say in the "
        "commit what it is needed for"
    )


MAY = {
    ("AWS::KMS::Key", "cloudtrail.amazonaws.com"): {"kms:DescribeKey", "kms:GenerateDataKey*"},
    ("AWS::KMS::Key", "cloudwatch.amazonaws.com"): {"kms:Decrypt", "kms:GenerateDataKey"},
    ("AWS::KMS::Key", "events.amazonaws.com"): {"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"},
    ("AWS::KMS::Key", "logs.REGION.amazonaws.com"): {"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt",
     "kms:GenerateDataKey", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:ReEncryptFrom", "kms:ReEncryptTo"},
    ("AWS::S3::BucketPolicy", "cloudfront.amazonaws.com"): {"s3:GetObject", "s3:ListBucket"},
    ("AWS::S3::BucketPolicy", "cloudtrail.amazonaws.com"): {"s3:GetBucketAcl", "s3:PutObject"},
    ("AWS::S3::BucketPolicy", "logdelivery.elasticloadbalancing.amazonaws.com"): {"s3:PutObject"},
    ("AWS::SNS::TopicPolicy", "cloudwatch.amazonaws.com"): {"sns:Publish"},
    ("AWS::SNS::TopicPolicy", "events.amazonaws.com"): {"sns:Publish"},
    ("AWS::SQS::QueuePolicy", "events.amazonaws.com"): {"sqs:SendMessage"},
}  # fmt: skip
"""What services may do to what is ours, by the kind of the policy: what their guides say that they need."""
UNBOUND = {
    "pipeline.AccessLogsPolicy BalancerWrites": "the load balancers' guide has no condition; the path is the account's",
    "realtime.Key.KeyPolicy EventsLookAtTheKey": "EventBridge looks whether it can use the key, and no more",
}
"""Statements that name no account of ours in a condition, with what bounds them instead."""


def given() -> list[tuple[str, str, dict[str, Any]]]:
    """What policies of resources allow, with the kind of resource. Whom roles trust, other tests say."""
    types = {f"{stack}.{n}": r["Type"] for stack, resources in stacks().items() for n, r in resources.items()}
    found = [
        (where, types[".".join(re.split(r"[. ]", where)[:2])], dict(statement))
        for where, statement in statements()
        if "Principal" in statement and statement["Effect"] == "Allow" and ".AssumeRolePolicyDocument" not in where
    ]
    assert len(found) > 10
    return found


def test_services_may_do_to_our_resources_what_they_need_and_nobody_else_may() -> None:
    found: dict[tuple[str, str], set[str]] = {}
    for where, kind, statement in given():
        who = statement["Principal"]
        if text(who.get("AWS", "")) == "arn:aws:iam::ACCOUNT:root":
            assert kind == "AWS::KMS::Key", f"{where}: only a key leaves it to the account who may use it"
            continue
        assert set(who) == {"Service"}, f"{where}: expected services, found {who}"
        for service in listed(who["Service"]):
            found.setdefault((kind, text(service)), set()).update(listed(statement["Action"]))
    assert found == MAY


@pytest.mark.parametrize("known", [True, False])
def test_a_service_comes_from_our_account_or_with_our_resource(known: bool) -> None:
    """So that another customer of the service cannot have it do so for him."""
    for where, _, statement in given():
        if "Service" in statement["Principal"] and (where in UNBOUND) is known:
            condition = text(statement.get("Condition", {}))
            ours = "ACCOUNT" in condition or "${" in condition  # by its ARN
            assert ours is not known, f"{where}: {statement.get('Condition')}"
    assert set(UNBOUND) <= {where for where, _, _ in given()}
