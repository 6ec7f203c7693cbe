"""Questions to the archive as operators and auditors ask them: which there are, an answer in a file, who put which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import orjson

from ops.environment import Environment, OpsError
from retrieval import log, templates
from retrieval.asking import ask
from retrieval.model import Answer, RetrievalError
from retrieval.page import page, text


def questions() -> Iterator[str]:
    """All questions in lines for people."""
    for name in templates.names():
        template = templates.load(name)
        yield f"{name}: {template.title} (for {', '.join(template.roles)})"
        for parameter, meaning in template.parameters.items():
            yield f"  --set {parameter}=…  {meaning.description}"


def answer(where: Environment, name: str, parameters: Sequence[str], to: Path, *, personal: bool) -> Iterator[str]:
    """Write the answer to a file: rows as JSON where its name ends so, else the page. Answers lines for people.

    `parameters` are texts like `order_id=o-1`. Raises `OpsError` for a question that cannot be put so, and for a file
    that cannot be written.
    """
    texts = _texts(parameters)
    who = str(where.client("sts").get_caller_identity()["Arn"])
    try:
        found = ask(where.lake, where.contracts(), name, texts, who=who, personal=personal)
    except RetrievalError as error:
        raise OpsError(str(error)) from error
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(_rows(found) if to.suffix == ".json" else page(found).encode())
    except OSError as error:
        raise OpsError(f"expected a file that can be written, found {to}: {error.strerror}") from error
    for section in found.sections:
        yield f"{section.heading}: {len(section.rows):,} rows" + (
            ", and more that are not shown" if section.more else ""
        )
    yield f"true for {text(found.true_for)}; {to}" if found.true_for else f"nothing was published yet; {to}"


def _texts(parameters: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or name in texts:
            raise OpsError(f"expected each parameter once, as --set NAME=VALUE, found {name!r} otherwise")
        texts[name] = value
    return texts


def _rows(found: Answer) -> bytes:
    document = {section.heading: [dict(row) for row in section.rows] for section in found.sections}
    return orjson.dumps(document, default=text, option=orjson.OPT_INDENT_2)


def put(where: Environment, day: datetime, party: str | None) -> Iterator[str]:
    """Who put which question on a day (UTC), about one party if it is named, in lines for people."""
    person = None if party is None else log.pseudonym(where.lake, party)
    for one in log.kept(where.lake, day):
        if person is None or person in one.parameters.values():
            rows = "no answer" if one.rows is None else f"{sum(one.rows.values()):,} rows"
            about = ", ".join(f"{name}={value}" for name, value in one.parameters.items())
            yield f"{text(one.at)}  {one.who}  {one.name}({about})  {rows}{', personal' if one.personal else ''}"
