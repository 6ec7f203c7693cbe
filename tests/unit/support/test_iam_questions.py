"""Questions to the tests' evaluator that somebody who doubts it would put, with the answers of AWS's documentation.

Source: IAM User Guide ("JSON policy elements", "Policy evaluation logic", "Permissions boundaries", "AWS JSON policy
elements: Principal") and KMS Developer Guide. @cloud-copilot/iam-simulate answered those that it knows as it is written
here, but where a comment says otherwise. Where the documentation leaves an answer open, the evaluator has to raise.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.iam import Request, Rights, Statement, UnknownRule, Value, allows, permits
from tests.support.iam_cases import ACCOUNT, ROLE, ROOT

OTHER = "999999999999"
BUCKET = "arn:aws:s3:::gavel-prod-data"
OBJECT = f"{BUCKET}/landing/a"
TABLE = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/gavel-prod"
TASK = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task/gavel-prod/1"
KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"
QUEUE = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:inbound"
QUEUE_OF_OTHER = f"arn:aws:sqs:eu-west-1:{OTHER}:inbound"
KEY_OF_OTHER = f"arn:aws:kms:eu-west-1:{OTHER}:key/1"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/gavel-prod-runs/a"
Context = dict[str, Value]


def may(action: str | list[str] = "*", resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def no(action: str | list[str] = "*", resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {**may(action, resource, **more), "Effect": "Deny"}


def when(**operators: Any) -> dict[str, Any]:
    """A condition; `ForAllValues:` and its like are written with `__`."""
    return {"Condition": {name.replace("__", ":"): keys for name, keys in operators.items()}}


def but(element: str, value: Any, effect: str = "Allow") -> dict[str, Any]:
    """A statement about all but something."""
    other = "Resource" if element == "NotAction" else "Action"
    return {"Effect": effect, element: value, other: "*"}


def of(who: Any, action: str = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    """A statement of a resource's policy."""
    return {"Effect": effect, "Principal": who, "Action": action, "Resource": "*", **more}


ENVIRONMENT = "aws:PrincipalTag/environment"
PROD: Context = {ENVIRONMENT: "prod"}
OWN = "arn:aws:s3:::gavel-${aws:PrincipalTag/environment}-data/*"
TAGS = "aws:TagKeys"

