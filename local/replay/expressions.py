"""The small language of mapping files: what may be written after `=` and between `{` and `}`.

Its grammar is that of a Python expression, of which names, numbers, texts, lists, arithmetic, comparisons, `and`, `or`,
`not`, `in`, `x if c else y` and calls of the functions below are taken. A missing value (None) makes what is computed
from it missing; a comparison with it is false; aggregates skip it. Nothing of Python itself can be reached.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from difflib import get_close_matches
from itertools import count
from typing import Any

from local.replay.exact import EXACT, QUOTIENT, ROUNDING

Value = Any
"""str, int, Decimal, bool, datetime (UTC), date, timedelta, list, or None for a missing value."""


class ExpressionError(ValueError):
    """An expression cannot be understood; found when the mapping is loaded."""


class EvaluationError(ValueError):
    """An expression has no value for these rows; the row or item is rejected with this reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row that could be read: its line in the file, its cells by column name, its text."""

    line: int
    values: dict[str, Value]
    text: str


@dataclass
class Scope:
    """What an expression may look at: one row or the rows of a group, and all rows for windows."""

    rows: Sequence[Row]
    grouped: bool
    keys: frozenset[str]
    everything: Sequence[Row]
    options: Mapping[str, Value]
    windows: dict[int, dict[Hashable, list[Row]]] = field(default_factory=dict)
    computed: dict[tuple[int, Hashable], Value] = field(default_factory=dict)

    def on(self, row: Row) -> Scope:
        """The same scope, looking at one row."""
        return Scope((row,), False, self.keys, self.everything, self.options, self.windows, self.computed)


Evaluate = Callable[[Scope], Value]


@dataclass(frozen=True)
class Expression:
    """A compiled expression; `names` are the columns, values and options that it mentions."""

    text: str
    evaluate: Evaluate
    names: frozenset[str]


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean x?`, or the list of what is known."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6) or [k for k in known if k.lower() == name.lower()]
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known)) or 'none'}"


def describe(value: Value) -> str:
    """How a message shows a value."""
    if value is None:
        return "a missing value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 40 else value[:40] + '…'!r}"
    if isinstance(value, datetime):
        return f"the time {value.isoformat()}"
    if isinstance(value, timedelta):
        return f"the duration {value}"
    return f"the number {value}" if isinstance(value, int | Decimal) else f"{type(value).__name__} {value}"


def compile_expression(text: str, names: Collection[str], tables: Mapping[str, Mapping[str, Value]]) -> Expression:
    """Understand `text`; `names` are the columns, values and options that exist. Raises `ExpressionError`."""
    compiler = _Compiler(text.strip(), names, tables)
    try:
        tree = ast.parse(text.strip(), mode="eval")
        evaluate = compiler.compile(tree.body)
    except (RecursionError, MemoryError):
        raise ExpressionError(f"{text.strip()[:60]!r}… is nested too deep; put parts of it into `values`") from None
    except ExpressionError:
        raise
    except (SyntaxError, ValueError) as error:
        place = f" near character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ExpressionError(f"{text.strip()!r} is no expression: {reason}{place}") from None
    return Expression(text.strip(), _guarded(text.strip(), evaluate), frozenset(compiler.used))


def _guarded(text: str, evaluate: Evaluate) -> Evaluate:
    """The same in exact arithmetic, and whatever a row's values do to it, it costs that row only."""

    def guarded(scope: Scope) -> Value:
        try:
            with localcontext(EXACT):
                return evaluate(scope)
        except EvaluationError:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            raise EvaluationError(f"{text} has no value for these texts and numbers: {error}") from None

    return guarded


def constant_expression(value: Value) -> Expression:
    """An expression that is always `value`."""
    return Expression(repr(value), lambda scope: value, frozenset())


