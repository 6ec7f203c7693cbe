"""Decides by policies as IAM does: an evaluator for tests, of one account.

What it does not know raises `UnknownRule` (an operator, a key, an element of a statement): a rule that is not
understood must never count as kept. `tests/unit/support/test_iam.py` compares it with another evaluator, and with what
AWS's documentation says. Source of the rules: IAM User Guide, "Policy evaluation logic" and "JSON policy elements".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

Statement = Mapping[str, Any]
Value = str | Sequence[str]


class UnknownRule(ValueError):
    """A policy says something that this evaluator does not know; says what, and where to add it."""


@dataclass(frozen=True)
class Request:
    """What is requested: an action, the ARN that it is on (`*` where AWS knows none), and what AWS knows besides.

    `context` has condition keys as AWS writes them, in any case, with a string, or strings where a key has several.
    """

    action: str
    resource: str
    context: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Rights:
    """All that decides about a principal of the same account: `principal` is its ARN, that of the role for a session.

    `boundary` and `session` take away; None is for none. `of_resource` is the policy of what is requested: as AWS has
    it, it may allow by itself what the principal's own policies do not, but for KMS, whose keys have to allow it too.
    """

    identity: Sequence[Statement]
    boundary: Sequence[Statement] | None = None
    session: Sequence[Statement] | None = None
    of_resource: Sequence[Statement] | None = None
    principal: str = ""


def permits(rights: Rights, request: Request) -> bool:
    """Whether AWS would do it: nothing denies it, something allows it, and no boundary is in the way."""
    layers = [rights.identity, *(layer for layer in (rights.boundary, rights.session) if layer is not None)]
    named = [s for s in rights.of_resource or () if concerns(s, rights.principal)]
    if any(decided(layer, request, "Deny") for layer in [*layers, named]):
        return False
    own = all(decided(layer, request, "Allow") for layer in layers)
    if rights.of_resource is None:
        return own
    granted = decided(named, request, "Allow")
    # A role that is named is bound by its boundary even so; only a session that is named is not.
    by_name = any(not _by_account(s) for s in granted) and all(decided(x, request, "Allow") for x in layers[1:])
    if request.action.lower().startswith("kms:"):
        return by_name or (own and bool(granted))
    return own or by_name


def decided(statements: Sequence[Statement], request: Request, effect: str) -> list[Statement]:
    """The statements of an effect that apply. All statements are looked at, so that an unknown rule anywhere raises."""
    applying = [s for s in statements if applies(s, request)]
    return [s for s in applying if s["Effect"] == effect]


def allows(statements: Sequence[Statement], request: Request) -> bool:
    """Whether statements alone allow it: one does, and none denies it."""
    return permits(Rights(statements), request)


_ELEMENTS = frozenset(
    {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"}
)


def applies(statement: Statement, request: Request) -> bool:
    """Whether a statement is about a request, whoever asks."""
    if strange := set(statement) - _ELEMENTS:
        raise UnknownRule(f"expected the elements of a statement, found {sorted(strange)}: add them to _ELEMENTS")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise UnknownRule(f"expected the effect Allow or Deny, found {statement.get('Effect')!r}")
    context = {known_key(key): value for key, value in request.context.items()}
    holds = [
        _condition(o, k, v, context) for o, keys in statement.get("Condition", {}).items() for k, v in keys.items()
    ]
    return (
        _element(statement, "Action", lambda p: wild(p, ignoring_case=True)(request.action))
        and _element(statement, "Resource", lambda p: _resource(p, request.resource, context))
        and all(holds)
    )


def _element(statement: Statement, name: str, matches: Callable[[str], bool]) -> bool:
    """An element or its negation. `Resource` may be left out where a policy belongs to a resource (trust policies)."""
    given = [n for n in (name, f"Not{name}") if n in statement]
    if len(given) > 1 or (not given and not (name == "Resource" and "Principal" in statement)):
        raise UnknownRule(f"expected either {name} or Not{name}, found {given}")
    if not given:
        return True
    hits = [matches(p) for p in listed(statement[given[0]])]  # all of them: each may raise
    return any(hits) == (given[0] == name)


def listed(value: Any) -> list[Any]:
    """A value that may stand alone or in a list, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


# ---- patterns --------------------------------------------------------------------------------------------------------


@cache
def wild(pattern: str, ignoring_case: bool = False) -> Callable[[str], bool]:
    """Whether a whole text is as a pattern says: `*` for any characters, `?` for one; nothing else is special. What a
    variable's value had of them is meant as it stands."""
    back = {mark: character for character, mark in _LITERAL.items()}
    parts = [".*" if c == "*" else "." if c == "?" else re.escape(back.get(c, c)) for c in pattern]
    compiled = re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignoring_case else 0))
    return lambda text: compiled.fullmatch(text) is not None