SINGLE: list[tuple[str, list[Statement], str, str, Context, bool]] = [
    # NotAction and NotResource: all but what they name, and no Deny of it
    ("NotAction allows another service", [but("NotAction", "s3:*")], "sqs:SendMessage", QUEUE, {}, True),
    ("NotAction does not allow what it names", [but("NotAction", "s3:*")], "s3:GetObject", OBJECT, {}, False),
    ("NotAction denies no more than it leaves out", [but("NotAction", "s3:*"), may("s3:GetObject")], "s3:GetObject",
     OBJECT, {}, True),
    ("Deny with NotAction spares what it names in any case", [may(), but("NotAction", "S3:GET*", "Deny")],
     "s3:GetObject", OBJECT, {}, True),
    ("NotAction with several spares each", [may(), but("NotAction", ["sqs:*", "s3:GetObject"], "Deny")],
     "s3:GetObject", OBJECT, {}, True),
    ("NotAction with several denies what none is", [may(), but("NotAction", ["sqs:*", "s3:GetObject"], "Deny")],
     "s3:PutObject", OBJECT, {}, False),
    ("NotResource denies what has no name", [may(), but("NotResource", OBJECT, "Deny")], "s3:ListAllMyBuckets", "*", {},
     False),
    ("NotResource with several spares each", [may(), but("NotResource", [f"{BUCKET}/b/*", OBJECT], "Deny")],
     "s3:GetObject", OBJECT, {}, True),
    ("a bucket is not its objects", [may("s3:*", f"{BUCKET}/*")], "s3:ListBucket", BUCKET, {}, False),
    ("an object is not its bucket", [may("s3:*", BUCKET)], "s3:GetObject", OBJECT, {}, False),
    # patterns: of actions in any case, of resources as written, over colons and slashes
    ("an action in any case", [may("S3:getobJECT")], "s3:GetObject", OBJECT, {}, True),
    ("? in an action is one character", [may("s3:Get?bject")], "s3:GetObject", OBJECT, {}, True),
    ("? in an action is not none", [may("s3:GetObject?")], "s3:GetObject", OBJECT, {}, False),
    ("a longer action is another one", [may("s3:GetObject")], "s3:GetObjectVersion", OBJECT, {}, False),
    ("a resource in another case is another one", [may("*", TABLE.replace("gavel", "Gavel"))], "dynamodb:GetItem",
     TABLE, {}, False),
    ("a star at the end spans colons", [may("*", "arn:aws:sqs:*")], "sqs:SendMessage", QUEUE, {}, True),
    ("a star spans slashes", [may("*", f"{BUCKET}/*a")], "s3:GetObject", OBJECT, {}, True),
    ("? is no slash less", [may("*", f"{BUCKET}/landing?a")], "s3:GetObject", OBJECT, {}, True),
    ("brackets are brackets", [may("*", f"{BUCKET}/[l]anding/a")], "s3:GetObject", OBJECT, {}, False),
    ("an index is not its table", [may("*", TABLE)], "dynamodb:Query", f"{TABLE}/index/seller", {}, False),
    # missing keys, by operator
    ("StringEquals lacks its key", [may(**when(StringEquals=PROD))], "s3:GetObject", OBJECT, {}, False),
    ("StringEqualsIfExists lacks its key", [may(**when(StringEqualsIfExists=PROD))], "s3:GetObject", OBJECT, {}, True),
    ("StringEqualsIfExists has another value", [may(**when(StringEqualsIfExists=PROD))], "s3:GetObject", OBJECT,
     {ENVIRONMENT: "dev"}, False),
    ("StringNotEquals lacks its key, so a Deny applies", [may(), no(**when(StringNotEquals=PROD))], "s3:GetObject",
     OBJECT, {}, False),
    ("BoolIfExists denies who has no second factor at all",
     [may(), no(**when(BoolIfExists={"aws:MultiFactorAuthPresent": "false"}))], "s3:GetObject", OBJECT, {}, False),
    ("Bool does not", [may(), no(**when(Bool={"aws:MultiFactorAuthPresent": "false"}))], "s3:GetObject", OBJECT, {},
     True),
    ("Bool as JSON writes it", [may(**when(Bool={"aws:SecureTransport": True}))], "s3:GetObject", OBJECT,
     {"aws:SecureTransport": "true"}, True),
    ("a text as JSON writes a truth", [may(**when(StringEquals={"aws:SecureTransport": True}))], "s3:GetObject", OBJECT,
     {"aws:SecureTransport": "true"}, True),
    ("Null true wants the key missing", [may(**when(Null={ENVIRONMENT: "true"}))], "s3:GetObject", OBJECT, PROD, False),
    ("Null false wants it there", [may(**when(Null={ENVIRONMENT: "false"}))], "s3:GetObject", OBJECT, PROD, True),
    ("NumericLessThan lacks its key", [may(**when(NumericLessThan={"aws:MultiFactorAuthAge": "60"}))], "s3:GetObject",
     OBJECT, {}, False),
    ("a day alone is its midnight in UTC", [may(**when(DateLessThan={"aws:CurrentTime": "2026-11-30"}))],
     "s3:GetObject", OBJECT, {"aws:CurrentTime": "2026-11-29T23:59:59Z"}, True),
    ("IPv6 is in no network of IPv4", [may(**when(IpAddress={"aws:SourceIp": "0.0.0.0/0"}))], "s3:GetObject", OBJECT,
     {"aws:SourceIp": "2001:db8::1"}, False),
    # several values
    ("ForAllValues holds of none", [may(**when(ForAllValues__StringEquals={TAGS: ["a"]}))], "s3:GetObject", OBJECT, {},
     True),
    ("ForAllValues holds of an empty list", [may(**when(ForAllValues__StringEquals={TAGS: ["a"]}))], "s3:GetObject",
     OBJECT, {TAGS: []}, True),
    # @cloud-copilot/iam-simulate takes an empty list for a key that is there; AWS says that its value must not be null
    ("Null false is not content with an empty list",
     [may(**when(ForAllValues__StringEquals={TAGS: ["a"]}, Null={TAGS: "false"}))], "s3:GetObject", OBJECT, {TAGS: []},
     False),
    ("ForAnyValue and not: one is another", [may(**when(ForAnyValue__StringNotEquals={TAGS: ["a"]}))], "s3:GetObject",
     OBJECT, {TAGS: ["a", "b"]}, True),
    ("ForAllValues and not: one is the same", [may(**when(ForAllValues__StringNotEquals={TAGS: ["a"]}))],
     "s3:GetObject", OBJECT, {TAGS: ["a", "b"]}, False),
    ("values in another case are others", [may(**when(ForAnyValue__StringEquals={TAGS: ["A"]}))], "s3:GetObject",
     OBJECT, {TAGS: ["a"]}, False),
    # variables
    ("a tag of who asks in a resource", [may("s3:GetObject", OWN)], "s3:GetObject", OBJECT, PROD, True),
    ("another's tag", [may("s3:GetObject", OWN)], "s3:GetObject", OBJECT, {ENVIRONMENT: "dev"}, False),
    ("a tag that is a star is a character", [may("s3:GetObject", OWN)], "s3:GetObject", OBJECT, {ENVIRONMENT: "*"},
     False),
    ("a default for a tag", [may("*", "arn:aws:s3:::gavel-${aws:PrincipalTag/environment, 'prod'}-data/*")],
     "s3:GetObject", OBJECT, {}, True),
    # @cloud-copilot/iam-simulate takes no request on a resource with a star
    ("${*} is a star as a character", [may("*", f"{BUCKET}/${{*}}")], "s3:GetObject", f"{BUCKET}/*", {}, True),
    ("${*} is nothing else", [may("*", f"{BUCKET}/${{*}}")], "s3:GetObject", OBJECT, {}, False),
    ("${?} and ${$} as characters", [may("*", f"{BUCKET}/${{?}}${{$}}")], "s3:GetObject", f"{BUCKET}/?$", {}, True),
    ("a variable's key in any case", [may("*", OWN.replace("PrincipalTag", "principaltag"))], "s3:GetObject", OBJECT,
     PROD, True),
    # ARNs, part by part; StringLike over all
    ("ArnLike compares six parts", [may(**when(ArnLike={"aws:SourceArn": "arn:aws:ecs:*:*:task/*"}))], "s3:GetObject",
     OBJECT, {"aws:SourceArn": TASK}, True),
    ("a star in a part stays in it", [may(**when(ArnLike={"aws:SourceArn": "arn:aws:ecs:*:task/*"}))], "s3:GetObject",
     OBJECT, {"aws:SourceArn": TASK}, False),
    ("the last part may have colons",
     [may(**when(ArnEquals={"aws:SourceArn": "arn:aws:logs:*:*:log-group:*:log-stream:?"}))], "s3:GetObject", OBJECT,
     {"aws:SourceArn": f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/gavel:log-stream:1"}, True),
    ("StringLike with ?", [may(**when(StringLike={ENVIRONMENT: "pr?d"}))], "s3:GetObject", OBJECT, PROD, True),
    ("StringEquals takes no ?", [may(**when(StringEquals={ENVIRONMENT: "pr?d"}))], "s3:GetObject", OBJECT, PROD, False),
    # encryption contexts: their keys in any case, their values as written (KMS Developer Guide, "Case sensitivity of
    # the encryption context condition"); @cloud-copilot/iam-simulate compares the keys as written
    ("a context's key in any case", [may(**when(StringEquals={"kms:EncryptionContext:APPNAME": "A"}))], "kms:Decrypt",
     KEY, {"kms:EncryptionContext:AppName": "A"}, True),
    ("a context's value as written", [may(**when(StringEquals={"kms:EncryptionContext:AppName": "a"}))], "kms:Decrypt",
     KEY, {"kms:EncryptionContext:AppName": "A"}, False),
    ("any encryption context", [may(**when(Null={"kms:EncryptionContextKeys": False}))], "kms:Decrypt", KEY, {}, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "action", "resource", "context", "expected"), [row[1:] for row in SINGLE], ids=[row[0] for row in SINGLE]
)
def test_it_answers_as_the_documentation_says(
    policy: list[Statement], action: str, resource: str, context: Context, expected: bool
) -> None:
    assert allows(policy, Request(action, resource, context)) is expected


ALL, READS = [may()], [may("s3:GetObject")]
HERE: Context = {"aws:PrincipalTag/a": "1"}
KNOWN = {"Condition": {"ArnEquals": {"aws:PrincipalArn": ROLE}}}

WEIGHED: list[tuple[str, Rights, str, str, bool]] = [
    # a boundary and a session policy: what all three allow
    ("all three allow", Rights(ALL, READS, READS), "s3:GetObject", OBJECT, True),
    ("the session lacks it", Rights(ALL, ALL, READS), "s3:PutObject", OBJECT, False),
    ("the boundary lacks it", Rights(ALL, READS, ALL), "s3:PutObject", OBJECT, False),
    ("an empty session policy", Rights(ALL, ALL, []), "s3:GetObject", OBJECT, False),
    ("a boundary's Deny", Rights(ALL, [*ALL, no("s3:Put*")]), "s3:PutObject", OBJECT, False),
    # policies of resources of one's own account
    ("a bucket names the role", Rights([], of_resource=[of({"AWS": ROLE})], principal=ROLE), "s3:GetObject", OBJECT,
     True),
    ("its session policy binds a role that is named",
     Rights([], session=[may("s3:PutObject")], of_resource=[of({"AWS": ROLE})], principal=ROLE), "s3:GetObject", OBJECT,
     False),
    ("a bucket names the account", Rights([], of_resource=[of({"AWS": ACCOUNT})], principal=ROLE), "s3:GetObject",
     OBJECT, False),
    ("another role and the account are named together: the account's policies decide",
     Rights([], of_resource=[of({"AWS": [f"{ROLE}-2", ROOT]})], principal=ROLE), "s3:GetObject", OBJECT, False),
    ("a bucket names everybody", Rights([], of_resource=[of("*")], principal=ROLE), "s3:GetObject", OBJECT, True),
    ("everybody by the key of the role is not bound by a boundary",
     Rights([], boundary=[may("sqs:*")], of_resource=[of("*", **KNOWN)], principal=ROLE), "s3:GetObject", OBJECT, True),
    ("but a boundary's Deny holds",
     Rights([], boundary=[no("s3:*")], of_resource=[of("*", **KNOWN)], principal=ROLE), "s3:GetObject", OBJECT, False),
    ("a bucket denies the account", Rights(ALL, of_resource=[of({"AWS": ROOT}, effect="Deny")], principal=ROLE),
     "s3:GetObject", OBJECT, False),
    ("a service that is named is nobody's role",
     Rights([], of_resource=[of({"Service": "s3.amazonaws.com"})], principal=ROLE), "s3:GetObject", OBJECT, False),
    ("a service that is named", Rights([], of_resource=[of({"Service": "sns.amazonaws.com"})],
     principal="sns.amazonaws.com"), "kms:Decrypt", KEY, True),
    ("another service", Rights([], of_resource=[of({"Service": "sns.amazonaws.com"})], principal="sqs.amazonaws.com"),
     "kms:Decrypt", KEY, False),
    # of another account: both have to allow it
    ("only one's own policy", Rights(ALL, of_resource=[], principal=ROLE), "sqs:SendMessage", QUEUE_OF_OTHER, False),
    ("no policy of the queue", Rights(ALL, principal=ROLE), "sqs:SendMessage", QUEUE_OF_OTHER, False),
    ("only the queue's", Rights([], of_resource=[of({"AWS": ROLE})], principal=ROLE), "sqs:SendMessage", QUEUE_OF_OTHER,
     False),
    ("both", Rights(ALL, of_resource=[of({"AWS": ROLE})], principal=ROLE), "sqs:SendMessage", QUEUE_OF_OTHER, True),
    ("both, and the queue leaves it to the account", Rights(ALL, of_resource=[of({"AWS": ROOT})], principal=ROLE),
     "sqs:SendMessage", QUEUE_OF_OTHER, True),
    ("another account's key leaves it to that account",
     Rights(ALL, of_resource=[of({"AWS": f"arn:aws:iam::{OTHER}:root"})], principal=ROLE), "kms:Decrypt", KEY_OF_OTHER,
     False),
    ("both, but for a boundary", Rights(ALL, READS, of_resource=[of({"AWS": ROLE})], principal=ROLE), "sqs:SendMessage",
     QUEUE_OF_OTHER, False),
    # keys
    ("a key that denies beats its account", Rights(ALL, of_resource=[of({"AWS": ROOT}), of("*", "kms:Decrypt", "Deny",
     **when(StringNotEquals={"kms:ViaService": "s3.eu-west-1.amazonaws.com"}))], principal=ROLE), "kms:Decrypt", KEY,
     False),
    ("a key that says nothing", Rights(ALL, of_resource=[], principal=ROLE), "kms:Decrypt", KEY, False),
    ("a key that names another role", Rights(ALL, of_resource=[of({"AWS": f"{ROLE}-2"})], principal=ROLE),
     "kms:Decrypt", KEY, False),
    ("a key that names the role", Rights([], of_resource=[of({"AWS": ROLE})], principal=ROLE), "kms:Decrypt", KEY,
     True),
    # roles: whom they do not trust, no policy of theirs helps
    ("a role that trusts nobody", Rights(ALL, of_resource=[], principal=ROLE), "sts:AssumeRole", f"{ROLE}-2", False),
    ("a role that trusts the account", Rights(ALL, of_resource=[of({"AWS": ROOT})], principal=ROLE), "sts:AssumeRole",
     f"{ROLE}-2", True),
    ("and the role may not", Rights([], of_resource=[of({"AWS": ROOT})], principal=ROLE), "sts:AssumeRole",
     f"{ROLE}-2", False),
    ("a role that trusts it by name", Rights([], of_resource=[of({"AWS": ROLE})], principal=ROLE), "sts:AssumeRole",
     f"{ROLE}-2", True),
    # AWS always knows the role's ARN: a Deny for all but one must not pass without it
    ("the ARN of who asks is known", Rights(ALL, of_resource=[of({"AWS": ROOT}), of("*", "kms:Sign", "Deny",
     **when(ArnNotEquals={"aws:PrincipalArn": ROLE}))], principal=ROLE), "kms:Sign", KEY, True),
    ("and of another one", Rights(ALL, of_resource=[of({"AWS": ROOT}), of("*", "kms:Sign", "Deny",
     **when(ArnNotEquals={"aws:PrincipalArn": ROLE}))], principal=f"{ROLE}-2"), "kms:Sign", KEY, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rights", "action", "resource", "expected"), [row[1:] for row in WEIGHED], ids=[row[0] for row in WEIGHED]
)
def test_it_weighs_policies_as_the_documentation_says(
    rights: Rights, action: str, resource: str, expected: bool
) -> None:
    assert permits(rights, Request(action, resource, HERE)) is expected


GET = Request("s3:GetObject", OBJECT)
UNKNOWN: list[tuple[str, Rights, Request]] = [
    ("NotPrincipal spares by more than names",
     Rights(ALL, of_resource=[{"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "*", "Resource": "*"}],
     principal=ROLE), GET),
    ("a session by its name", Rights(ALL, of_resource=[of({"AWS": SESSION})], principal=ROLE),
     GET),
    ("a part of a principal's name", Rights(ALL, of_resource=[of({"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"})],
     principal=ROLE), GET),
    ("a user, whom boundaries do not bind alike",
     Rights([], of_resource=[of("*")], principal=f"arn:aws:iam::{ACCOUNT}:user/ann"), GET),
    ("nobody beside a resource's policy", Rights(ALL, of_resource=[of("*")]), GET),
    ("everybody beside a boundary that lacks it", Rights([], [may("sqs:*")], of_resource=[of("*")], principal=ROLE),
     GET),
    ("a request without what AWS always sends", Rights([may(**when(Bool={"aws:SecureTransport": "true"}))]),
     GET),
    ("a Deny for other regions, without the region",
     Rights([*ALL, no(**when(StringNotEquals={"aws:RequestedRegion": "eu-west-1"}))]), GET),
    ("an action that AWS does not have", Rights(ALL), Request("s3:GetObjects", OBJECT)),
    ("an operation that is no right", Rights(ALL), Request("s3:ListObjectsV2", BUCKET)),
    ("a request for several actions", Rights(ALL), Request("s3:Get*", OBJECT)),
    ("a request on no ARN", Rights(ALL), Request("s3:GetObject", "gavel-prod-data/a")),
    ("an action without a service", Rights([may("GetObject")]), GET),
    ("a star for the service", Rights([may("*:GetObject")]), GET),
    ("a variable in an action", Rights([may("s3:${aws:PrincipalTag/a}")]), GET),
    ("a resource that is no ARN", Rights([may("*", "gavel-*")]), GET),
    ("a star for the service of an ARN", Rights([may("*", "arn:aws:*:::gavel")]), GET),
    ("a variable that does not end", Rights([may("*", "arn:aws:s3:::${aws:username")]), GET),
    ("a default without quotes", Rights([may("*", "arn:aws:s3:::${aws:username, a}")]), GET),
    ("a variable for a number", Rights([may(**when(NumericEquals={"aws:MultiFactorAuthAge": "${aws:username}"}))]),
     Request("s3:GetObject", OBJECT, {"aws:MultiFactorAuthAge": "1"})),
    ("a negation of a variable that is missing",
     Rights([may(**when(StringNotEquals={ENVIRONMENT: "${aws:username}"}))]), Request("s3:GetObject", OBJECT, PROD)),
    ("all values of a key that has one", Rights([may(**when(ForAllValues__StringEquals=PROD))]),
     Request("s3:GetObject", OBJECT, PROD)),
    ("a key of several values without a quantifier", Rights([may(**when(StringEquals={TAGS: "a"}))]),
     GET),
    ("a condition without a value", Rights([may(**when(StringNotEquals={ENVIRONMENT: []}))]),
     GET),
    ("a number that is none", Rights([may(**when(NumericEquals={"aws:MultiFactorAuthAge": "ten"}))]),
     Request("s3:GetObject", OBJECT, {"aws:MultiFactorAuthAge": "1"})),
    ("Null of two minds", Rights([may(**when(Null={ENVIRONMENT: ["true", "false"]}))]), GET),
    ("a condition on bytes", Rights([may(**when(BinaryEquals={ENVIRONMENT: "QQ=="}))]), GET),
    ("an owner of a bucket as a principal", Rights([], of_resource=[of({"CanonicalUser": "a"})], principal=ROLE),
     GET),
]  # fmt: skip


@pytest.mark.parametrize(("rights", "wanted"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_it_raises_where_it_would_have_to_guess(rights: Rights, wanted: Request) -> None:
    with pytest.raises(UnknownRule):
        permits(rights, wanted)
