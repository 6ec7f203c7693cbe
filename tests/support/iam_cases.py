"""Questions to evaluators of IAM policies: the same in every run. An evaluator that is not ours answered them once.

`python -m tests.support.iam_cases` prints them, one a line. The answers in `iam_answers.json` are those of
@cloud-copilot/iam-simulate (npm), by the program that the test beside them names; it is no dependency of the project.
"""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/gavel-prod-runs"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
COUNT = 600
Case = dict[str, Any]

_REQUESTS = [
    ("s3:GetObject", "arn:aws:s3:::gavel-prod-data/landing/a.parquet"),
    ("s3:PutObject", "arn:aws:s3:::gavel-prod-data/erasures/1[2]"),
    ("s3:ListBucket", "arn:aws:s3:::gavel-prod-data"),
    ("kms:Decrypt", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"),
    ("kms:Sign", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/2"),
    ("sqs:SendMessage", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:gavel-prod-inbound"),
    ("dynamodb:GetItem", f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/gavel-prod"),
]
_ACTIONS = ["*", "s3:*", "S3:getobject", "s3:Get*", "s3:PutObject", "kms:*", "kms:Decrypt", "KMS:sign",
    "sqs:Send*", "dynamodb:?etItem", "s3:List*"]  # fmt: skip
_RESOURCES = ["*", "arn:aws:s3:::gavel-*", "arn:aws:s3:::gavel-prod-data", "arn:aws:s3:::gavel-prod-data/*",
    "arn:aws:s3:::gavel-prod-data/erasures/1[2]", "arn:aws:s3:::gavel-prod-data/erasures/?[2]",
    "arn:aws:s3:::gavel-${aws:PrincipalTag/environment}-data/*", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/*",
    f"arn:aws:kms:*:{ACCOUNT}:key/1", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:gavel-prod-*",
    f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/gavel-PROD",
    f"arn:aws:dynamodb:*:{ACCOUNT}:table/gavel-prod"]  # fmt: skip
_CONDITIONS: list[dict[str, dict[str, Any]]] = [
    {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "us-east-1"]}},
    {"StringNotEquals": {"aws:requestedregion": ["us-east-1", "us-west-2"]}},
    {"StringEqualsIfExists": {"aws:PrincipalTag/environment": "prod"}},
    {"StringNotEqualsIfExists": {"aws:PrincipalTag/environment": ["dev", "test"]}},
    {"StringLike": {"aws:PrincipalTag/environment": "pr?d*"}},
    {"StringNotLike": {"aws:PrincipalTag/environment": "d*"}},
    {"StringEqualsIgnoreCase": {"aws:PrincipalTag/environment": "PROD"}},
    {"Null": {"aws:PrincipalTag/environment": "true"}},
    {"Null": {"aws:PrincipalTag/environment": "false"}},
    {"Bool": {"aws:SecureTransport": "false"}},
    {"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}},
    {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/gavel-*"}},
    {"ArnEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/gavel-prod-ru?s"]}},
    {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/administrator"}},
    {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}},
    {"NumericGreaterThanEqualsIfExists": {"aws:MultiFactorAuthAge": "3600"}},
    {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}},
    {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "203.0.113.7/32"]}},
    {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    {"ForAllValues:StringEquals": {"aws:TagKeys": ["application", "environment"]}},
    {"ForAnyValue:StringEquals": {"aws:TagKeys": ["environment"]}},
    {"ForAllValues:StringNotEquals": {"aws:TagKeys": ["owner"]}},
    {"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["application"]}},
    {"ForAnyValue:StringLike": {"aws:TagKeys": "env*"}},
    {"StringEquals": {"aws:PrincipalTag/environment": "${aws:RequestedRegion}"}},
    {"StringEquals": {"aws:RequestedRegion": "${aws:PrincipalTag/region, 'eu-west-1'}"}},
    {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}, "Null": {"aws:TagKeys": "true"}},
]
_CONTEXT: dict[str, list[Any]] = {
    "aws:RequestedRegion": ["eu-west-1", "us-east-1", "us-west-2"],
    "aws:PrincipalTag/environment": ["prod", "PROD", "dev", "pr*d"],
    "aws:SecureTransport": ["true", "false"],
    "aws:MultiFactorAuthPresent": ["true", "false"],
    "aws:MultiFactorAuthAge": ["60", "3600"],
    "aws:CurrentTime": ["2025-06-01T00:00:00Z", "2026-06-01T00:00:00Z"],
    "aws:SourceIp": ["10.1.2.3", "203.0.113.7"],
    "aws:TagKeys": [["application"], ["application", "environment"], ["owner"]],
}


def cases() -> list[Case]:
    """All questions. `boundary` and `of_resource` are None for none."""
    random = Random(7)
    return [_case(random) for _ in range(COUNT)]


def _case(random: Random) -> Case:
    wanted = random.choice(_REQUESTS)
    context = {key: random.choice(values) for key, values in _CONTEXT.items() if random.random() < 0.6}
    context["aws:PrincipalArn"] = ROLE
    boundary = [_statement(random, wanted) for _ in range(2)] if random.random() < 0.3 else None
    of_resource = None
    if wanted[0].startswith("kms:") or random.random() < 0.3:
        who = [random.choice([ROLE, ROOT, ROOT]) for _ in range(2)]
        of_resource = [{**_statement(random, wanted), "Principal": {"AWS": one}} for one in who]
    identity = [_statement(random, wanted) for _ in range(random.randint(1, 3))]
    parts = {"identity": identity, "boundary": boundary, "of_resource": of_resource}
    return {"action": wanted[0], "resource": wanted[1], "context": context, **parts}


def _statement(random: Random, wanted: tuple[str, str]) -> dict[str, Any]:
    """A statement that is often about what is wanted, so that conditions decide."""
    effect = "Deny" if random.random() < 0.2 else "Allow"
    near = random.random() < 0.7
    what = "NotAction" if not near and random.random() < 0.3 else "Action"
    on = "NotResource" if not near and random.random() < 0.3 else "Resource"
    service = wanted[0].partition(":")[0]
    actions = [a for a in _ACTIONS if not near or a == "*" or a.lower().startswith(service)]
    resources = [r for r in _RESOURCES if not near or r == "*" or f":{service}:" in r]
    said: dict[str, Any] = {"Effect": effect, what: random.choice(actions), on: random.choice(resources)}
    return {**said, "Condition": random.choice(_CONDITIONS)} if random.random() < 0.6 else said


if __name__ == "__main__":
    for case in cases():
        sys.stdout.write(json.dumps(case) + "\n")
