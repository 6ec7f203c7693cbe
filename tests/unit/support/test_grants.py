"""Grants of keys count as KMS's documentation says: its examples, and what they must not allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.grants import Grant, may_make, may_retire, permits_with
from tests.support.iam import Request, Rights, UnknownRule
from tests.support.iam_cases import ACCOUNT

REGION = "us-west-2"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ExampleRole"
OTHER, ROOT = f"{ROLE}2", f"arn:aws:iam::{ACCOUNT}:root"
DYNAMODB, RDS, EC2, LAMBDA = (f"{name}.{REGION}.amazonaws.com" for name in ("dynamodb", "rds", "ec2", "lambda"))
DEPARTMENT = {"Department": "IT"}
TABLE = {"aws:dynamodb:tableName": "Services", "aws:dynamodb:subscriberId": ACCOUNT}
OF_A_TABLE = Grant(KEY, DYNAMODB, frozenset(
    {"Decrypt", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo", "RetireGrant", "DescribeKey"}
), TABLE, retiring=DYNAMODB)  # fmt: skip


def key(action: str | list[str] = "kms:CreateGrant", who: str = ROLE, **conditions: Any) -> Rights:
    """What a key's policy lets one role do, under conditions; `ForAllValues:` is written with `__`."""
    written = {name.replace("__", ":"): keys for name, keys in conditions.items()}
    statement = {"Effect": "Allow", "Principal": {"AWS": who}, "Action": action, "Resource": "*"}
    return Rights([], of_resource=[{**statement, "Condition": written}], principal=ROLE)


def decrypts(pairs: dict[str, str], action: str = "kms:Decrypt", on: str = KEY) -> Request:
    return Request(action, on, {f"kms:EncryptionContext:{name}": value for name, value in pairs.items()})


PLAIN = Grant(KEY, OTHER, frozenset({"Decrypt"}))


@pytest.mark.parametrize(
    ("rights", "grant", "through", "expected"),
    [
        (key(), PLAIN, "", True),
        (key(who=OTHER), PLAIN, "", False),
        # kms:GrantIsForAWSResource
        (key(Bool={"kms:GrantIsForAWSResource": True}), PLAIN, EC2, True),
        (key(Bool={"kms:GrantIsForAWSResource": True}), PLAIN, "", False),
        (key(Bool={"kms:GrantIsForAWSResource": "false"}), PLAIN, EC2, False),
        # kms:ViaService
        (key(StringEquals={"kms:ViaService": [EC2, RDS]}), PLAIN, RDS, True),
        (key(StringEquals={"kms:ViaService": [EC2, RDS]}), PLAIN, LAMBDA, False),
        (key(StringEquals={"kms:ViaService": [EC2, RDS]}), PLAIN, "", False),
        (key(StringLike={"kms:ViaService": "dynamodb.*.amazonaws.com"}), OF_A_TABLE, DYNAMODB, True),
        # kms:GrantOperations: all of them, or one
        (key(ForAllValues__StringEquals={"kms:GrantOperations": ["Encrypt", "ReEncryptTo"]}),
         replace(PLAIN, operations=frozenset({"Encrypt", "ReEncryptTo"})), "", True),
        (key(ForAllValues__StringEquals={"kms:GrantOperations": ["Encrypt", "ReEncryptTo"]}),
         replace(PLAIN, operations=frozenset({"Encrypt", "Decrypt"})), "", False),
        (key(ForAnyValue__StringEquals={"kms:GrantOperations": ["Encrypt", "ReEncryptTo"]}),
         replace(PLAIN, operations=frozenset({"Encrypt", "Decrypt"})), "", True),
        # kms:GrantConstraintType, kms:GranteePrincipal, kms:RetiringPrincipal
        (key(StringEquals={"kms:GrantConstraintType": "EncryptionContextEquals"}), replace(PLAIN, equals=DEPARTMENT),
         "", True),
        (key(StringEquals={"kms:GrantConstraintType": "EncryptionContextEquals"}), replace(PLAIN, subset=DEPARTMENT),
         "", False),
        (key(StringEquals={"kms:GrantConstraintType": "EncryptionContextEquals"}), PLAIN, "", False),
        (key(StringEquals={"kms:GranteePrincipal": OTHER}), PLAIN, "", True),
        (key(StringEquals={"kms:GranteePrincipal": OTHER}), replace(PLAIN, grantee=ROLE), "", False),
        (key(StringEquals={"kms:RetiringPrincipal": [OTHER, ROLE]}), replace(PLAIN, retiring=ROLE), "", True),
        (key(StringEquals={"kms:RetiringPrincipal": [OTHER, ROLE]}), PLAIN, "", False),
        # kms:EncryptionContext: the pairs of the constraint
        (key(StringEquals={"kms:EncryptionContext:Department": "IT"}), replace(PLAIN, subset=DEPARTMENT), "", True),
        (key(StringEquals={"kms:EncryptionContext:Department": "IT"}), PLAIN, "", False),
        (key(ForAllValues__StringEquals={"kms:EncryptionContextKeys": ["Department"]}, Null={
         "kms:EncryptionContextKeys": "false"}), replace(PLAIN, subset={"Project": "Alpha"}), "", False),
    ],
)  # fmt: skip
def test_a_grant_is_made_under_the_conditions_of_the_key(
    rights: Rights, grant: Grant, through: str, expected: bool
) -> None:
    assert may_make(rights, grant, through) is expected


