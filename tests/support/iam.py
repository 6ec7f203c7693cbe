"""Decides by policies as IAM does: an evaluator for tests.

What it does not know raises `UnknownRule` (an operator, a key, an element of a statement): a rule that is not
understood must never count as kept. `tests/unit/support/test_iam.py` compares it with another evaluator, and with what
AWS's documentation says. Source of the rules: IAM User Guide, "Policy evaluation logic" and "JSON policy elements".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from tests.support.authorization import exists

Statement = Mapping[str, Any]
Value = str | Sequence[str] | None
"""The value of a condition key, its values where it has several, or None for a key that AWS does not send."""


class UnknownRule(ValueError):
    """A policy says something that this evaluator does not know; says what, and where to add it."""


@dataclass(frozen=True)
class Request:
    """What is requested: an action, the ARN that it is on (`*` where AWS knows none), and what AWS knows besides.

    `context` has condition keys as AWS writes them, in any case, with a string, or strings where a key has several.
    Keys that AWS always sends (`ALWAYS`) must be in it before a condition may ask for them.
    """

    action: str
    resource: str
    context: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Rights:
    """All that decides about a principal: `principal` is the ARN of a role, or the name of a service.

    `boundary` and `session` take away; None is for none. `of_resource` is the policy of what is requested: as AWS has
    it, it may allow by itself what the principal's own policies do not, but for keys and roles, which have to allow it
    too. None leaves it to the principal's account, as a resource without a policy does, and a key as KMS makes it.
    """

    identity: Sequence[Statement]
    boundary: Sequence[Statement] | None = None
    session: Sequence[Statement] | None = None
    of_resource: Sequence[Statement] | None = None
    principal: str = ""


_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.+/)?([^/]+)")
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com")


def permits(rights: Rights, request: Request) -> bool:
    """Whether AWS would do it: nothing denies it, something allows it, and no boundary is in the way."""
    request = _known(rights, request)
    bounds = [layer for layer in (rights.boundary, rights.session) if layer is not None]
    layers = [rights.identity, *bounds]
    named = [s for s in rights.of_resource or () if concerns(s, rights.principal)]
    if denies(rights, request):
        return False
    own = all(decided(layer, request, "Allow") for layer in layers)
    granted = decided(named, request, "Allow")
    if _of_another_account(rights, request):
        return own and bool(granted)
    if rights.of_resource is None:
        return own
    alone = [_without_its_account(s, rights.principal, bounds, request) for s in granted]  # all of them: each may raise
    by_name = any(alone)
    if request.action.lower().startswith(_ALLOW_TOO):
        return by_name or (own and bool(granted))
    return own or by_name


def denies(rights: Rights, request: Request) -> bool:
    """Whether a policy forbids it, whatever others allow."""
    request = _known(rights, request)
    named = [s for s in rights.of_resource or () if concerns(s, rights.principal)]
    layers = (rights.identity, rights.boundary or (), rights.session or (), named)
    found = [statement for layer in layers for statement in decided(layer, request, "Deny")]
    return bool(found)


_ALLOW_TOO = ("kms:", "sts:assumerole")
"""Actions on what has to allow them itself, whatever the account's policies say: keys, and roles by whom they trust."""


def _known(rights: Rights, request: Request) -> Request:
    """The request, with what AWS knows of who asks; raises `UnknownRule` for one who is neither role nor service."""
    who, small = rights.principal, {key.lower() for key in request.context}
    if rights.of_resource is not None and not (_ROLE.fullmatch(who) or _SERVICE.fullmatch(who)):
        raise UnknownRule(f"expected the ARN of a role or a service's name beside a resource's policy, found {who!r}")
    found = _ROLE.fullmatch(who)
    given = {"aws:PrincipalArn": who, "aws:PrincipalAccount": found[1]} if found else {}
    if not found and who:
        given = {"aws:PrincipalArn": None, "aws:PrincipalAccount": None}
    more = {key: value for key, value in given.items() if key.lower() not in small}
    return Request(request.action, request.resource, {**request.context, **more})


def _of_another_account(rights: Rights, request: Request) -> bool:
    """Whether what is requested is another account's: then both have to allow it. A bucket's ARN names no account, so
    `aws:ResourceAccount` says it."""
    found = _ROLE.fullmatch(rights.principal)
    said = {key.lower(): value for key, value in request.context.items()}.get("aws:resourceaccount")
    account = said or ([*request.resource.split(":"), "", "", "", ""][4] if request.resource != "*" else "")
    return found is not None and account not in ("", "aws", found[1])