_TOKENS = count()
_TEMPLATE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def compile_template(text: str, names: Collection[str], tables: Mapping[str, Mapping[str, Value]]) -> Expression:
    """Understand a text with `{expression}` in it; `{{` and `}}` stand for braces. Missing parts make it missing.

    A template that is one `{expression}` and nothing else keeps the value's type.
    """
    parts: list[str | Expression] = []
    at = 0
    for match in _TEMPLATE.finditer(text):
        parts.append(text[at : match.start()])
        at = match.end()
        if match[0] in ("{{", "}}"):
            parts.append(match[0][0])
        elif match[1] is None:
            raise ExpressionError(
                f"{text!r} has a single {match[0]!r}; write {match[0] * 2!r} for the character itself"
            )
        else:
            parts.append(compile_expression(match[1], names, tables))
    parts = [p for p in (*parts, text[at:]) if p != ""]
    if len(parts) == 1 and isinstance(parts[0], Expression):
        return parts[0]

    def evaluate(scope: Scope) -> Value:
        found = [p if isinstance(p, str) else p.evaluate(scope) for p in parts]
        return None if any(f is None for f in found) else "".join(as_text(f) for f in found)

    used = frozenset(name for p in parts if isinstance(p, Expression) for name in p.names)
    return Expression(text, evaluate, used)


