"""The tests' evaluator of IAM policies decides as another one does, as AWS's documentation says, and never guesses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import iam_cases
from tests.support.iam import ALWAYS, Request, Rights, UnknownRule, Value, allows, permits
from tests.support.iam_cases import ACCOUNT, ROLE, ROOT, Case

SUPPORT = Path(iam_cases.__file__).parent
OBJECT = "arn:aws:s3:::gavel-prod-data/landing/a"
CASES = iam_cases.cases()


def answer(case: Case) -> bool:
    rights = Rights(case["identity"], case["boundary"], None, case["of_resource"], ROLE)
    absent: dict[str, Value] = dict.fromkeys(ALWAYS - {key.lower() for key in case["context"]})
    return permits(rights, Request(case["action"], case["resource"], {**absent, **case["context"]}))


def test_it_decides_as_an_evaluator_that_is_not_ours() -> None:
    recorded = json.loads((SUPPORT / "iam_answers.json").read_text("utf-8"))
    questions = "\n".join(json.dumps(case) for case in CASES)
    assert hashlib.sha256(questions.encode()).hexdigest() == recorded["questions"], (
        "other questions need other answers: see tests/support/iam_cases.py"
    )
    answers = "".join(recorded["answers"])
    assert min(answers.count("+"), answers.count("-")) > 100
    assert [i for i, case in enumerate(CASES) if answer(case) != (answers[i] == "+")] == []


def said(effect: str = "Allow", **parts: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "s3:GetObject", "Resource": OBJECT, **parts}


def holds(condition: dict[str, Any], **context: Any) -> bool:
    """Whether a condition holds of a request: with it, an allowance counts, and a denial does."""
    known = {name.replace("__", ":"): value for name, value in context.items()}
    request = Request("s3:GetObject", OBJECT, known)
    allowed = allows([said(Condition=condition)], request)
    assert allows([said(), said("Deny", Condition=condition)], request) != allowed
    return allowed


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        # a key that is not in the request: "Condition operators", IAM User Guide
        ({"StringEquals": {"aws:ResourceTag/environment": "prod"}}, {}, False),
        ({"StringNotEquals": {"aws:ResourceTag/environment": "prod"}}, {}, True),
        ({"StringNotLike": {"aws:ResourceTag/environment": "p*"}}, {}, True),
        ({"ArnNotEquals": {"aws:PrincipalArn": ROLE}}, {"aws__PrincipalArn": None}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {}, True),
        ({"Bool": {"aws:MultiFactorAuthPresent": "false"}}, {}, False),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}, {}, True),
        ({"StringEqualsIfExists": {"aws:SourceAccount": "1"}}, {}, True),
        ({"StringEqualsIfExists": {"aws:SourceAccount": "1"}}, {"aws__SourceAccount": "2"}, False),
        ({"Null": {"aws:ResourceTag/environment": "true"}}, {}, True),
        ({"Null": {"aws:ResourceTag/environment": False}}, {"aws__ResourceTag/environment": "dev"}, True),
        # several values: none at all satisfies "all of them", and never "any of them"
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a"]}}, {}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, {"aws__TagKeys": []}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}, {"aws__TagKeys": []}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, {"aws__TagKeys": ["a", "b"]}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}, "Null": {"aws:TagKeys": "false"}}, {}, False),
        # all keys of all operators; one of the values, and none of them where it negates
        ({"StringEquals": {"aws:ResourceTag/a": "1", "aws:ResourceTag/b": "1"}}, {"aws__ResourceTag/a": "1"}, False),
        ({"StringNotEquals": {"aws:RequestedRegion": ["a", "b"]}}, {"aws__RequestedRegion": "b"}, False),
        # keys in any case, values as they are
        ({"StringEquals": {"AWS:resourcetag/ENVIRONMENT": "prod"}}, {"aws__ResourceTag/environment": "prod"}, True),
        ({"StringEquals": {"aws:ResourceTag/environment": "Prod"}}, {"aws__ResourceTag/environment": "prod"}, False),
        ({"StringEquals": {"aws:ResourceTag/environment": "pr*"}}, {"aws__ResourceTag/environment": "prod"}, False),
        # each part of an ARN by itself
        ({"ArnLike": {"aws:SourceArn": "arn:aws:sqs:*:*:a"}}, {"aws__SourceArn": "arn:aws:sqs:eu:1:a"}, True),
        ({"ArnLike": {"aws:SourceArn": "arn:aws:*:a"}}, {"aws__SourceArn": "arn:aws:sqs:eu:1:a"}, False),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:sqs:*:1:a*"}}, {"aws__SourceArn": "arn:aws:sqs:eu:1:ab"}, True),
        ({"ArnLike": {"aws:SourceArn": "a*"}}, {"aws__SourceArn": "abc"}, False),
        ({"StringLike": {"aws:SourceArn": "arn:aws:*:a"}}, {"aws__SourceArn": "arn:aws:sqs:eu:1:a"}, True),
        # variables: a value is no pattern, and what has none is like nothing
        ({"StringLike": {"s3:prefix": "${aws:username}/*"}}, {"s3__prefix": "ann/x", "aws__username": "ann"}, True),
        ({"StringLike": {"s3:prefix": "${aws:username}/*"}}, {"s3__prefix": "ann/x", "aws__username": "*"}, False),
        ({"StringLike": {"s3:prefix": "${aws:username}/*"}}, {"s3__prefix": "/x"}, False),
        ({"StringEquals": {"s3:prefix": "${*}"}}, {"s3__prefix": "*"}, True),
    ],
)  # fmt: skip
def test_a_condition_is_as_the_documentation_says(
    condition: dict[str, Any], context: dict[str, Any], expected: bool
) -> None:
    assert holds(condition, **context) is expected


@pytest.mark.parametrize(
    ("statements", "action", "resource", "expected"),
    [
        ([said(Action="S3:getOBJECT")], "s3:GetObject", OBJECT, True),
        ([said(Resource=OBJECT.replace("landing", "Landing"))], "s3:GetObject", OBJECT, False),
        ([said(Resource="arn:aws:s3:::gavel-[p]rod-data/*")], "s3:GetObject", OBJECT, False),
        ([said(Resource="arn:aws:s3:::gavel-?rod-data/*")], "s3:GetObject", OBJECT, True),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], "iam:CreateUser", "*", True),
        ([{"Effect": "Allow", "NotAction": ["s3:Put*", "iam:*"], "Resource": "*"}], "iam:CreateUser", "*", False),
        ([said(), {"Effect": "Deny", "NotAction": "iam:Get*", "Resource": OBJECT}], "s3:GetObject", OBJECT, False),
        ([said(), {"Effect": "Deny", "Action": "*", "NotResource": ["arn:aws:s3:::b/*", OBJECT]}], "s3:GetObject",
         OBJECT, True),
        ([said(), {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::b/*"}], "s3:GetObject", OBJECT, False),
        ([said(Resource="arn:aws:s3:::gavel-${aws:PrincipalTag/environment}-data/*")], "s3:GetObject", OBJECT, False),
        ([], "s3:GetObject", OBJECT, False),
    ],
)  # fmt: skip
def test_a_statement_is_about_what_it_names(
    statements: list[dict[str, Any]], action: str, resource: str, expected: bool
) -> None:
    assert allows(statements, Request(action, resource)) is expected


ALL = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
READS = [said()]
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"


def of_key(principal: Any, effect: str = "Allow") -> list[dict[str, Any]]:
    return [{"Effect": effect, "Principal": principal, "Action": "kms:Decrypt", "Resource": "*"}]


@pytest.mark.parametrize(
    ("rights", "action", "resource", "expected"),
    [
        (Rights(ALL, boundary=READS), "s3:GetObject", OBJECT, True),
        (Rights(ALL, boundary=READS), "s3:PutObject", OBJECT, False),
        (Rights(ALL, boundary=[]), "s3:GetObject", OBJECT, False),
        (Rights(ALL, boundary=ALL, session=READS), "s3:PutObject", OBJECT, False),
        (Rights([], boundary=ALL), "s3:GetObject", OBJECT, False),
        # a bucket of the account may allow by itself, but not beyond a boundary; nor does it matter whom else it names
        (Rights([], of_resource=[said(Principal={"AWS": ROLE})], principal=ROLE), "s3:GetObject", OBJECT, True),
        (Rights([], boundary=[], of_resource=[said(Principal={"AWS": ROLE})], principal=ROLE), "s3:GetObject", OBJECT,
         False),
        (Rights([], of_resource=[said(Principal={"AWS": ROOT})], principal=ROLE), "s3:GetObject", OBJECT, False),
        (Rights([], of_resource=[said(Principal={"Service": "s3.amazonaws.com"})], principal=ROLE), "s3:GetObject",
         OBJECT, False),
        (Rights(ALL, of_resource=[said("Deny", Principal="*")], principal=ROLE), "s3:GetObject", OBJECT, False),
        # a key has to allow it: by name, or by leaving it to the account's policies
        (Rights(ALL, of_resource=[], principal=ROLE), "kms:Decrypt", KEY, False),
        (Rights(ALL, of_resource=of_key({"AWS": ROOT}), principal=ROLE), "kms:Decrypt", KEY, True),
        (Rights([], of_resource=of_key({"AWS": ROOT}), principal=ROLE), "kms:Decrypt", KEY, False),
        (Rights([], of_resource=of_key({"AWS": ROLE}), principal=ROLE), "kms:Decrypt", KEY, True),
        (Rights(ALL, of_resource=of_key({"AWS": ROLE}, "Deny"), principal=ROLE), "kms:Decrypt", KEY, False),
        (Rights(ALL, of_resource=of_key({"Service": "sns.amazonaws.com"}), principal=ROLE), "kms:Decrypt", KEY, False),
    ],
)  # fmt: skip
def test_boundaries_and_policies_of_resources_count(rights: Rights, action: str, resource: str, expected: bool) -> None:
    assert permits(rights, Request(action, resource)) is expected


@pytest.mark.parametrize(
    "statement",
    [
        said(Condition={"StringMatches": {"aws:username": "a"}}),
        said(Condition={"NullIfExists": {"aws:username": "true"}}),
        said(Condition={"ForSomeValues:StringEquals": {"aws:TagKeys": "a"}}),
        said(Condition={"StringEquals": {"aws:usernam": "a"}}),
        said(Condition={"StringEquals": {"made:up": "a"}}),
        said(Condition={"StringEquals": {"aws:username": "${made:up}"}}),
        said(Condition={"Bool": {"aws:SecureTransport": "no"}}),
        said(Resource="arn:aws:s3:::${made:up}"),
        said(Effect="allow"),
        said(NotAction="s3:*"),
        said(NotResource="*"),
        said(Resources="*"),
        {"Effect": "Allow", "Resource": "*"},
        {"Effect": "Allow", "Action": "*"},
    ],
    ids=str,
)
def test_what_it_does_not_know_raises(statement: dict[str, Any]) -> None:
    known = {"aws:username": "a", "aws:SecureTransport": "true", "aws:TagKeys": ["a"]}
    with pytest.raises(UnknownRule):
        allows([*ALL, statement], Request("s3:GetObject", OBJECT, known))


@pytest.mark.parametrize("context", [{"aws:usernam": "a"}, {"aws:username": ["a", "b"]}])
def test_a_request_that_aws_does_not_make_raises(context: dict[str, Any]) -> None:
    with pytest.raises(UnknownRule):
        allows([said(Condition={"StringEquals": {"aws:username": "a"}})], Request("s3:GetObject", OBJECT, context))


@given(case=st.sampled_from(CASES), other=st.sampled_from(CASES))
def test_what_takes_away_never_gives(case: Case, other: Case) -> None:
    allowed = answer(case)
    denials = [{**s, "Effect": "Deny"} for s in other["identity"]]
    assert answer({**case, "identity": case["identity"] + denials}) <= allowed
    if case["boundary"] is None:
        assert answer({**case, "boundary": other["identity"]}) <= allowed
    more = [s for s in other["identity"] if s["Effect"] == "Allow"]
    assert answer({**case, "identity": case["identity"] + more}) >= allowed
    assert answer({**case, "action": case["action"].upper()}) == allowed
    assert answer({**case, "context": {k.upper(): v for k, v in case["context"].items()}}) == allowed