def _without_its_account(
    statement: Statement, principal: str, bounds: Sequence[Sequence[Statement]], request: Request
) -> bool:
    """Whether a statement of a resource's policy allows by itself: it names who asks, and no boundary or session policy
    lacks it, which bind a role that is named. Who is known by `aws:PrincipalArn` alone is not bound by them."""
    names = _named(statement["Principal"])
    if principal not in names and "*" not in names:
        return False
    within = all(decided(layer, request, "Allow") for layer in bounds)
    if within or "*" not in names:
        return within
    if any(known_key(k) == "aws:principalarn" for keys in statement.get("Condition", {}).values() for k in keys):
        return True
    raise UnknownRule("expected a role by its name or by aws:PrincipalArn beside a boundary, found everybody")


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
    if not exists(request.action):
        raise UnknownRule(f"expected an action that AWS has, found {request.action}: is it an operation, and no right?")
    if request.resource != "*" and not request.resource.startswith("arn:"):
        raise UnknownRule(f"expected an ARN or *, found the resource {request.resource}")
    context = {known_key(key): value for key, value in request.context.items()}
    holds = [
        _condition(o, k, v, context) for o, keys in statement.get("Condition", {}).items() for k, v in keys.items()
    ]
    return (
        _element(statement, "Action", lambda p: wild(_action(p), ignoring_case=True)(request.action))
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


def _action(pattern: str) -> str:
    """The pattern of an action; raises `UnknownRule` for one that IAM does not take."""
    if pattern != "*" and not re.fullmatch(r"[A-Za-z0-9-]+:[A-Za-z0-9*?]+", pattern):
        raise UnknownRule(f"expected * or service:Name with wildcards in the name alone, found the action {pattern}")
    return pattern


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
    if pattern != "*" and not re.match(r"arn:[^:]+:[a-z0-9-]+:", pattern):
        raise UnknownRule(f"expected * or an ARN that names its service, found the resource {pattern}")
    filled = _filled(pattern, context)
    return filled is not None and wild(filled)(resource)


_LITERAL = {"*": "\ue000", "?": "\ue001", "$": "\ue002"}
"""What stands for a character that is meant as it is: a variable's value, or `${*}`."""


def _filled(text: str, context: Mapping[str, Value]) -> str | None:
    """A text with its policy variables filled in; None if one has no value, which no request is like."""
    missing = False

    def value(found: re.Match[str]) -> str:
        nonlocal missing
        name = found[1].strip()
        if name in ("*", "?", "$"):
            return _LITERAL[name]
        name, comma, default = name.partition(",")
        known = context.get(known_key(name.strip()))
        if isinstance(known, str):
            return "".join(_LITERAL.get(c, c) for c in known)
        missing = missing or not comma
        if comma and not re.fullmatch(r"\s*'[^'*?]*'\s*", default):
            raise UnknownRule(f"expected a default in quotes, without wildcards, found {default}")
        return default.strip().strip("'")

    filled = re.sub(r"\$\{([^}]*)\}", value, text)
    if "${" in filled:
        raise UnknownRule(f"expected variables as ${{name}}, found {text}")
    return None if missing else filled


# ---- conditions ------------------------------------------------------------------------------------------------------

KEYS = {
    "aws:": frozenset({
        "currenttime", "multifactorauthage", "multifactorauthpresent", "principalaccount", "principalarn",
        "principaltype", "requestedregion", "resourceaccount", "securetransport", "sourceaccount", "sourcearn",
        "sourceip", "userid", "username", "viaawsservice",
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
    "kms:": frozenset({
        "calleraccount", "grantconstrainttype", "granteeprincipal", "grantisforawsresource", "requestalias",
        "retiringprincipal", "viaservice",
    }),
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
    "aws:tagkeys", "dynamodb:attributes", "dynamodb:leadingkeys", "kms:encryptioncontextkeys", "kms:grantoperations",
    "kms:resourcealiases",
    "route53:changeresourcerecordsetsnormalizedrecordnames", "route53:changeresourcerecordsetsactions",
})  # fmt: skip
"""Keys that may have several values."""

ALWAYS = frozenset({
    "aws:currenttime", "aws:principalaccount", "aws:principalarn", "aws:requestedregion", "aws:securetransport",
})  # fmt: skip
"""Keys that every signed request has. One that lacks them is no request that AWS knows: an answer would be a guess."""

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
    if small in ALWAYS and small not in context:
        raise UnknownRule(f"expected the request to have {key}, which AWS always sends: give it, or None for none")
    given = context.get(small) or None  # no value at all is as no key
    if operator == "Null":
        if isinstance(wanted, list | tuple) and len(wanted) != 1:
            raise UnknownRule(f"expected true or false for Null, found {wanted}")
        return (given is None) == _boolean(listed(wanted)[0])
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    if name not in OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise UnknownRule(
            f"expected an operator that tests/support/iam.py knows, found {operator}: add it to OPERATORS"
        )
    if bool(quantifier) != (small in SEVERAL):
        need = "ForAllValues or ForAnyValue" if small in SEVERAL else "neither ForAllValues nor ForAnyValue"
        raise UnknownRule(f"expected {need} with {key}, by how many values AWS gives it (SEVERAL), found {operator}")
    if given is not None and not isinstance(given, str) and small not in SEVERAL:
        raise UnknownRule(f"expected one value of {key}, found several: AWS gives one, or add it to SEVERAL")
    negated, like = OPERATORS[name]
    one = _one(negated, like, _values(name, negated, wanted, context))
    if given is None:
        return rest != name or quantifier == "ForAllValues" or (negated and not quantifier)
    if quantifier == "ForAllValues":
        return all(one(text) for text in listed(given))
    if quantifier == "ForAnyValue":
        return any(one(text) for text in listed(given))
    return one(str(given))


def _values(name: str, negated: bool, wanted: Any, context: Mapping[str, Value]) -> list[str | None]:
    """What a condition compares with, its variables filled in; None for one whose variable is missing."""
    texts = [str(text).lower() if isinstance(text, bool) else str(text) for text in listed(wanted)]
    if not texts:
        raise UnknownRule(f"expected a value for {name}, found none")
    if not name.startswith(("String", "Arn")) and any("${" in text for text in texts):
        raise UnknownRule(f"expected variables in conditions on texts and ARNs alone, found one for {name}")
    values = [_filled(text, context) for text in texts]
    if negated and None in values:
        raise UnknownRule(f"expected a value of each variable of {name}, found none: AWS does not say what follows")
    return values


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
    return lambda given, wanted: compare(_number(given), _number(wanted))


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise UnknownRule(f"expected a number, found {text!r}") from None


def _times(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    return lambda given, wanted: compare(_time(given), _time(wanted))


def _time(text: str) -> datetime:
    if text.isdigit():
        return datetime.fromtimestamp(int(text), UTC)
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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
    """Whether a statement of a resource's policy is about a principal: by its name, by its account, or by `*`.

    `NotPrincipal` is not known: which sessions and accounts it spares depends on more than the names in it, and a role
    with a boundary is never spared. Nor is a session by its name: who asks is known by its role here.
    """
    if "Principal" not in statement or "NotPrincipal" in statement:
        raise UnknownRule("expected Principal alone, found another: write aws:PrincipalArn into a condition instead")
    named = _named(statement["Principal"])
    found = _ROLE.fullmatch(principal)
    if found is None:
        return "*" in named or principal in named
    if any(re.match(rf"arn:aws[a-z-]*:sts::{found[1]}:assumed-role/{re.escape(found[2])}/", n) for n in named):
        raise UnknownRule(f"expected {principal} by the name of the role, found a session of it")
    root = re.compile(rf"({found[1]}|arn:aws[a-z-]*:iam::{found[1]}:root)")
    return any(n in ("*", principal) or root.fullmatch(n) is not None for n in named)


def _named(principal: Any) -> list[str]:
    if principal == "*":
        return ["*"]
    if strange := set(principal) - {"AWS", "Service", "Federated"}:
        raise UnknownRule(f"expected principals of AWS, services or federated ones, found {sorted(strange)}")
    names = [str(name) for kind in ("AWS", "Service") for name in listed(principal.get(kind, []))]
    if part := [n for n in names if n != "*" and "*" in n]:
        raise UnknownRule(f"expected principals by their whole names, as IAM takes them, found {part}")
    return names