def as_text(value: Value) -> str:
    """A value within a text: decimals without exponent, times as ISO 8601 in UTC, dates as 2026-11-21."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, timedelta):
        raise EvaluationError(f"{describe(value)} cannot be written as a text; add it to a time")
    if isinstance(value, list):
        raise EvaluationError("a list cannot be written as a text")
    return value.isoformat() if isinstance(value, date) else str(value)


AGGREGATES = {
    "first": "the value of the first row, in order of by=[...] or of the file",
    "last": "the value of the last row, in order of by=[...] or of the file",
    "only": "the value that all rows have; rows that differ are a problem",
    "min": "the smallest value",
    "max": "the greatest value",
    "sum": "the sum",
    "count": "how many rows there are, or have a value",
    "distinct": "how many different values there are",
    "position": "1 for the first row of over=..., 2 for the second and so on",
}


class _Compiler:
    """Turns the syntax tree of one expression into a function of a `Scope`."""

    def __init__(self, text: str, names: Collection[str], tables: Mapping[str, Mapping[str, Value]]) -> None:
        self.text, self.names, self.tables = text, names, tables
        self.used: set[str] = set()
        self.within: str | None = None

    def compile(self, node: ast.expr) -> Evaluate:
        match node:
            case ast.Constant(value=float()):
                number = Decimal(ast.get_source_segment(self.text, node) or str(node.value))
                return lambda scope: number
            case ast.Constant(value=value) if value is None or isinstance(value, bool | int | str):
                return lambda scope: value
            case ast.Name(id="line"):
                return lambda scope: scope.rows[0].line
            case ast.Name(id=("true" | "True")):
                return lambda scope: True
            case ast.Name(id=("false" | "False")):
                return lambda scope: False
            case ast.Name(id=("missing" | "null")):
                return lambda scope: None
            case ast.Name(id=name):
                return self._name(name)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                parts = [self.compile(e) for e in elements]
                return lambda scope: [p(scope) for p in parts]
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(left, op, right)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.compile(operand)
                return lambda scope: not inner(scope)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.compile(operand)
                return lambda scope: _negative(inner(scope))
            case ast.BoolOp(op=op, values=values):
                parts = [self.compile(v) for v in values]
                if isinstance(op, ast.And):
                    return lambda scope: all(p(scope) for p in parts)
                return lambda scope: any(p(scope) for p in parts)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._compare(left, ops, comparators)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition, yes, no = self.compile(test), self.compile(body), self.compile(orelse)
                return lambda scope: yes(scope) if condition(scope) else no(scope)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
                return self._call(name, arguments, keywords)
        raise ExpressionError(
            f"{self._source(node)!r} is not part of the mapping language; use columns, numbers, 'texts', + - * /, "
            "comparisons, and, or, not, in, `x if c else y` and functions"
        )

    def _source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or self.text

    def _name(self, name: str) -> Evaluate:
        if name not in self.names:
            hint = nearest(name, self.names)
            called = (
                " (a function: write it with its arguments in brackets)"
                if name in {*FUNCTIONS, *AGGREGATES, "lookup"}
                else ""
            )
            raise ExpressionError(f"there is no column, value or option {name!r}{called}{hint}")
        self.used.add(name)

        def evaluate(scope: Scope) -> Value:
            if name in scope.options:
                return scope.options[name]
            if not scope.grouped or name in scope.keys:
                return scope.rows[0].values[name]
            return _only(name, [(r.line, r.values[name]) for r in scope.rows])

        return evaluate

    def _binary(self, left: ast.expr, op: ast.operator, right: ast.expr) -> Evaluate:
        symbols = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
        symbol = symbols.get(type(op))
        if symbol is None:
            raise ExpressionError(f"{self.text!r}: of the arithmetic operators only + - * / are part of the language")
        one, two = self.compile(left), self.compile(right)
        return lambda scope: _arithmetic(symbol, one(scope), two(scope))

    def _compare(self, left: ast.expr, ops: Sequence[ast.cmpop], comparators: Sequence[ast.expr]) -> Evaluate:
        if len(ops) != 1:
            raise ExpressionError(f"{self.text!r}: write `a < b and b < c` instead of a chain of comparisons")
        one, two, op = self.compile(left), self.compile(comparators[0]), ops[0]
        if isinstance(op, ast.Is | ast.IsNot):
            raise ExpressionError(f"{self.text!r}: write == or !=, or present(x), instead of `is`")
        return lambda scope: _comparison(op, one(scope), two(scope))

    def _call(self, name: str, arguments: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> Evaluate:
        if name == "lookup":
            return self._lookup(arguments, keywords)
        if name in AGGREGATES and not (name in FUNCTIONS and len(arguments) > 1):
            return self._aggregate(name, arguments, keywords)
        if name not in FUNCTIONS:
            known = {*FUNCTIONS, *AGGREGATES, "lookup"}
            raise ExpressionError(f"there is no function {name!r}{nearest(name, known)}")
        function, least, most = FUNCTIONS[name]
        if keywords or not least <= len(arguments) <= most:
            wanted = str(least) if least == most else f"{least} to {most}" if most < 99 else f"at least {least}"
            raise ExpressionError(
                f"{name}() takes {wanted} arguments without names, found {self._source_of(arguments)}"
            )
        parts = [self.compile(a) for a in arguments]
        return lambda scope: function(*(p(scope) for p in parts))

    def _source_of(self, arguments: Sequence[ast.expr]) -> str:
        return ", ".join(self._source(a) for a in arguments) or "nothing"

    def _lookup(self, arguments: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> Evaluate:
        if keywords or len(arguments) not in (2, 3) or not isinstance(arguments[0], ast.Name):
            raise ExpressionError(
                "lookup() takes the name of a table, a value and, if you like, what to take otherwise"
            )
        name = arguments[0].id
        if name not in self.tables:
            raise ExpressionError(f"lookup(): there is no table {name!r}{nearest(name, self.tables)}")
        table, value = self.tables[name], self.compile(arguments[1])
        otherwise = self.compile(arguments[2]) if len(arguments) == 3 else None

        def evaluate(scope: Scope) -> Value:
            found = value(scope)
            if found is None:
                return otherwise(scope) if otherwise else None
            text = as_text(found)
            if text in table:
                return table[text]
            if otherwise:
                return otherwise(scope)
            raise EvaluationError(f"table {name} has no entry {text!r}{nearest(text, table)}")

        return evaluate

    def _aggregate(self, name: str, arguments: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> Evaluate:
        if self.within:
            raise ExpressionError(f"{name}() stands inside {self.within}(); an aggregate cannot hold another")
        named = {k.arg: k.value for k in keywords}
        allowed = {"over", "where", "by"} if name in ("first", "last", "position") else {"over", "where"}
        if unknown := sorted(str(k) for k in named if k not in allowed):
            raise ExpressionError(f"{name}() takes {', '.join(sorted(allowed))}; found {unknown[0]}=")
        most = 0 if name == "position" else 1
        least = 0 if name in ("count", "position") else 1
        if not least <= len(arguments) <= most:
            raise ExpressionError(f"{name}() takes {most} value{'' if most == 1 else 's'}, found {len(arguments)}")
        self.within = name
        value = self.compile(arguments[0]) if arguments else None
        over = self.compile(named["over"]) if "over" in named else None
        where = self.compile(named["where"]) if "where" in named else None
        by = self._order(named["by"]) if "by" in named else []
        self.within = None
        label = self._source(arguments[0]) if arguments else name
        token = next(_TOKENS)

        def of_rows(scope: Scope, rows: Sequence[Row]) -> Value:
            scopes = [scope.on(r) for r in rows]
            if where:
                scopes = [s for s in scopes if where(s)]
            return _aggregate(name, label, scopes, value, by)

        def evaluate(scope: Scope) -> Value:
            if over is None:
                if not scope.grouped:
                    raise EvaluationError(f"{name}() needs many rows: give this item group_by, or {name}() an over=")
                return of_rows(scope, scope.rows)
            if token not in scope.windows:
                windows = scope.windows[token] = {}
                for row in scope.everything:
                    windows.setdefault(hashable(over(scope.on(row))), []).append(row)
            key = hashable(over(scope.on(scope.rows[0])))
            rows = scope.windows[token][key]
            if name == "position":
                places = (token, (key,))
                if places not in scope.computed:
                    ordered = _ordered([scope.on(r) for r in rows], by)
                    scope.computed[places] = {s.rows[0].line: n for n, s in enumerate(ordered, start=1)}
                return scope.computed[places][scope.rows[0].line]
            if (token, key) not in scope.computed:
                scope.computed[token, key] = of_rows(scope, rows)
            return scope.computed[token, key]

        if name == "position" and over is None:
            raise ExpressionError("position() needs over=: the column whose rows are counted")
        return evaluate

    def _order(self, node: ast.expr) -> list[tuple[Evaluate, bool]]:
        """The keys of `by=`: functions and whether they count downwards."""
        elements = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
        keys = []
        for element in elements:
            match element:
                case ast.Call(func=ast.Name(id="desc"), args=[inner], keywords=[]):
                    keys.append((self.compile(inner), True))
                case ast.Call(func=ast.Name(id="asc"), args=[inner], keywords=[]):
                    keys.append((self.compile(inner), False))
                case ast.UnaryOp(op=ast.USub(), operand=inner):
                    keys.append((self.compile(inner), True))
                case _:
                    keys.append((self.compile(element), False))
        return keys


def hashable(value: Value) -> Hashable:
    """A value that can be the key of a group."""
    return tuple(hashable(v) for v in value) if isinstance(value, list) else value


class _Downwards:
    """Turns the order of a sort key round."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    def __lt__(self, other: _Downwards) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Downwards) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