def test_a_key_that_leaves_it_to_its_account_lets_whom_the_account_lets() -> None:
    own = [{"Effect": "Allow", "Action": "kms:CreateGrant", "Resource": KEY}]
    everything = [{"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}]
    assert may_make(Rights(own, of_resource=everything, principal=ROLE), PLAIN)
    assert not may_make(Rights([], of_resource=everything, principal=ROLE), PLAIN)
    assert not may_make(Rights(own, of_resource=[], principal=ROLE), PLAIN)


NOTHING = Rights([], of_resource=[], principal=OTHER)


@pytest.mark.parametrize(
    ("constraint", "pairs", "expected"),
    [
        ({}, {}, True),
        ({"subset": DEPARTMENT}, DEPARTMENT, True),
        ({"subset": DEPARTMENT}, {**DEPARTMENT, "Purpose": "Test"}, True),
        ({"subset": DEPARTMENT}, {}, False),
        ({"subset": DEPARTMENT}, {"department": "IT"}, False),
        ({"equals": DEPARTMENT}, DEPARTMENT, True),
        ({"equals": DEPARTMENT}, {**DEPARTMENT, "Purpose": "Test"}, False),
        ({"equals": DEPARTMENT}, {"Department": "it"}, False),
    ],
)
def test_a_grant_is_for_the_encryption_context_of_its_constraint(
    constraint: dict[str, dict[str, str]], pairs: dict[str, str], expected: bool
) -> None:
    grant = Grant(KEY, OTHER, frozenset({"Decrypt"}), **constraint)
    assert permits_with(NOTHING, [grant], decrypts(pairs)) is expected


def test_a_service_uses_the_key_for_the_table_of_its_grant_alone() -> None:
    service = Rights([], of_resource=[], principal=DYNAMODB)
    assert permits_with(service, [OF_A_TABLE], decrypts(TABLE))
    assert permits_with(service, [OF_A_TABLE], Request("kms:DescribeKey", KEY))
    assert not permits_with(service, [], decrypts(TABLE))
    assert not permits_with(service, [OF_A_TABLE], decrypts({**TABLE, "aws:dynamodb:tableName": "Books"}))
    assert not permits_with(service, [OF_A_TABLE], decrypts(TABLE, "kms:GenerateDataKeyWithoutPlaintext"))
    assert not permits_with(service, [OF_A_TABLE], decrypts(TABLE, on=f"{KEY}0"))
    assert not permits_with(service, [OF_A_TABLE], Request("kms:ScheduleKeyDeletion", KEY))
    assert not permits_with(Rights([], of_resource=[], principal=RDS), [OF_A_TABLE], decrypts(TABLE))


def test_a_policy_that_forbids_it_beats_a_grant() -> None:
    forbidden = [{"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}]
    assert permits_with(NOTHING, [PLAIN], decrypts({}))
    assert not permits_with(Rights([], of_resource=forbidden, principal=OTHER), [PLAIN], decrypts({}))


PARENT = Grant(KEY, ROLE, frozenset({"GenerateDataKey", "Decrypt", "CreateGrant"}), DEPARTMENT)
CHILD = Grant(KEY, OTHER, frozenset({"CreateGrant", "Decrypt"}), equals=DEPARTMENT)


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        (CHILD, True),
        (replace(CHILD, equals=None, subset={**DEPARTMENT, "Purpose": "Test"}), True),
        (replace(CHILD, equals=None, subset={"Purpose": "Test"}), False),
        (replace(CHILD, equals=None), False),
        (replace(CHILD, operations=frozenset({"Decrypt", "ReEncryptFrom"})), False),
        (replace(CHILD, key=f"{KEY}0"), False),
    ],
)
def test_who_may_make_grants_by_a_grant_makes_no_wider_ones(child: Grant, expected: bool) -> None:
    maker = Rights([], of_resource=[], principal=ROLE)
    assert may_make(maker, child, held=[PARENT]) is expected
    assert not may_make(maker, child, held=[replace(PARENT, operations=frozenset({"Decrypt", "GenerateDataKey"}))])
    assert not may_make(NOTHING, child, held=[PARENT])


def test_a_constraint_that_names_all_pairs_stays_one() -> None:
    """`EncryptionContextSubset` may become `EncryptionContextEquals`, and not the reverse."""
    maker = Rights([], of_resource=[], principal=OTHER)
    assert may_make(maker, replace(CHILD, grantee=ROLE), held=[CHILD])
    assert not may_make(maker, replace(CHILD, grantee=ROLE, equals=None, subset=DEPARTMENT), held=[CHILD])


def test_a_grant_is_retired_by_whom_it_names_or_iam_lets() -> None:
    assert may_retire(Rights([], principal=DYNAMODB), OF_A_TABLE)
    assert not may_retire(Rights([], principal=ROLE), OF_A_TABLE)
    own = [{"Effect": "Allow", "Action": "kms:RetireGrant", "Resource": KEY}]
    assert may_retire(Rights(own, principal=ROLE), OF_A_TABLE)
    by_key = [{"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:RetireGrant", "Resource": "*"}]
    assert not may_retire(Rights([], of_resource=by_key, principal=ROLE), OF_A_TABLE)


def test_it_raises_where_it_would_have_to_guess() -> None:
    with pytest.raises(UnknownRule, match="operations"):
        Grant(KEY, OTHER, frozenset({"ScheduleKeyDeletion"}))
    with pytest.raises(UnknownRule, match="constraint"):
        Grant(KEY, OTHER, frozenset({"Decrypt"}), DEPARTMENT, DEPARTMENT)
    with pytest.raises(UnknownRule, match="boundary"):
        permits_with(Rights([], boundary=[], of_resource=[], principal=OTHER), [PLAIN], decrypts({}))
