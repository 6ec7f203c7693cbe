"""Roles and policies as AWS has them against the templates that the stacks were made of.

CloudFormation's own detection looks at what a template says. What somebody adds beside it (an attached or inline
policy, a role of this environment's name, a policy at a bucket or queue) it does not see: that is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from lakehouse.drift.findings import Drifted, Trace, Unread, differences, reason
from ops.drift.documents import compared, document_of, matches
from ops.drift.resolving import HOLE, Resource

POLICIES = "policies"
ROLES = "roles of no stack"
COVERED = (
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
)
"""Types of resources that are compared here and nowhere else."""
EMPTY: Mapping[str, Any] = {"Statement": []}
_GONE = ("NoSuchEntity", "NoSuchBucket", "NotFound", "NonExistent")
_NO_POLICY = ("NoSuchBucketPolicy",)
_OF_EVERY_TOPIC = "__default_policy_ID"
"""The id of the policy that SNS gives to a topic without one: its owner's account may use it."""
_OF_EVERY_KEY = "key-default-1"

Make = Callable[[str, str, object, object], Drifted]
Client = Callable[[str], Any]
"""Makes the client of a service, in the stack's region."""


def policies_of(unit: str, resources: Sequence[Resource], client: Client, do: str) -> Iterator[Drifted | Unread]:
    """Every role, managed policy, bucket, queue, topic and key of a stack. One that cannot be read hides no other."""
    looks: dict[str, Callable[[Resource], Iterator[Drifted]]] = {
        "AWS::IAM::Role": lambda r: _role(client("iam"), r, resources, _maker(unit, r.physical, do, everywhere=True)),
        "AWS::IAM::ManagedPolicy": lambda r: _managed(client("iam"), r, _maker(unit, r.physical, do, everywhere=True)),
        "AWS::S3::Bucket": lambda r: _bucket(client("s3"), r, resources, _maker(unit, r.physical, do)),
        "AWS::SQS::Queue": lambda r: _queue(client("sqs"), r, resources, _maker(unit, r.physical, do)),
        "AWS::SNS::Topic": lambda r: _topic(client("sns"), r, resources, _maker(unit, r.physical, do)),
        "AWS::KMS::Key": lambda r: _key(client("kms"), r, _maker(unit, r.physical, do)),
    }
    for resource in resources:
        if resource.kind not in looks:
            continue
        try:
            yield from looks[resource.kind](resource)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if any(word in code for word in _GONE) and "Policy" not in code:
                make = _maker(unit, resource.physical, do, everywhere="IAM" in resource.kind)
                yield make(resource.physical, resource.kind, "that it is there", "none")
            else:
                yield Unread(POLICIES, unit, f"{resource.physical}: {reason(error)}")


def other_roles(iam: Any, prefix: str, known: Sequence[str], do: str) -> Iterator[Drifted]:
    """Roles whose names begin as those of this environment, and that no stack has made."""
    pages = iam.get_paginator("list_roles").paginate()
    names = sorted(role["RoleName"] for page in pages for role in page["Roles"])
    for name in names:
        if name.startswith(prefix) and name not in known:
            yield _maker(ROLES, name, do, everywhere=True)(name, "role", "none of this name", "one of no stack")


def _maker(unit: str, physical: str, do: str, *, everywhere: bool = False) -> Make:
    names = tuple(dict.fromkeys((physical, physical.rpartition("/")[2], physical.rpartition(":")[2])))
    return differences(POLICIES, unit, Trace(names, everywhere=everywhere), do)