def _resource(pattern: str, resource: str, context: Mapping[str, Value]) -> bool:
    filled = _filled(pattern, context)
    return filled is not None and wild(filled)(resource)


_LITERAL = {"*": "\ue000", "?": "\ue001"}
"""What stands for a wildcard that is meant as a character: a variable's value, or `${*}`."""


def _filled(text: str, context: Mapping[str, Value]) -> str | None:
    """A text with its policy variables filled in; None if one has no value, which no request is like."""
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        name = found[1].strip()
        if name in ("*", "?", "$"):
            return _LITERAL.get(name, name)
        name, comma, default = name.partition(",")
        known = context.get(known_key(name.strip()))
        if isinstance(known, str):
            return "".join(_LITERAL.get(c, c) for c in known)
        missing = missing or not comma
        return default.strip().strip("'")

    filled = re.sub(r"\$\{([^}]+)\}", value, text)
    return None if missing else filled


# ---- conditions ------------------------------------------------------------------------------------------------------

KEYS = {
    "aws:": frozenset({
        "currenttime", "multifactorauthage", "multifactorauthpresent", "principalaccount", "principalarn",
        "principaltype", "requestedregion", "securetransport", "sourceaccount", "sourcearn", "sourceip", "userid",
        "username", "viaawsservice",
    }),
    "cloudformation:": frozenset({"rolearn", "stackpolicyurl"}),
    "codeconnections:": frozenset({"fullrepositoryid", "providerpermissionsrequired"}),
    "codestar-connections:": frozenset({"fullrepositoryid"}),
    "cloudwatch:": frozenset({"namespace"}),
    "dynamodb:": frozenset({"enclosingoperation", "select"}),
    "ec2:": frozenset({"createaction", "vpc"}),
    "ecr:": frozenset(),
    "ecs:": frozenset({"cluster", "createaction"}),
    "iam:": frozenset({"awsservicename", "passedtoservice", "permissionsboundary", "policyarn"}),
    "kms:": frozenset({"calleraccount", "grantisforawsresource", "requestalias", "viaservice"}),
    "lambda:": frozenset({"functionarn"}),
    "route53:": frozenset(),
    "s3:": frozenset({"prefix", "signatureversion", "x-amz-acl", "x-amz-server-side-encryption"}),
    "saml:": frozenset({"aud", "iss", "sub"}),
    "sqs:": frozenset(),
    "sts:": frozenset({"externalid", "sourceidentity"}),
    "token.actions.githubusercontent.com:": frozenset({"aud", "ref", "repository", "sub"}),
}  # fmt: skip
"""The keys with one value that our policies use or may use, by AWS's Service Authorization Reference."""

SEVERAL = frozenset({
    "aws:tagkeys", "dynamodb:attributes", "dynamodb:leadingkeys", "kms:resourcealiases",
    "route53:changeresourcerecordsetsnormalizedrecordnames", "route53:changeresourcerecordsetsactions",
})  # fmt: skip
"""Keys that may have several values."""

OF_TAGS = ("aws:principaltag/", "aws:requesttag/", "aws:resourcetag/", "kms:encryptioncontext:")
"""How keys begin that end with a name of somebody's choice."""


def known_key(key: str) -> str:
    """The key in small letters; raises `UnknownRule` for one that nobody wrote down."""
    small = key.lower()
    if small.startswith(OF_TAGS) or small in SEVERAL:
        return small
    space, colon, name = small.rpartition(":")
    if name not in KEYS.get(space + colon, ()):
        where = "add it to KEYS, as AWS's Service Authorization Reference has it"
        raise UnknownRule(f"expected a condition key that tests/support/iam.py knows, found {key}: {where}")
    return small


def _condition(operator: str, key: str, wanted: Any, context: Mapping[str, Value]) -> bool:
    """One key of one operator."""
    small = known_key(key)
    given = context.get(small)
    if operator == "Null":
        (expected,) = listed(wanted)
        return (given is None) == _boolean(expected)
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    if name not in OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise UnknownRule(
            f"expected an operator that tests/support/iam.py knows, found {operator}: add it to OPERATORS"
        )
    if given is not None and not isinstance(given, str) and small not in SEVERAL:
        raise UnknownRule(f"expected one value of {key}, found several: AWS gives one, or add it to SEVERAL")
    values = [_filled(str(text), context) for text in listed(wanted)]
    negated, like = OPERATORS[name]
    one = _one(negated, like, values)
    if given is None:
        return rest != name or quantifier == "ForAllValues" or (negated and not quantifier)
    if quantifier == "ForAllValues":
        return all(one(text) for text in listed(given))
    if quantifier == "ForAnyValue":
        return any(one(text) for text in listed(given))
    if not isinstance(given, str):
        raise UnknownRule(f"expected ForAllValues or ForAnyValue for {key}, which may have several values")
    return one(given)