def _ordered(scopes: list[Scope], by: Sequence[tuple[Evaluate, bool]], missing_last: bool = True) -> list[Scope]:
    """In order of `by`; rows that are equal keep the order of the file."""

    def key(scope: Scope) -> list[tuple[bool, Value]]:
        values = [(evaluate(scope), down) for evaluate, down in by]
        return [((v is None) is missing_last, 0 if v is None else _Downwards(v) if down else v) for v, down in values]

    try:
        return sorted(scopes, key=key)
    except TypeError:
        raise EvaluationError("by=: values of different kinds cannot be put in order; convert them first") from None


def _only(label: str, found: Sequence[tuple[int, Value]]) -> Value:
    different: dict[Hashable, int] = {}
    for line, value in found:
        if value is not None:
            different.setdefault(hashable(value), line)
    if len(different) > 1:
        shown = ", ".join(f"{describe(v)} in line {line}" for v, line in list(different.items())[:3])
        raise EvaluationError(
            f"{label} differs among the {len(found)} rows of this item ({shown}); say which to take: "
            f"first({label}), min({label}), max({label}), sum({label}), ..."
        )
    return next(iter(different), None)


def _aggregate(
    name: str, label: str, scopes: list[Scope], value: Evaluate | None, by: Sequence[tuple[Evaluate, bool]]
) -> Value:
    if value is None:
        return len(scopes)
    if name in ("first", "last"):
        if not scopes:
            return None
        return value(_ordered(scopes, by)[0] if name == "first" else _ordered(scopes, by, missing_last=False)[-1])
    pairs = [(s.rows[0].line, value(s)) for s in scopes]
    if name == "only":
        return _only(label, pairs)
    values = [v for _, v in pairs if v is not None]
    if name == "count":
        return len(values)
    if name == "distinct":
        return len({hashable(v) for v in values})
    if not values:
        return None
    try:
        if name == "sum":
            total = values[0]
            for v in values[1:]:
                total = _arithmetic("+", total, v)
            return total
        return min(values) if name == "min" else max(values)
    except TypeError:
        raise EvaluationError(f"{name}({label}): values of different kinds cannot be compared") from None