def _role(iam: Any, role: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    name = role.physical
    there = iam.get_role(RoleName=name)["Role"]
    yield from _documents(
        make, name, "trust policy", role.properties["AssumeRolePolicyDocument"], there["AssumeRolePolicyDocument"]
    )
    boundary = (there.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", "none")
    wanted = role.properties.get("PermissionsBoundary", "none")
    if not matches(wanted, boundary):
        yield make(name, "permissions boundary", wanted.replace(HOLE, "…"), boundary)
    yield from _inline(iam, role, resources, make)
    pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
    attached = sorted(one["PolicyArn"] for page in pages for one in page["AttachedPolicies"])
    expected = [*role.properties.get("ManagedPolicyArns", ())]
    expected += [r.physical for r in _beside(resources, "AWS::IAM::ManagedPolicy", "Roles", name)]
    for arn in expected:
        if not any(matches(arn, one) for one in attached):
            yield make(name, "attached policy", arn.replace(HOLE, "…"), "not attached")
    for arn in attached:
        if not any(matches(one, arn) for one in expected):
            yield make(name, "attached policy", "none but the template's", arn)


def _inline(iam: Any, role: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    name = role.physical
    pages = iam.get_paginator("list_role_policies").paginate(RoleName=name)
    found = [one for page in pages for one in page["PolicyNames"]]
    listed = [*role.properties.get("Policies", ())]
    listed += [r.properties for r in _beside(resources, "AWS::IAM::Policy", "Roles", name)]
    expected = {one["PolicyName"]: one["PolicyDocument"] for one in listed}
    for policy, document in expected.items():
        if policy not in found:
            yield make(name, f"inline policy {policy}", "that it is there", "none")
            continue
        there = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        yield from _documents(make, name, f"inline policy {policy}", document, there)
    for policy in sorted(set(found) - expected.keys()):
        yield make(name, f"inline policy {policy}", "none of this name", "one that the template does not have")


def _managed(iam: Any, policy: Resource, make: Make) -> Iterator[Drifted]:
    version = iam.get_policy(PolicyArn=policy.physical)["Policy"]["DefaultVersionId"]
    there = iam.get_policy_version(PolicyArn=policy.physical, VersionId=version)["PolicyVersion"]["Document"]
    name = policy.physical.rpartition("/")[2]
    yield from _documents(make, name, "managed policy", policy.properties["PolicyDocument"], there)


def _bucket(s3: Any, bucket: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    try:
        there: Any = s3.get_bucket_policy(Bucket=bucket.physical)["Policy"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NO_POLICY:
            raise
        there = EMPTY
    expected = _policy_beside(resources, "AWS::S3::BucketPolicy", "Bucket", bucket.physical)
    yield from _documents(make, bucket.physical, "bucket policy", expected, there)


def _queue(sqs: Any, queue: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    found = sqs.get_queue_attributes(QueueUrl=queue.physical, AttributeNames=["Policy"]).get("Attributes", {})
    expected = _policy_beside(resources, "AWS::SQS::QueuePolicy", "Queues", queue.physical)
    yield from _documents(
        make, queue.physical.rpartition("/")[2], "queue policy", expected, found.get("Policy") or EMPTY
    )


def _topic(sns: Any, topic: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    text = sns.get_topic_attributes(TopicArn=topic.physical)["Attributes"].get("Policy")
    there = document_of(text) if text else EMPTY
    expected = _policy_beside(resources, "AWS::SNS::TopicPolicy", "Topics", topic.physical)
    if expected is EMPTY and there.get("Id") == _OF_EVERY_TOPIC:
        return
    yield from _documents(make, topic.physical.rpartition(":")[2], "topic policy", expected, there)


def _key(kms: Any, key: Resource, make: Make) -> Iterator[Drifted]:
    there = document_of(kms.get_key_policy(KeyId=key.physical, PolicyName="default")["Policy"])
    expected = key.properties.get("KeyPolicy")
    if expected is None and there.get("Id") == _OF_EVERY_KEY:
        return
    yield from _documents(make, f"key {key.logical}", "key policy", expected or EMPTY, there)


def _documents(make: Make, name: str, what: str, expected: Any, found: Any) -> Iterator[Drifted]:
    missing, besides = compared(expected, found)
    if missing or besides:
        yield make(name, what, " ".join(missing) or "no more than the template's", " ".join(besides) or "less")


def _beside(resources: Sequence[Resource], kind: str, attribute: str, name: str) -> list[Resource]:
    """The resources of a type that name another one."""
    of_kind = [resource for resource in resources if resource.kind == kind]
    return [one for one in of_kind if name in _listed(one.properties.get(attribute, ()))]


def _policy_beside(resources: Sequence[Resource], kind: str, attribute: str, name: str) -> Mapping[str, Any]:
    found = _beside(resources, kind, attribute, name)
    listed = [s for one in found for s in _listed(one.properties["PolicyDocument"]["Statement"])]
    return {"Statement": listed} if found else EMPTY


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)