def _one(negated: bool, like: Callable[[str, str], bool], values: Sequence[str | None]) -> Callable[[str], bool]:
    """Whether one value of a request is like one of those wanted, or like none of them. A wanted value whose variable
    is missing is like nothing."""
    return lambda text: any(like(text, value) for value in values if value is not None) != negated


def _plain(value: str) -> str:
    return "".join({mark: c for c, mark in _LITERAL.items()}.get(c, c) for c in value)


def _boolean(value: Any) -> bool:
    known = {"true": True, "false": False}
    if str(value).lower() not in known:
        raise UnknownRule(f"expected true or false, found {value!r}")
    return known[str(value).lower()]


def _bool(given: str, wanted: str) -> bool:
    return given.lower() in ("true", "false") and _boolean(given) == _boolean(wanted)


def _arn(given: str, wanted: str) -> bool:
    """Each of the six parts of an ARN by itself, as AWS compares them: what is no ARN is like none."""
    ours, theirs = given.split(":", 5), wanted.split(":", 5)
    if len(ours) != 6 or ours[0] != "arn":
        return False
    if len(theirs) != 6:
        return wanted == "*"
    return all(wild(pattern)(part) for pattern, part in zip(theirs, ours, strict=True))


def _numbers(compare: Callable[[Decimal, Decimal], bool]) -> Callable[[str, str], bool]:
    return lambda given, wanted: compare(Decimal(given), Decimal(wanted))


def _times(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    return lambda given, wanted: compare(_time(given), _time(wanted))


def _time(text: str) -> datetime:
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _address(given: str, wanted: str) -> bool:
    return ip_address(given) in ip_network(wanted, strict=False)


def _operators() -> Iterator[tuple[str, tuple[bool, Callable[[str, str], bool]]]]:
    both: dict[str, tuple[str, Callable[[str, str], bool]]] = {
        "StringEquals": ("StringNotEquals", lambda given, wanted: given == _plain(wanted)),
        "StringEqualsIgnoreCase": (
            "StringNotEqualsIgnoreCase",
            lambda given, wanted: given.lower() == _plain(wanted).lower(),
        ),
        "StringLike": ("StringNotLike", lambda given, wanted: wild(wanted)(given)),
        "ArnEquals": ("ArnNotEquals", _arn),
        "ArnLike": ("ArnNotLike", _arn),
        "NumericEquals": ("NumericNotEquals", _numbers(Decimal.__eq__)),
        "DateEquals": ("DateNotEquals", _times(datetime.__eq__)),
        "IpAddress": ("NotIpAddress", _address),
    }
    for name, (negation, like) in both.items():
        yield name, (False, like)
        yield negation, (True, like)
    yield "Bool", (False, _bool)
    orders = {"LessThan": "__lt__", "LessThanEquals": "__le__", "GreaterThan": "__gt__", "GreaterThanEquals": "__ge__"}
    for name, method in orders.items():
        yield f"Numeric{name}", (False, _numbers(getattr(Decimal, method)))
        yield f"Date{name}", (False, _times(getattr(datetime, method)))


OPERATORS = dict(_operators())
"""Operators by name, without `IfExists` and without quantifier: whether it negates, and what it compares."""


# ---- who -------------------------------------------------------------------------------------------------------------


def concerns(statement: Statement, principal: str) -> bool:
    """Whether a statement of a resource's policy is about a principal of the account: by its ARN, by the account, or by
    `*`. Services and federated ones are others."""
    given = [n for n in ("Principal", "NotPrincipal") if n in statement]
    if len(given) != 1:
        raise UnknownRule(f"expected either Principal or NotPrincipal, found {given}")
    named = _named(statement[given[0]])
    account = principal.split(":")[4] if principal.startswith("arn:") else ""
    root = re.compile(rf"({account}|arn:aws[a-z-]*:iam::{account}:root)") if account else None
    hit = any(n in ("*", principal) or (root is not None and root.fullmatch(n) is not None) for n in named)
    return hit == (given[0] == "Principal")


def _named(principal: Any) -> list[str]:
    if principal == "*":
        return ["*"]
    if strange := set(principal) - {"AWS", "Service", "Federated"}:
        raise UnknownRule(f"expected principals of AWS, services or federated ones, found {sorted(strange)}")
    return [str(name) for name in listed(principal.get("AWS", []))]


def _by_account(statement: Statement) -> bool:
    """Whether a statement names the account as a whole: then the account's own policies decide."""
    names = _named(statement.get("Principal", {}))
    return bool(names) and all(n != "*" and (n.isdigit() or n.endswith(":root")) for n in names)