def _arithmetic(symbol: str, one: Value, two: Value) -> Value:
    if one is None or two is None:
        return None
    try:
        if isinstance(one, bool) or isinstance(two, bool):
            raise TypeError
        match symbol:
            case "+":
                if isinstance(one, timedelta) and isinstance(two, datetime | date):
                    one, two = two, one
                return _moment(one) + two if isinstance(two, timedelta) and isinstance(one, date) else one + two
            case "-":
                return (
                    _moment(one) - (_moment(two) if isinstance(two, date) else two)
                    if isinstance(one, date)
                    else one - two
                )
            case "*":
                if isinstance(one, str | list) or isinstance(two, str | list):
                    raise TypeError
                return _scaled(one, two)
            case _:
                return _quotient(one, two)
    except TypeError:
        hint = "; turn texts into numbers with decimal(x) or integer(x), or give the column a type"
        texts = isinstance(one, str) or isinstance(two, str)
        raise EvaluationError(
            f"{describe(one)} {symbol} {describe(two)} means nothing{hint if texts else ''}"
        ) from None
    except (ZeroDivisionError, InvalidOperation):
        raise EvaluationError(f"{describe(one)} {symbol} {describe(two)} has no value") from None
    except ArithmeticError:
        raise EvaluationError(f"{describe(one)} {symbol} {describe(two)} is out of range") from None


def _moment(value: Value) -> Value:
    """A date as its midnight UTC, so that dates and times mix."""
    return value if isinstance(value, datetime) or not isinstance(value, date) else datetime.combine(value, time(), UTC)


def _microseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1)


def _scaled(one: Value, two: Value) -> Value:
    if isinstance(two, timedelta):
        one, two = two, one
    if isinstance(one, timedelta):
        exact = Decimal(_microseconds(one)) * Decimal(two)
        return timedelta(microseconds=int(exact.to_integral_value(ROUND_HALF_EVEN)))
    return one * two


def _quotient(one: Value, two: Value) -> Value:
    durations = isinstance(one, timedelta), isinstance(two, timedelta)
    if durations == (False, True) or not all(isinstance(v, int | Decimal | timedelta) for v in (one, two)):
        raise TypeError
    numbers = [Decimal(_microseconds(v) if isinstance(v, timedelta) else v) for v in (one, two)]
    found = QUOTIENT.divide(*numbers)
    if durations == (True, False):
        return timedelta(microseconds=int(found.to_integral_value(ROUND_HALF_EVEN)))
    return found


def _negative(value: Value) -> Value:
    if value is None or isinstance(value, int | Decimal | timedelta):
        return None if value is None else -value
    raise EvaluationError(f"- needs a number, found {describe(value)}")


def _comparison(op: ast.cmpop, one: Value, two: Value) -> bool:
    if isinstance(one, date) and isinstance(two, date):
        one, two = _moment(one), _moment(two)
    match op:
        case ast.Eq():
            return bool(one == two)
        case ast.NotEq():
            return bool(one != two)
        case ast.In() | ast.NotIn():
            impossible = two is None or (isinstance(two, str) and not isinstance(one, str))
            if not impossible and not isinstance(two, str | list):
                raise EvaluationError(f"in needs a list or a text on its right, found {describe(two)}")
            inside = not impossible and one in two
            return inside if isinstance(op, ast.In) else not inside
    if one is None or two is None:
        return False
    try:
        match op:
            case ast.Lt():
                return bool(one < two)
            case ast.LtE():
                return bool(one <= two)
            case ast.Gt():
                return bool(one > two)
            case _:
                return bool(one >= two)
    except TypeError:
        raise EvaluationError(f"{describe(one)} cannot be compared with {describe(two)}") from None


def _on_text(function: Callable[..., Value]) -> Callable[..., Value]:
    def apply(value: Value, *others: Value) -> Value:
        return None if value is None or None in others else function(as_text(value), *others)

    return apply


def _duration(unit: timedelta) -> Callable[[Value], Value]:
    def apply(value: Value) -> Value:
        if value is None or isinstance(value, timedelta):
            return value
        try:
            return _scaled(unit, _decimal(value))
        except OverflowError:
            raise EvaluationError(f"{describe(value)} is out of range for a duration") from None

    return apply


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")


