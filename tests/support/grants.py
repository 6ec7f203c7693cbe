"""Grants of keys of KMS: who may make one, and what it then allows beside policies.

Services that keep data (DynamoDB, RDS, ECR) work with a grant on the key, which they make in the name of whoever makes
the table, the database or the repository. Source: KMS Developer Guide, "Grants in AWS KMS", "AWS KMS condition keys".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.support.iam import Request, Rights, UnknownRule, Value, denies, permits

_CONTEXT = "kms:encryptioncontext:"
WITHOUT_CONTEXT = frozenset({"CreateGrant", "DescribeKey", "GetPublicKey", "RetireGrant", "Sign", "Verify"})
"""Operations that know no encryption context: a grant's constraint says nothing of them."""
OPERATIONS = WITHOUT_CONTEXT | {
    *("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"),
    *("GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"),
}
"""What a grant may allow. A key is neither deleted nor given another policy by a grant."""


@dataclass(frozen=True)
class Grant:
    """One grant: `key` is an ARN, `grantee` a role's ARN or a service's name.

    At most one constraint: `subset` has the pairs that an encryption context must have, `equals` all that it has.
    """

    key: str
    grantee: str
    operations: frozenset[str]
    subset: Mapping[str, str] | None = None
    equals: Mapping[str, str] | None = None
    retiring: str = ""

    def __post_init__(self) -> None:
        if strange := self.operations - OPERATIONS:
            raise UnknownRule(f"expected operations of a grant, found {sorted(strange)}")
        if not self.operations or (self.subset is not None and self.equals is not None):
            raise UnknownRule("expected operations and at most one constraint, found none or both")


def creation(grant: Grant, through: str = "") -> Request:
    """The request that makes a grant, with what KMS says of it. `through` is the service that asks for it in somebody's
    name, as `kms:ViaService` has it; empty for a caller who asks himself."""
    context: dict[str, Value] = {
        "kms:GranteePrincipal": grant.grantee,
        "kms:GrantOperations": sorted(grant.operations),
        "kms:GrantIsForAWSResource": "true" if through else "false",
        "kms:ViaService": through or None,
        "kms:RetiringPrincipal": grant.retiring or None,
    }
    for kind, pairs in (("Subset", grant.subset), ("Equals", grant.equals)):
        if pairs is not None:
            context["kms:GrantConstraintType"] = f"EncryptionContext{kind}"
            context["kms:EncryptionContextKeys"] = sorted(pairs)
            context |= {f"kms:EncryptionContext:{key}": value for key, value in pairs.items()}
    return Request("kms:CreateGrant", grant.key, context)


def may_make(rights: Rights, grant: Grant, through: str = "", held: Sequence[Grant] = ()) -> bool:
    """Whether somebody may make a grant: by policies, or by a grant of `held` that lets him give less of the same."""
    request = creation(grant, through)
    if permits(rights, request):
        return True
    return not denies(rights, request) and any(
        _counts(parent, rights) and "CreateGrant" in parent.operations and _no_wider(grant, parent) for parent in held
    )


def may_retire(rights: Rights, grant: Grant, through: str = "") -> bool:
    """Whether somebody may end a grant: who is named for it, a grantee whom it lets, or who has the right by IAM. The
    policy of the key gives none."""
    request = Request("kms:RetireGrant", grant.key, {"kms:ViaService": through or None})
    if denies(rights, request):
        return False
    if rights.principal in (grant.retiring, grant.grantee if "RetireGrant" in grant.operations else ""):
        return True
    return permits(Rights(rights.identity, rights.boundary, rights.session), request)


def permits_with(rights: Rights, grants: Sequence[Grant], request: Request) -> bool:
    """Whether AWS would do it, by policies or by a grant: no policy forbids it, and one of both allows it."""
    if permits(rights, request):
        return True
    if denies(rights, request):
        return False
    name = request.action.partition(":")[2]
    given = {k[len(_CONTEXT) :]: str(v) for k, v in request.context.items() if k.lower().startswith(_CONTEXT)}
    return any(
        _counts(grant, rights)
        and (grant.key, request.action[:4].lower()) == (request.resource, "kms:")
        and name in grant.operations - {"CreateGrant", "RetireGrant"}
        and (name in WITHOUT_CONTEXT or _holds(grant, given))
        for grant in grants
    )


def _counts(grant: Grant, rights: Rights) -> bool:
    """Whether a grant is somebody's; raises `UnknownRule` where a boundary might take it away."""
    if grant.grantee != rights.principal:
        return False
    if rights.boundary is not None or rights.session is not None:
        raise UnknownRule(
            "expected a grantee without boundary and session policy: AWS does not say how they go together"
        )
    return True


def _holds(grant: Grant, given: Mapping[str, str]) -> bool:
    """Whether an encryption context is one that a grant is for: pairs as written, in any order."""
    if grant.equals is not None:
        return dict(grant.equals) == dict(given)
    return (grant.subset or {}).items() <= given.items()


def _no_wider(child: Grant, parent: Grant) -> bool:
    """Whether a grant is for the same key, and for no more than the one that allows to make it."""
    if child.key != parent.key or not child.operations <= parent.operations:
        return False
    if parent.equals is not None:
        return child.equals is not None and dict(child.equals) == dict(parent.equals)
    kept = child.equals if child.equals is not None else child.subset or {}
    return (parent.subset or {}).items() <= kept.items()
