"""Roles and policies as AWS has them against the templates that the stacks were made of.

CloudFormation's own detection looks at what a template says. What somebody adds beside it (an attached or inline
policy, a role of this environment's name, a policy at a bucket or queue) it does not see: that is found here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from lakehouse.drift.back import Back, Call
from lakehouse.drift.findings import Drifted, Make, Trace, Unread, differences, reason
from ops.drift.documents import compared, document_of, matches, mended
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

MOST_VERSIONS = 5
"""Of a managed policy, as IAM keeps them."""
Client = Callable[[str], Any]
"""Makes the client of a service, in the stack's region."""


def policies_of(
    unit: str, resources: Sequence[Resource], client: Client, do: str, tags: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Drifted | Unread]:
    """Every role, managed policy, bucket, queue, topic and key of a stack. One that cannot be read hides no other.
    `tags` are those of the stack, which CloudFormation gives to all that it makes."""
    looks: dict[str, Callable[[Resource], Iterator[Drifted]]] = {
        "AWS::IAM::Role": lambda r: _role(
            client("iam"), r, resources, _maker(unit, r.physical, do, everywhere=True), tags
        ),
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
            make = _maker(ROLES, name, do, everywhere=True)
            yield make(name, "role", "none of this name", "one of no stack", _without_role(iam, name))


def _without_role(iam: Any, name: str) -> Back:
    """What removes a role of no stack. Whether somebody needs it, only a person can know."""
    pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
    attached = [one["PolicyArn"] for page in pages for one in page["AttachedPolicies"]]
    inline = [
        one for page in iam.get_paginator("list_role_policies").paginate(RoleName=name) for one in page["PolicyNames"]
    ]
    calls = [_iam("detach_role_policy", RoleName=name, PolicyArn=arn) for arn in attached]
    calls += [_iam("delete_role_policy", RoleName=name, PolicyName=policy) for policy in inline]
    return Back((*calls, _iam("delete_role", RoleName=name)), "whoever assumes it loses it", person=True)


def _iam(operation: str, **arguments: Any) -> Call:
    return Call("iam", operation, arguments)


def _text(document: Any) -> str:
    return json.dumps(document)


def _maker(unit: str, physical: str, do: str, *, everywhere: bool = False) -> Make:
    names = tuple(dict.fromkeys((physical, physical.rpartition("/")[2], physical.rpartition(":")[2])))
    return differences(POLICIES, unit, Trace(names, everywhere=everywhere), do)


def _role(
    iam: Any, role: Resource, resources: Sequence[Resource], make: Make, tags: Mapping[str, str]
) -> Iterator[Drifted]:
    name = role.physical
    there = iam.get_role(RoleName=name)["Role"]
    yield from _documents(
        make,
        name,
        "trust policy",
        (role.properties["AssumeRolePolicyDocument"], there["AssumeRolePolicyDocument"]),
        lambda d: Back((_iam("update_assume_role_policy", RoleName=name, PolicyDocument=_text(d)),)),
    )
    boundary = (there.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn", "none")
    wanted = role.properties.get("PermissionsBoundary", "none")
    if not matches(wanted, boundary):
        yield make(name, "permissions boundary", wanted.replace(HOLE, "…"), boundary, _boundary(name, wanted))
    yield from _tags(make, role, there.get("Tags", ()), tags)
    yield from _inline(iam, role, resources, make)
    pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
    attached = sorted(one["PolicyArn"] for page in pages for one in page["AttachedPolicies"])
    expected = [*role.properties.get("ManagedPolicyArns", ())]
    expected += [r.physical for r in _beside(resources, "AWS::IAM::ManagedPolicy", "Roles", name)]
    for arn in expected:
        if not any(matches(arn, one) for one in attached):
            back = None if HOLE in arn else Back((_iam("attach_role_policy", RoleName=name, PolicyArn=arn),))
            yield make(name, "attached policy", arn.replace(HOLE, "…"), "not attached", back)
    for arn in attached:
        if not any(matches(one, arn) for one in expected):
            back = Back((_iam("detach_role_policy", RoleName=name, PolicyArn=arn),), "the policy itself stays")
            yield make(name, "attached policy", "none but the template's", arn, back)


def _boundary(role: str, wanted: str) -> Back | None:
    if wanted == "none":
        return Back((_iam("delete_role_permissions_boundary", RoleName=role),))
    if HOLE in wanted:
        return None
    return Back((_iam("put_role_permissions_boundary", RoleName=role, PermissionsBoundary=wanted),))


def _tags(
    make: Make, role: Resource, found: Sequence[Mapping[str, str]], of_stack: Mapping[str, str]
) -> Iterator[Drifted]:
    """Tags decide who may assume a role, and what it may reach. Those that AWS sets are its own; those of the stack
    are wanted as the template's are."""
    name = role.physical
    wanted = {one["Key"]: str(one["Value"]) for one in role.properties.get("Tags", ())}
    there = {one["Key"]: one["Value"] for one in found if not one["Key"].startswith("aws:")}
    for key, value in wanted.items():
        if not matches(value, there.get(key, "")) or key not in there:
            tag = _iam("tag_role", RoleName=name, Tags=[{"Key": key, "Value": value}])
            back = None if HOLE in value else Back((tag,))
            yield make(name, f"tag {key}", value.replace(HOLE, "…"), there.get(key, "none"), back)
    for key, value in sorted(of_stack.items()):
        if key not in wanted and there.get(key) != value:
            back = Back((_iam("tag_role", RoleName=name, Tags=[{"Key": key, "Value": value}]),))
            yield make(name, f"tag {key}", value, there.get(key, "none"), back)
    for key in sorted(there.keys() - wanted.keys() - of_stack.keys()):
        back = Back((_iam("untag_role", RoleName=name, TagKeys=[key]),), f"it removes the tag {key}={there[key]}")
        yield make(name, f"tag {key}", "none of this name", there[key], back)


def _inline(iam: Any, role: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    name = role.physical
    pages = iam.get_paginator("list_role_policies").paginate(RoleName=name)
    found = [one for page in pages for one in page["PolicyNames"]]
    listed = [*role.properties.get("Policies", ())]
    listed += [r.properties for r in _beside(resources, "AWS::IAM::Policy", "Roles", name)]
    expected = {one["PolicyName"]: one["PolicyDocument"] for one in listed}
    for policy, document in expected.items():
        put = partial(_put, name, policy)
        if policy not in found:
            there = mended(document, EMPTY)
            yield make(name, f"inline policy {policy}", "that it is there", "none", put(there) if there else None)
            continue
        there = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        yield from _documents(make, name, f"inline policy {policy}", (document, there), put)
    for policy in sorted(set(found) - expected.keys()):
        there = document_of(iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"])
        removed = f"it removes this document for good: {_text(there)}"
        back = Back((_iam("delete_role_policy", RoleName=name, PolicyName=policy),), removed)
        found_one = "one that the template does not have"
        yield make(name, f"inline policy {policy}", "none of this name", found_one, back)


def _put(role: str, policy: str, document: Any) -> Back:
    return Back((_iam("put_role_policy", RoleName=role, PolicyName=policy, PolicyDocument=_text(document)),))


def _managed(iam: Any, policy: Resource, make: Make) -> Iterator[Drifted]:
    version = iam.get_policy(PolicyArn=policy.physical)["Policy"]["DefaultVersionId"]
    there = _version(iam, policy.physical, version)
    name = policy.physical.rpartition("/")[2]

    def set_back(document: Any) -> Back:
        versions = iam.list_policy_versions(PolicyArn=policy.physical)["Versions"]
        others = sorted((v["CreateDate"], v["VersionId"]) for v in versions if not v["IsDefaultVersion"])
        oldest = [of for _, of in others[: max(len(versions) - MOST_VERSIONS + 1, 0)]]
        forgotten = [f"version {of}, which goes, is {_text(_version(iam, policy.physical, of))}" for of in oldest]
        new = {"PolicyArn": policy.physical, "PolicyDocument": _text(document), "SetAsDefault": True}
        forget = [_iam("delete_policy_version", PolicyArn=policy.physical, VersionId=of) for of in oldest]
        return Back((*forget, _iam("create_policy_version", **new)), "; ".join(forgotten))

    yield from _documents(make, name, "managed policy", (policy.properties["PolicyDocument"], there), set_back)


def _version(iam: Any, policy: str, version: str) -> dict[str, Any]:
    return document_of(iam.get_policy_version(PolicyArn=policy, VersionId=version)["PolicyVersion"]["Document"])


def _bucket(s3: Any, bucket: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    try:
        there: Any = s3.get_bucket_policy(Bucket=bucket.physical)["Policy"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NO_POLICY:
            raise
        there = EMPTY
    expected = _policy_beside(resources, "AWS::S3::BucketPolicy", "Bucket", bucket.physical)

    def set_back(document: Any) -> Back:
        of = {"Bucket": bucket.physical}
        if expected is EMPTY:
            return Back((Call("s3", "delete_bucket_policy", of),))
        return Back((Call("s3", "put_bucket_policy", {**of, "Policy": _text(document)}),))

    yield from _documents(make, bucket.physical, "bucket policy", (expected, there), set_back)


def _queue(sqs: Any, queue: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    found = sqs.get_queue_attributes(QueueUrl=queue.physical, AttributeNames=["Policy"]).get("Attributes", {})
    expected = _policy_beside(resources, "AWS::SQS::QueuePolicy", "Queues", queue.physical)
    name, there = queue.physical.rpartition("/")[2], found.get("Policy") or EMPTY

    def set_back(document: Any) -> Back:
        attributes = {"Policy": "" if expected is EMPTY else _text(document)}
        return Back((Call("sqs", "set_queue_attributes", {"QueueUrl": queue.physical, "Attributes": attributes}),))

    yield from _documents(make, name, "queue policy", (expected, there), set_back)


def _topic(sns: Any, topic: Resource, resources: Sequence[Resource], make: Make) -> Iterator[Drifted]:
    text = sns.get_topic_attributes(TopicArn=topic.physical)["Attributes"].get("Policy")
    there = document_of(text) if text else EMPTY
    expected = _policy_beside(resources, "AWS::SNS::TopicPolicy", "Topics", topic.physical)
    if expected is EMPTY and there.get("Id") == _OF_EVERY_TOPIC:
        return

    def set_back(document: Any) -> Back:
        attribute = {"AttributeName": "Policy", "AttributeValue": _text(document)}
        return Back((Call("sns", "set_topic_attributes", {"TopicArn": topic.physical, **attribute}),))

    name, back = topic.physical.rpartition(":")[2], None if expected is EMPTY else set_back
    yield from _documents(make, name, "topic policy", (expected, there), back)


def _key(kms: Any, key: Resource, make: Make) -> Iterator[Drifted]:
    there = document_of(kms.get_key_policy(KeyId=key.physical, PolicyName="default")["Policy"])
    expected = key.properties.get("KeyPolicy")
    if expected is None and there.get("Id") == _OF_EVERY_KEY:
        return

    def set_back(document: Any) -> Back:
        of = {"KeyId": key.physical, "PolicyName": "default"}
        return Back((Call("kms", "put_key_policy", {**of, "Policy": _text(document)}),))

    back = None if expected is None else set_back
    yield from _documents(make, f"key {key.logical}", "key policy", (expected or EMPTY, there), back)


def _documents(
    make: Make,
    name: str,
    what: str,
    compare: tuple[Any, Any],
    set_back: Callable[[Any], Back] | None,
) -> Iterator[Drifted]:
    """Where the document that is found is not the expected one; `set_back` gives what puts another one there. What it
    takes away is named whole: a message has the beginning only."""
    missing, besides = compared(*compare)
    if not missing and not besides:
        return
    document = mended(*compare)
    back = set_back(document) if set_back and document is not None else None
    if back is not None and besides:
        removed = f"it removes for good: {' '.join(besides)}"
        back = replace(back, note="; ".join(filter(None, (removed, back.note))))
    yield make(name, what, " ".join(missing) or "no more than the template's", " ".join(besides) or "less", back)


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