def _decimal(value: Value) -> Value:
    if value is None:
        return None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return Decimal(value.strip())
    raise EvaluationError(f"expected a number, found {describe(value)}")


def _integer(value: Value) -> Value:
    number = _decimal(value)
    if number is None:
        return None
    if number != number.to_integral_value():
        raise EvaluationError(f"expected a whole number, found {describe(value)}; round(x, 0) rounds")
    return int(number)


def _round(value: Value, digits: Value = 0) -> Value:
    number = _decimal(value)
    if number is None:
        return None
    if not isinstance(digits, int):
        raise EvaluationError(f"round(x, n) needs a whole number of digits, found {describe(digits)}")
    try:
        return number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, ROUNDING)
    except InvalidOperation:
        raise EvaluationError(f"{describe(value)} cannot be rounded to {digits} digits") from None


def slug(text: str) -> str:
    """Lower-case letters, digits and single hyphens: `Mr. Smith & Co` becomes `mr-smith-co`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


_SAFE_ID = re.compile(r"[A-Za-z0-9._@~+*!-]{1,48}")


def identity(text: str) -> str:
    """A text as part of an id: itself if it is short and needs no escaping.

    Otherwise a slug and eight hex digits of its SHA-256, so that different texts stay different.
    """
    if _SAFE_ID.fullmatch(text):
        return text
    return "-".join(filter(None, (slug(text)[:32].strip("-"), hashlib.sha256(text.encode()).hexdigest()[:8])))


def _match(text: str, pattern: Value) -> Value:
    try:
        found = re.search(str(pattern), text)
    except re.error as error:
        raise EvaluationError(f"match(): {pattern!r} is no regular expression: {error}") from None
    if found is None:
        return None
    return found[1] if found.groups() else found[0]


def _date(value: Value) -> Value:
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    if isinstance(value, datetime):
        return value.date()
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise EvaluationError(f"expected a date like 2026-11-21, found {describe(value)}") from None


def _extreme(pick: Callable[..., Value]) -> Callable[..., Value]:
    def apply(*values: Value) -> Value:
        known = [v for v in values if v is not None]
        try:
            return pick(known) if known else None
        except TypeError:
            raise EvaluationError(f"{', '.join(map(describe, known))} cannot be compared") from None

    return apply


def _coalesce(*values: Value) -> Value:
    return next((v for v in values if v is not None), None)


def _replace(text: str, old: Value, new: Value) -> str:
    return text.replace(as_text(old), as_text(new))


def _split(text: str, separator: Value) -> list[str]:
    if not as_text(separator):
        raise EvaluationError("split(x, separator) needs a separator, found the empty text")
    return [part.strip() for part in text.split(as_text(separator)) if part.strip()]


def _absolute(value: Value) -> Value:
    if value is None or isinstance(value, int | Decimal | timedelta):
        return None if value is None else abs(value)
    raise EvaluationError(f"abs(x) needs a number, found {describe(value)}")


FUNCTIONS: dict[str, tuple[Callable[..., Value], int, int]] = {
    "id": (_on_text(identity), 1, 1),
    "slug": (_on_text(slug), 1, 1),
    "lower": (_on_text(str.lower), 1, 1),
    "upper": (_on_text(str.upper), 1, 1),
    "trim": (_on_text(str.strip), 1, 1),
    "text": (_on_text(str), 1, 1),
    "replace": (_on_text(_replace), 3, 3),
    "match": (_on_text(_match), 2, 2),
    "split": (_on_text(_split), 2, 2),
    "decimal": (_decimal, 1, 1),
    "integer": (_integer, 1, 1),
    "round": (_round, 1, 2),
    "abs": (_absolute, 1, 1),
    "min": (_extreme(min), 2, 99),
    "max": (_extreme(max), 2, 99),
    "date": (_date, 1, 1),
    "days": (_duration(timedelta(days=1)), 1, 1),
    "hours": (_duration(timedelta(hours=1)), 1, 1),
    "minutes": (_duration(timedelta(minutes=1)), 1, 1),
    "seconds": (_duration(timedelta(seconds=1)), 1, 1),
    "coalesce": (_coalesce, 1, 99),
    "present": (lambda value: value is not None, 1, 1),
}
"""Function, least and greatest number of arguments, by name. `min` and `max` of one value are aggregates."""
